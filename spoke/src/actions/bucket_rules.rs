//! Rules of a bucket's configuration, each with an id and a status: which were
//! on, and what becomes of them. Only statuses are recorded and changed. The
//! configuration around them is read right before each write, so that what
//! somebody else changed in it stays.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Change, Undone, Verification};

/// Whether a rule is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Enabled,
    Disabled,
}

/// The rules of the kind that an action turns off, by id.
pub(super) type Rules = BTreeMap<String, Status>;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Prior {
    /// The ids of the rules that were on.
    pub(super) enabled: BTreeSet<String>,
}

/// What is on now.
pub(super) fn observed(rules: &Rules) -> Prior {
    let on = rules.iter().filter(|(_, status)| **status == Status::Enabled);
    Prior { enabled: on.map(|(id, _)| id.clone()).collect() }
}

/// A change for each rule that is on.
pub(super) fn changes(kind: &str, bucket: &str, prior: &Prior) -> Vec<Change> {
    let one = |id: &String| Change {
        what: format!("{kind} rule {id} of bucket {bucket}"),
        before: "Enabled".to_owned(),
        after: "Disabled".to_owned(),
    };
    prior.enabled.iter().map(one).collect()
}

/// Whether all that were on when the plan was made are off.
pub(super) fn judge(kind: &str, bucket: &str, present: &Rules, prior: &Prior) -> Verification {
    let on: Vec<&str> = prior
        .enabled
        .iter()
        .filter(|id| present.get(*id) == Some(&Status::Enabled))
        .map(String::as_str)
        .collect();
    if on.is_empty() {
        Verification::InEffect(format!("the {kind} rules of `{bucket}` are off"))
    } else {
        Verification::NotInEffect(format!("{kind} rules of `{bucket}` are on: {}", on.join(", ")))
    }
}

/// What undo makes of the present rules: those to turn on again, and what
/// somebody took away since.
pub(super) fn reverse(
    kind: &str,
    bucket: &str,
    present: &Rules,
    prior: &Prior,
) -> (BTreeSet<String>, Undone) {
    let (mut on, mut undone) = (BTreeSet::new(), Undone::default());
    for id in &prior.enabled {
        match present.get(id) {
            Some(Status::Disabled) => {
                on.insert(id.clone());
                undone.restored.push(format!("the {kind} rule {id} of {bucket} is on again"));
            }
            Some(Status::Enabled) => {}
            None => undone
                .drift
                .push(format!("the {kind} rule `{id}` of `{bucket}` was taken away since")),
        }
    }
    (on, undone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undo_turns_on_only_what_was_on() {
        let rules = |rules: &[(&str, Status)]| -> Rules {
            rules.iter().map(|&(id, status)| (id.to_owned(), status)).collect()
        };
        let (on, off) = (Status::Enabled, Status::Disabled);
        let prior = observed(&rules(&[("a", on), ("b", off), ("c", on)]));
        assert_eq!(changes("lifecycle", "data", &prior).len(), 2);
        let (again, undone) =
            reverse("lifecycle", "data", &rules(&[("a", off), ("b", off), ("new", off)]), &prior);
        assert_eq!(again.into_iter().collect::<Vec<_>>(), ["a"]);
        assert_eq!((undone.restored.len(), undone.drift.len()), (1, 1));
    }
}
