//! The fields that `when` can look at. A pattern on a field that is not there,
//! or on a number where the field holds a text, would never match and nobody
//! would know: it is a mistake in the document.

use super::node::{Content, Entry, Node};
use super::reader::Mistake;
use super::spelling::suggestion;

/// One field of what patterns match.
struct Field<'a> {
    name: &'a str,
    holds: Holds,
    /// For the documentation and for messages.
    about: &'a str,
}

/// What a field holds.
enum Holds {
    Text,
    Number,
    Bool,
    Object(&'static [Field<'static>]),
    /// Any key, each with a text.
    Tags,
    /// Whatever the finding's service wrote.
    Anything,
}

const fn text<'a>(name: &'a str, about: &'a str) -> Field<'a> {
    Field { name, holds: Holds::Text, about }
}

/// Every field, in the order in which the documentation shows them.
const FIELDS: &[Field<'static>] = &[
    text("id", "the finding's id"),
    text("type", "the finding type, such as `UnauthorizedAccess:EC2/SSHBruteForce`"),
    Field { name: "severity", holds: Holds::Number, about: "GuardDuty's scale, 0.0 to 10.0" },
    text("title", "the finding's title; empty where it has none"),
    text("product", "`GuardDuty`, or the product's name"),
    text("account", "the account that the finding is about"),
    text("region", "the Region that the finding is about"),
    text("partition", "`aws`, `aws-cn`, `aws-us-gov`, …"),
    Field { name: "count", holds: Holds::Number, about: "how often GuardDuty has seen it" },
    Field { name: "sample", holds: Holds::Bool, about: "always false: samples are never acted on" },
    text("workflowStatus", "Security Hub's workflow status, where it is known"),
    text("ouPath", "the ids above the target's account, the root's first, as a list"),
    Field { name: "resource", holds: Holds::Object(RESOURCE), about: "the target" },
    Field { name: "tags", holds: Holds::Tags, about: "the target's present tags, by key" },
    Field {
        name: "detail",
        holds: Holds::Anything,
        about: "the finding as its service wrote it: every other field",
    },
];

/// The fields of `resource`.
const RESOURCE: &[Field<'static>] = &[
    text(
        "type",
        "`Instance`, `AccessKey`, `User`, `Role`, `S3Bucket`, or the service's name for it",
    ),
    text("arn", "its ARN"),
    text("id", "instance id, access key id, or the name of a user, role or bucket"),
    text("role", "`ACTOR` or `TARGET`, where the finding says so"),
    text("account", "the account that owns it"),
    text("region", "its Region"),
    Field {
        name: "principal",
        holds: Holds::Object(PRINCIPAL),
        about: "of an access key: whose credentials they are",
    },
];

/// The fields of `resource.principal`.
const PRINCIPAL: &[Field<'static>] = &[
    text("type", "`IAMUser`, `AssumedRole`, `Root`, `FederatedUser`, …"),
    text("name", "the user's or role's name"),
    text("id", "the unique id, `AIDA…` or `AROA…:session`"),
];

/// Finds the parts of a pattern that could never match. The node is a sound
/// pattern already.
pub(super) fn check(when: &Node) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    check_object(when, "when", FIELDS, &mut mistakes);
    mistakes
}

fn mistake(node: &Node, message: String, help: impl Into<String>) -> Mistake {
    Mistake { place: node.place, message, help: Some(help.into()) }
}

fn check_object(node: &Node, what: &str, fields: &[Field<'_>], mistakes: &mut Vec<Mistake>) {
    let Content::Map(entries) = &node.content else { return };
    for entry in entries {
        if entry.key == "$or" {
            let Content::List(nodes) = &entry.node.content else { continue };
            for node in nodes {
                check_object(node, what, fields, mistakes);
            }
            continue;
        }
        // `resource.type` is the same as `type` within `resource`.
        let (name, rest) = match entry.key.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (entry.key.as_str(), None),
        };
        let found = fields.iter().find(|field| field.name == name);
        match (found.map(|field| (field, &field.holds)), rest) {
            (Some((field, _)), None) => check_field(&entry.node, field, mistakes),
            (Some((_, Holds::Object(fields))), Some(rest)) => {
                let entry = Entry { key: rest.to_owned(), ..entry.clone() };
                let node = Node { place: entry.place, content: Content::Map(vec![entry]) };
                check_object(&node, name, fields, mistakes);
            }
            (Some((_, Holds::Tags | Holds::Anything)), Some(_)) => {}
            (Some((_, Holds::Text | Holds::Number | Holds::Bool)), Some(_)) | (None, _) => {
                mistakes.push(unknown(entry, what, fields));
            }
        }
    }
}

