//! Lints: patterns that are valid and probably not what was meant. A rule for a
//! finding type that does not exist never matches, and nobody sees it.

use firebreak_event_pattern::Pattern;
use firebreak_model::finding_types::{self, FindingType};
use firebreak_model::suggest::suggestion;
use serde_json::json;

use super::diagnostics::{Diagnostic, located};
use super::document::RULES;
use super::issue::Issue;
use super::node::{Content, Node};
use super::rule::patterns_of;

/// Lints of the patterns in rules, each with its place. Files that are not YAML have no
/// lints; reading them fails.
pub fn lints(files: &[(String, String)]) -> Vec<Diagnostic> {
    let known = finding_types::all();
    let mut lints = Vec::new();
    for (file, text) in files {
        let Ok(document) = Node::from_yaml(text) else { continue };
        let rules = document.get(RULES.name).map(items).unwrap_or_default();
        let patterns = rules.iter().flat_map(patterns_of);
        let issues = patterns.flat_map(|pattern| issues_of(pattern, &known)).collect();
        lints.extend(located(file, text, issues));
    }
    lints
}

fn issues_of(pattern: &Node, known: &[FindingType]) -> Vec<Issue> {
    let at = |path: &[&str]| alternatives(pattern, path);
    let types = at(&["type"]).into_iter().filter_map(|it| finding_type(it, known));
    let severities = at(&["severity"]).into_iter().filter_map(severity);
    let regions =
        ["region", "resource.region"].map(|path| at(&path.split('.').collect::<Vec<_>>()));
    let regions = regions.into_iter().flatten().filter_map(region);
    let resources = at(&["resource", "type"]).into_iter().filter_map(|it| resource_type(it, known));
    types.chain(severities).chain(regions).chain(resources).collect()
}

