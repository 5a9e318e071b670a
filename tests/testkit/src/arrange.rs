//! What many tests arrange alike: a policy, a finding, an undo.

use firebreak_demo::world::{Attack, Member};
use firebreak_policy::{Policy, read_files};
use firebreak_response::record::{Drift, Undo, UndoCause};
use firebreak_spoke::registry;
use serde_json::Value;

/// A policy of documents written in a test.
pub fn policy(documents: &[&str]) -> Policy {
    let files: Vec<(String, String)> = documents
        .iter()
        .enumerate()
        .map(|(index, text)| (format!("{index}.yaml"), (*text).to_owned()))
        .collect();
    read_files(&files, registry::catalog()).unwrap_or_else(|diagnostics| {
        panic!("{}", diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// A GuardDuty finding of this type on a resource of a member's, as `resource`
/// describes it.
pub fn finding_on(member: &Member, number: usize, kind: &str, resource: Value) -> Value {
    let mut finding = Attack::Instance.finding(member, number);
    finding["type"] = kind.into();
    finding["resource"] = resource;
    finding
}

/// The whole of a response; drift is left alone, and nothing is suppressed.
pub fn whole_undo() -> Undo {
    let cause = UndoCause::Person("a test".to_owned());
    Undo { cause, step: None, drift: Drift::Leave, suppress_until: None }
}
