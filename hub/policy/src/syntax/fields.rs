//! The fields that patterns can look at. A pattern on a field that does not exist, or
//! on a number where the field holds a text, would never match, and nobody would see
//! it. So it is an error.

use firebreak_model::resource::AccountId;
use firebreak_model::suggest::{edits, suggestion};

use super::issue::Issue;
use super::node::{Content, MapEntry, Node};

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
    /// Any key, each with a text of its owner's choice.
    Tags,
    /// One of these texts.
    TagValue,
    /// The type of a resource, as policies name it.
    ResourceType,
    /// Any value: the finding's service decides.
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
    text(
        "product",
        "`GuardDuty`, or the product's name; `<account>/default` for imports of your own",
    ),
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
    Field {
        name: "type",
        holds: Holds::ResourceType,
        about: "`Instance`, `AccessKey`, `User`, `Role`, `S3Bucket`, or the service's name for it",
    },
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

/// Finds the parts of a pattern that could never match. Errors of the pattern language
/// itself are reported elsewhere.
pub(super) fn check(pattern: &Node, what: &str) -> Vec<Issue> {
    let mut issues = Vec::new();
    check_object(pattern, what, FIELDS, &mut issues);
    issues
}

fn issue(node: &Node, message: String, help: impl Into<String>) -> Issue {
    Issue { place: node.place, message, help: Some(help.into()) }
}