/// The alternatives of the field at a path, in every choice of `$or`.
fn alternatives<'n>(node: &'n Node, path: &[&str]) -> Vec<&'n Node> {
    let choices = node.get("$or").map(items).unwrap_or_default();
    let dotted = node.get(&path.join(".")).map(items).unwrap_or_default();
    let nested = match path.split_first() {
        Some((first, rest)) if !rest.is_empty() => {
            node.get(first).map(|below| alternatives(below, rest)).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let chosen = choices.iter().flat_map(|choice| alternatives(choice, path));
    dotted.iter().chain(nested).chain(chosen).collect()
}

fn items(node: &Node) -> &[Node] {
    match &node.content {
        Content::List(items) => items,
        _ => &[],
    }
}

fn lint(node: &Node, message: impl Into<String>, help: String) -> Issue {
    Issue { place: node.place, message: message.into(), help: Some(help) }
}

/// A `type` that matches no finding type of GuardDuty's. Another product may have it.
fn finding_type(written: &Node, known: &[FindingType]) -> Option<Issue> {
    let pattern = Pattern::parse(&json!({ "type": [written.to_json()] })).ok()?;
    if known.iter().any(|known| pattern.matches(&json!({ "type": known.name }))) {
        return None;
    }
    let otherwise = || "leave it if another product's findings have such types".to_owned();
    let names = known.iter().map(|it| it.name);
    let help = match (written.as_text(), written.get("prefix").and_then(Node::as_text)) {
        (Some(text), _) => suggestion(text, names, otherwise),
        // A prefix is compared with the beginnings of the names, cut to its length.
        (_, Some(prefix)) => {
            suggestion(prefix, names.filter_map(|name| name.get(..prefix.len())), otherwise)
        }
        (None, None) => otherwise(),
    };
    let message = "this matches no finding type of GuardDuty that this version knows";
    Some(lint(written, message, help))
}

/// A number alone matches that severity and none above it.
fn severity(written: &Node) -> Option<Issue> {
    let Content::Number(number) = &written.content else { return None };
    let message = format!("this matches the severity {number} only, and none above it");
    Some(lint(
        written,
        message,
        format!("for {number} and above write {{ numeric: [\">=\", {number}] }}"),
    ))
}

/// The directions in the names of Regions, such as `us-east-1` and `us-gov-west-1`.
const DIRECTIONS: [&str; 9] = [
    "east",
    "west",
    "north",
    "south",
    "central",
    "northeast",
    "northwest",
    "southeast",
    "southwest",
];

/// A Region whose name has no direction before its number.
fn region(written: &Node) -> Option<Issue> {
    let text = written.as_text()?;
    let parts: Vec<&str> = text.rsplitn(3, '-').collect();
    if let [number, direction, area] = parts.as_slice() {
        if DIRECTIONS.contains(direction) && number.parse::<u8>().is_ok() {
            return None;
        }
        let near: Vec<String> =
            DIRECTIONS.iter().map(|it| format!("{area}-{it}-{number}")).collect();
        let near = suggestion(text, near.iter().map(String::as_str), String::new);
        if !near.is_empty() {
            return Some(lint(written, format!("`{text}` is not the name of a Region"), near));
        }
    }
    let help = "a name is an area, a direction and a number, as in us-east-1".to_owned();
    Some(lint(written, format!("`{text}` is not the name of a Region"), help))
}

/// Resource types that Firebreak acts on and that Security Hub's findings name.
const NAMED_BY_OTHERS: [&str; 3] = ["RDSDBCluster", "Role", "User"];

/// A resource type that no finding type of GuardDuty's names. Types of Security Hub's
/// begin with `Aws`.
fn resource_type(written: &Node, known: &[FindingType]) -> Option<Issue> {
    let text = written.as_text()?;
    let types = || known.iter().flat_map(|it| it.resource_types.iter().copied());
    if text.starts_with("Aws") || NAMED_BY_OTHERS.contains(&text) || types().any(|it| it == text) {
        return None;
    }
    let help = match types().filter(|it| text.contains(it)).max_by_key(|it| it.len()) {
        Some(part) => format!("did you mean `{part}`?"),
        None => suggestion(text, types(), || {
            "leave it if another product's findings name such resources".to_owned()
        }),
    };
    Some(lint(
        written,
        format!("no finding type of GuardDuty names a resource of type `{text}`"),
        help,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_does_not_exist_is_reported_at_its_place() {
        let text = "\
attach: r-ab12
rules:
  - name: a
    when:
      type: [\"Recon:EC2/Protscan\", { prefix: \"Recon:\" }, { prefix: \"Recom:\" }]
  - name: b
    when:
      $or: [{ $or: [{ type: [{ wildcard: \"*:EC9/*\" }] }] }, { type: [{ anything-but: \"x\" }] }]
  - name: c
    when: { type: [{ prefx: \"Recon\" }], severity: [8] }
";
        let files = [("a.yaml".to_owned(), text.to_owned()), ("b".to_owned(), "a: [".to_owned())];
        let found: Vec<_> =
            lints(&files).into_iter().map(|it| (it.line, it.column, it.help)).collect();
        let right = || Some("leave it if another product's findings have such types".to_owned());
        let near = Some("did you mean `Recon:EC2/Portscan`?".to_owned());
        let prefix = Some("did you mean `Recon:`?".to_owned());
        let severity = Some("for 8 and above write { numeric: [\">=\", 8] }".to_owned());
        assert_eq!(found, [(5, 14, near), (5, 58, prefix), (8, 30, right()), (10, 52, severity)]);
    }

    #[test]
    fn every_lint_has_a_help() {
        let helps = |pattern: &str| -> Vec<String> {
            let text =
                format!("attach: r-ab12\nrules: [{{ name: a, mode: observe, when: {pattern} }}]\n");
            let found = lints(&[("a.yaml".to_owned(), text)]);
            found.into_iter().filter_map(|it| it.help).collect()
        };
        assert_eq!(helps("{ region: [us-esat-1] }"), ["did you mean `us-east-1`?"]);
        assert_eq!(helps("{ region: [us-gov-west-1, eu-central-1, { prefix: eu- }] }"), [""; 0]);
        assert_eq!(helps("{ resource: { type: [EC2Instance] } }"), ["did you mean `Instance`?"]);
        assert_eq!(helps("{ resource.type: [Instance, AwsRdsDbInstance, User, Role] }"), [""; 0]);
        assert_eq!(
            helps("{ type: [{ prefix: \"Unauthorised\" }] }"),
            ["did you mean `Unauthorized`?"]
        );
        assert_eq!(
            helps("{ $or: [{ severity: [7] }, { severity: [{ numeric: [\">=\", 7] }] }] }").len(),
            1
        );
    }
}