fn unknown(entry: &Entry, what: &str, fields: &[Field<'_>]) -> Mistake {
    let help = suggestion(&entry.key, fields.iter().map(|field| field.name), || {
        "what the service wrote beyond these fields is under `detail`".to_owned()
    });
    let message = format!("`{what}` has no field `{}`: this would never match", entry.key);
    Mistake { place: entry.place, message, help: Some(help) }
}

fn check_field(node: &Node, field: &Field<'_>, mistakes: &mut Vec<Mistake>) {
    let name = field.name;
    let is_map = matches!(node.content, Content::Map(_));
    match &field.holds {
        Holds::Anything => {}
        Holds::Object(fields) if is_map => check_object(node, name, fields, mistakes),
        Holds::Tags if is_map => {
            let Content::Map(entries) = &node.content else { return };
            for entry in entries {
                check_leaf(&entry.node, &text(&entry.key, field.about), mistakes);
            }
        }
        Holds::Object(_) | Holds::Tags => {
            let help = format!("look at a field of it, as in {name}: {{ … }}");
            mistakes.push(mistake(node, format!("`{name}` is no single value"), help));
        }
        Holds::Text | Holds::Number | Holds::Bool => {
            check_leaf(node, field, mistakes);
        }
    }
}

fn check_leaf(node: &Node, field: &Field<'_>, mistakes: &mut Vec<Mistake>) {
    let Field { name, holds, about } = field;
    let Content::List(alternatives) = &node.content else {
        let help = format!("write {name}: [ … ]");
        mistakes.push(mistake(node, format!("`{name}` is a single value and has no fields"), help));
        return;
    };
    for alternative in alternatives {
        let (fits, kind) = match holds {
            Holds::Number => (fits_number(alternative), "numbers"),
            Holds::Bool => (matches!(alternative.content, Content::Bool(_)), "true or false"),
            Holds::Text | Holds::Object(_) | Holds::Tags | Holds::Anything => {
                (fits_text(alternative), "texts")
            }
        };
        if !fits {
            let message =
                format!("`{name}` holds {kind}, and {} would never match", alternative.describe());
            let help = match &alternative.content {
                Content::Number(number) => format!("write it in quotes: \"{number}\""),
                Content::Text(text) => format!("write it without quotes: {text}"),
                _ => format!("it is {about}"),
            };
            mistakes.push(mistake(alternative, message, help));
        }
    }
}

fn operator(node: &Node) -> Option<&str> {
    match &node.content {
        Content::Map(entries) => entries.first().map(|entry| entry.key.as_str()),
        _ => None,
    }
}

fn fits_number(node: &Node) -> bool {
    match &node.content {
        Content::Number(_) => true,
        Content::Map(_) => {
            matches!(operator(node), Some("numeric" | "exists" | "anything-but"))
        }
        Content::Null | Content::Bool(_) | Content::Text(_) | Content::List(_) => false,
    }
}

fn fits_text(node: &Node) -> bool {
    match &node.content {
        Content::Text(_) => true,
        Content::Map(_) => operator(node) != Some("numeric"),
        Content::Null | Content::Bool(_) | Content::Number(_) | Content::List(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every field as a line of the table in docs/policy.md.
    #[test]
    fn the_documentation_lists_every_field() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policy.md");
        let text = std::fs::read_to_string(file).unwrap();
        let mut missing = Vec::new();
        let groups = [("", FIELDS), ("resource.", RESOURCE), ("resource.principal.", PRINCIPAL)];
        for (above, fields) in groups {
            for field in fields {
                let line = format!("| `{above}{}` | {} |", field.name, field.about);
                if !text.contains(&line) {
                    missing.push(line);
                }
            }
        }
        assert!(missing.is_empty(), "docs/policy.md lacks:\n{}", missing.join("\n"));
    }
}
