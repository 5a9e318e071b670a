//! Lints: valid but probably unintended: a rule for a finding type that there
//! is not never matches, and nobody sees that it does not.

use serde_json::json;

use super::diagnostics::{Diagnostic, diagnostic};
use super::node::{Content, Node};
use super::reader::Issue;
use firebreak_event_pattern::Pattern;
use firebreak_model::finding_types::{self, FindingType};
use firebreak_model::suggest::suggestion;

/// What stands in rules' `type` and matches no finding type of GuardDuty's, each
/// at its place. Files that are no YAML have none: they are mistaken as a whole.
/// Another product may have such a type.
pub fn lints(files: &[(String, String)]) -> Vec<Diagnostic> {
    let known = finding_types::all();
    let mut lints = Vec::new();
    for (file, text) in files {
        let Ok(document) = Node::from_yaml(text) else { continue };
        let rules = document.get("rules").map(items).unwrap_or_default();
        for when in rules.iter().filter_map(|rule| rule.get("when")) {
            for written in types(when).into_iter().filter(|it| !matches_any(it, &known)) {
                lints.push(diagnostic(file, text, doubt(written, &known)));
            }
        }
    }
    lints
}

/// What stands in `type`, whichever of the choices it is in.
fn types(when: &Node) -> Vec<&Node> {
    let choices = when.get("$or").map(items).unwrap_or_default();
    let own = when.get("type").map(items).unwrap_or_default();
    own.iter().chain(choices.iter().flat_map(types)).collect()
}

fn items(node: &Node) -> &[Node] {
    match &node.content {
        Content::List(items) => items,
        _ => &[],
    }
}

/// Whether a type that is known matches. What is not a pattern is an error, reported
/// elsewhere.
fn matches_any(written: &Node, known: &[FindingType]) -> bool {
    let pattern = Pattern::parse(&json!({ "type": [written.to_json()] }));
    pattern.map_or(true, |it| known.iter().any(|known| it.matches(&json!({ "type": known.name }))))
}

fn doubt(written: &Node, known: &[FindingType]) -> Issue {
    let otherwise = || "right where another product's finding has it".to_owned();
    let help = match &written.content {
        Content::Text(text) => suggestion(text, known.iter().map(|it| it.name), otherwise),
        _ => otherwise(),
    };
    let message = "this matches no finding type of GuardDuty that this version knows".to_owned();
    Issue { place: written.place, message, help: Some(help) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_there_is_not_is_doubted_at_its_place() {
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
        let right = || Some("right where another product's finding has it".to_owned());
        let near = Some("did you mean `Recon:EC2/Portscan`?".to_owned());
        assert_eq!(found, [(5, 14, near), (5, 58, right()), (8, 30, right())]);
    }
}