fn check_object(node: &Node, what: &str, fields: &[Field<'_>], issues: &mut Vec<Issue>) {
    let Content::Map(entries) = &node.content else { return };
    for entry in entries {
        if entry.key == "$or" {
            let Content::List(nodes) = &entry.node.content else { continue };
            for node in nodes {
                check_object(node, what, fields, issues);
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
            (Some((field, _)), None) => check_field(&entry.node, field, issues),
            (Some((_, Holds::Object(fields))), Some(rest)) => {
                let entry = MapEntry { key: rest.to_owned(), ..entry.clone() };
                let node = Node { place: entry.place, content: Content::Map(vec![entry]) };
                check_object(&node, &format!("`{name}`"), fields, issues);
            }
            (Some((_, Holds::Tags | Holds::Anything)), Some(_)) => {}
            (
                Some((
                    _,
                    Holds::Text
                    | Holds::TagValue
                    | Holds::ResourceType
                    | Holds::Number
                    | Holds::Bool,
                )),
                Some(_),
            )
            | (None, _) => {
                issues.push(unknown(entry, what, fields));
            }
        }
    }
}

fn unknown(entry: &MapEntry, what: &str, fields: &[Field<'_>]) -> Issue {
    let help = suggestion(&entry.key, fields.iter().map(|field| field.name), || {
        "what the service wrote beyond these fields is under `detail`".to_owned()
    });
    let message = format!("{what} has no field `{}`: this would never match", entry.key);
    Issue { place: entry.place, message, help: Some(help) }
}

fn check_field(node: &Node, field: &Field<'_>, issues: &mut Vec<Issue>) {
    let name = field.name;
    let is_map = matches!(node.content, Content::Map(_));
    match &field.holds {
        Holds::Anything if is_map => {}
        Holds::Object(fields) if is_map => check_object(node, &format!("`{name}`"), fields, issues),
        Holds::Tags if is_map => {
            let Content::Map(entries) = &node.content else { return };
            for entry in entries {
                check_leaf(
                    &entry.node,
                    &Field { name: &entry.key, holds: Holds::TagValue, about: field.about },
                    issues,
                );
            }
        }
        Holds::Object(_) | Holds::Tags | Holds::Anything => {
            let help = format!("look at a field of it, as in {name}: {{ … }}");
            issues.push(issue(node, format!("`{name}` is not a single value"), help));
        }
        Holds::Text | Holds::TagValue | Holds::ResourceType | Holds::Number | Holds::Bool => {
            check_leaf(node, field, issues);
        }
    }
}

fn check_leaf(node: &Node, field: &Field<'_>, issues: &mut Vec<Issue>) {
    let Field { name, holds, about } = field;
    let alternatives = match &node.content {
        Content::List(alternatives) => alternatives.as_slice(),
        // The missing list is an error of the language; the value may be one as well.
        Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) => {
            std::slice::from_ref(node)
        }
        Content::Map(_) => {
            let help = format!("write {name}: [ … ]");
            let message = format!("`{name}` is a single value and has no fields");
            issues.push(issue(node, message, help));
            return;
        }
    };
    for alternative in alternatives {
        let (fits, kind) = match holds {
            Holds::Number => (fits_number(alternative), "numbers"),
            Holds::Bool => (matches!(alternative.content, Content::Bool(_)), "true or false"),
            Holds::TagValue => {
                (fits_text(alternative) || operator(alternative) == Some("cidr"), "texts")
            }
            Holds::Text
            | Holds::ResourceType
            | Holds::Object(_)
            | Holds::Tags
            | Holds::Anything => (fits_text(alternative), "texts"),
        };
        if fits {
            issues.extend(value(alternative, field));
            continue;
        }
        let what = match operator(alternative) {
            Some(operator) => format!("this `{operator}`"),
            None => alternative.describe(),
        };
        let always = operator(alternative) == Some("anything-but");
        let when = if always { "always" } else { "never" };
        let message = format!("`{name}` holds {kind}, and {what} would {when} match");
        let help = match (&alternative.content, holds) {
            (Content::Number(number), _) => format!("write it in quotes: \"{number}\""),
            (Content::Text(text), Holds::Number) if text.parse::<f64>().is_ok() => {
                format!("write it without quotes: {text}")
            }
            (Content::Text(_), Holds::Number) => {
                format!("it is {about}: write a comparison, as in {{ numeric: [\">=\", 7] }}")
            }
            (Content::Text(text), Holds::Bool) if text.parse::<bool>().is_ok() => {
                format!("write it without quotes: {text}")
            }
            _ => format!("it is {about}"),
        };
        issues.push(issue(alternative, message, help));
    }
}

/// An error where the field holds values of this kind, but never this one.
fn value(node: &Node, field: &Field<'_>) -> Option<Issue> {
    let name = field.name;
    let never = |what: &str, help: String| {
        Some(issue(node, format!("`{name}` is never {what}: this would never match"), help))
    };
    if matches!(field.holds, Holds::TagValue) {
        return None;
    }
    match (name, &node.content) {
        ("sample", Content::Bool(true)) => never("true", format!("it is {}", field.about)),
        ("severity", _) => {
            let highest = beyond(node)?;
            never(&format!("above {highest}"), "GuardDuty's scale ends at 10".to_owned())
        }
        ("account", Content::Text(text)) if text.parse::<AccountId>().is_err() => {
            never(&format!("`{text}`"), "an account id has twelve digits".to_owned())
        }
        ("ouPath", Content::Text(text)) if text.contains('/') => {
            never(&format!("`{text}`"), "it is a list of ids: write one of them".to_owned())
        }
        ("workflowStatus" | "role", Content::Text(text)) if text.to_uppercase() != *text => {
            never(&format!("`{text}`"), format!("write {}", text.to_uppercase()))
        }
        // Types of other services are not checked; an obvious typo is reported.
        ("type", Content::Text(text)) if matches!(field.holds, Holds::ResourceType) => {
            if TYPES.contains(&text.as_str()) {
                return None;
            }
            // One edit in four letters: `Node` is a type of its own, not `Role`.
            let near = TYPES.iter().find(|known| edits(known, text) <= known.len() / 4)?;
            never(&format!("`{text}`"), format!("did you mean `{near}`?"))
        }
        _ => None,
    }
}

/// The resource types of targets that actions act on.
const TYPES: [&str; 5] = ["Instance", "AccessKey", "User", "Role", "S3Bucket"];

/// A number above the scale of severities that the severity would have to reach.
fn beyond(node: &Node) -> Option<f64> {
    let number = |node: &Node| match &node.content {
        Content::Number(number) => number.as_f64().filter(|number| *number > 10.0),
        _ => None,
    };
    let Some(Content::List(parts)) = node.get("numeric").map(|it| &it.content) else {
        return number(node);
    };
    parts.chunks(2).find_map(|pair| match pair {
        [Node { content: Content::Text(sign), .. }, limit] if !sign.starts_with('<') => {
            number(limit)
        }
        _ => None,
    })
}

fn operator(node: &Node) -> Option<&str> {
    match &node.content {
        Content::Map(entries) => entries.first().map(|entry| entry.key.as_str()),
        _ => None,
    }
}

/// What an operator such as `anything-but` excludes.
fn operands(node: &Node) -> &[Node] {
    match &node.content {
        Content::Map(entries) => match entries.first().map(|entry| &entry.node) {
            Some(Node { content: Content::List(nodes), .. }) => nodes,
            Some(one) => std::slice::from_ref(one),
            None => &[],
        },
        _ => &[],
    }
}

fn fits_number(node: &Node) -> bool {
    match (&node.content, operator(node)) {
        // A list in a list is an error of the language.
        (Content::Number(_) | Content::List(_), _) => true,
        (Content::Map(_), Some("anything-but")) => {
            operands(node).iter().all(|it| matches!(it.content, Content::Number(_)))
        }
        (Content::Map(_), operator) => !matches!(
            operator,
            Some("prefix" | "suffix" | "equals-ignore-case" | "wildcard" | "cidr")
        ),
        (Content::Null | Content::Bool(_) | Content::Text(_), _) => false,
    }
}

/// No field of a finding holds an address: addresses are in `detail`.
fn fits_text(node: &Node) -> bool {
    match (&node.content, operator(node)) {
        (Content::Text(_) | Content::List(_), _) => true,
        (Content::Map(_), Some("anything-but")) => {
            operands(node).iter().all(|it| !matches!(it.content, Content::Number(_)))
        }
        (Content::Map(_), operator) => !matches!(operator, Some("numeric" | "cidr")),
        (Content::Null | Content::Bool(_) | Content::Number(_), _) => false,
    }
}

/// The table of fields in docs/policy.md, as Markdown.
#[cfg(test)]
pub(crate) fn field_table() -> String {
    format!("| field | what it holds |\n|---|---|\n{}", rows("", FIELDS))
}

#[cfg(test)]
fn rows(above: &str, fields: &[Field<'_>]) -> String {
    let row = |Field { name, holds, about }: &Field<'_>| {
        let below = match holds {
            Holds::Object(fields) => rows(&format!("{above}{name}."), fields),
            _ => String::new(),
        };
        format!("| `{above}{name}` | {about} |\n{below}")
    };
    fields.iter().map(row).collect()
}
