//! The state of a target: its responses by rule, its suppressions, the pauses, and its
//! account's place. Pure; `firebreak-aws` stores it.

use std::collections::BTreeMap;
use std::fmt;

use firebreak_model::organization::OuPath;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::pauses::Pauses;
use crate::record::{ResponseId, State, Suppression};

/// The key of a response in its target's state: one for each rule, and others for what
/// the rule decides about single findings.
///
/// As text, `<attach>/<rule>`, and for any subject but the rule a `#` and the subject;
/// names of rules contain no `#`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct TargetKey {
    /// The rule, `<attach>/<name>`; for a refusal before any rule, the guardrail.
    pub rule: String,
    /// Which of the rule's responses it is.
    pub subject: KeySubject,
}

/// Which of a rule's responses on a target a key belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeySubject {
    /// The one that covers all findings of the rule.
    Rule,
    /// The one for findings that name the same remote addresses, by their digest.
    Addresses(String),
    /// The refusal of single findings beyond the number that a target keeps.
    TooMany,
    /// The refusal of findings that their service does not confirm.
    Unconfirmed,
}

const TOO_MANY: &str = "too-many";
const UNCONFIRMED: &str = "unconfirmed";

impl TargetKey {
    /// The key of a rule's one response.
    pub fn of_rule(rule: impl Into<String>) -> Self {
        Self { rule: rule.into(), subject: KeySubject::Rule }
    }
}

impl fmt::Display for TargetKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, subject } = self;
        match subject {
            KeySubject::Rule => formatter.write_str(rule),
            KeySubject::Addresses(digest) => write!(formatter, "{rule}#{digest}"),
            KeySubject::TooMany => write!(formatter, "{rule}#{TOO_MANY}"),
            KeySubject::Unconfirmed => write!(formatter, "{rule}#{UNCONFIRMED}"),
        }
    }
}

impl From<String> for TargetKey {
    fn from(text: String) -> Self {
        let Some((rule, subject)) = text.split_once('#') else { return Self::of_rule(text) };
        let subject = match subject {
            TOO_MANY => KeySubject::TooMany,
            UNCONFIRMED => KeySubject::Unconfirmed,
            digest => KeySubject::Addresses(digest.to_owned()),
        };
        Self { rule: rule.to_owned(), subject }
    }
}

impl From<TargetKey> for String {
    fn from(key: TargetKey) -> Self {
        key.to_string()
    }
}

/// The findings that a response covers, by id, each with the update that was seen last.
pub type Findings = BTreeMap<String, Option<Timestamp>>;

/// A target's entry for one response. It follows from the record, see
/// [`Record::entry`](crate::transition::Record::entry): nothing else sets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetEntry {
    /// The latest response under its key.
    pub response: ResponseId,
    pub epoch: u64,
    pub state: State,
    /// The end of the worker's lease when the entry was written. Progress extends the
    /// lease in the record only, so after this time the record decides.
    pub lease_until: Option<Timestamp>,
    /// Whether all containing steps have ended and only the sweep continues: other
    /// findings do not wait for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waiting: bool,
    /// Whether something may stay open although the target is contained.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub residual: bool,
    /// The findings that it covers.
    pub findings: Findings,
}

impl TargetEntry {
    /// Whether a finding is unresolved while it has this response.
    pub fn is_unresolved(&self) -> bool {
        self.state.is_unresolved() || self.residual
    }
}

/// The state of a target: its responses by rule, suppressions and pauses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetState {
    /// Counts the writes of the entries and suppressions; 0 for a target without a
    /// state.
    pub revision: u64,
    /// By key.
    pub entries: BTreeMap<TargetKey, TargetEntry>,
    /// By finding type.
    pub suppressions: BTreeMap<String, Suppression>,
    /// The pauses of the organization at this moment.
    pub pauses: Pauses,
    /// The account's place, as stored by one of the hub's processes.
    pub place: Option<StoredPlace>,
    /// How the finding that it was read for was decided, if no rule answered it before.
    pub unanswered: Option<Unanswered>,
}

/// That no rule answered a finding of several targets on one of them: no response says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// The update of the finding that was decided.
    pub updated_at: Option<Timestamp>,
    /// The version of the policy that decided.
    pub policy_version: u64,
}

/// An account's place, stored for every process of the hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPlace {
    /// The OUs above it.
    pub ou_path: OuPath,
    /// When it expires.
    pub until: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        for subject in [
            KeySubject::Rule,
            KeySubject::Addresses("0a1b2c3d".to_owned()),
            KeySubject::TooMany,
            KeySubject::Unconfirmed,
        ] {
            let key = TargetKey { rule: "r-ab12/act".to_owned(), subject };
            assert_eq!(TargetKey::from(key.to_string()), key);
        }
    }
}
