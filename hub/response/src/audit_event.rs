//! Audit events: every decision, whether it acts or not, and everything that a person
//! or a timeout did about a response. Pure.

use firebreak_model::digest::sha256_hex;
use firebreak_model::resource::AccountId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::record::{Response, ResponseId, State};

/// The format of an event. A reader rejects a newer one.
pub const FORMAT: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditKind {
    /// Policy decided about a target of a finding.
    Decided,
    /// A response changed its state.
    StateChanged,
    /// A person, or a timeout, approved a plan.
    Approved,
    /// A person, or a timeout, denied a plan.
    Denied,
    /// An undo was requested.
    UndoRequested,
    /// Findings were suppressed on a target.
    Suppressed,
    /// A suppression ended.
    Released,
    /// Something was paused.
    Paused,
    /// A pause was ended.
    Unpaused,
    /// A notification was given up.
    Undelivered,
}

/// One audit event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// See [`FORMAT`].
    pub format: u32,
    pub at: Timestamp,
    /// The chain that it is in: an account, or `organization`.
    pub account: String,
    /// The caller's ARN; the hub's own where policy acts.
    pub by: String,
    pub what: AuditKind,
    /// Why, in a sentence.
    pub reason: String,
    /// The finding's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
    /// The finding's type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding_type: Option<String>,
    /// The update of the finding that was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding_updated: Option<Timestamp>,
    /// The target's ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The rule, `<attach>/<rule>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The version of the policy that was in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<ResponseId>,
    /// The response's revision, as it was recorded with this event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The response's state at that revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// The SHA-256 of that revision's record, in hexadecimal digits. It shows whether
    /// the record was changed by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
}

/// The chain of events that are not about one account.
pub const ORGANIZATION: &str = "organization";

impl AuditEvent {
    /// An event of an account's chain, or of [`ORGANIZATION`]'s.
    pub fn new(what: AuditKind, account: &str, by: &str, reason: &str, at: Timestamp) -> Self {
        Self {
            format: FORMAT,
            at,
            account: account.to_owned(),
            by: by.to_owned(),
            what,
            reason: reason.to_owned(),
            finding: None,
            finding_type: None,
            finding_updated: None,
            target: None,
            rule: None,
            policy_version: None,
            response: None,
            revision: None,
            state: None,
            record: None,
        }
    }

    /// An event of a response as it is recorded at this moment.
    pub fn of(what: AuditKind, response: &Response, by: &str, reason: &str) -> Self {
        let account: &AccountId = &response.resource.account;
        let revision = Some(response.revision);
        let json = serde_json::to_string(response).ok();
        Self {
            finding: Some(response.finding.id.clone()),
            finding_type: Some(response.finding.kind.clone()),
            target: Some(response.resource.arn()),
            rule: Some(response.key.to_string()),
            policy_version: response.policy_version,
            response: Some(response.id.clone()),
            revision,
            state: Some(response.state),
            record: json.map(|json| sha256_hex(&json)),
            ..Self::new(what, account.as_str(), by, reason, response.updated)
        }
    }

    /// The key in its chain. The same decision about the same update of a finding, with
    /// the same outcome, is the same event.
    pub fn key(&self) -> String {
        let at = if self.what == AuditKind::Decided { Timestamp::UNIX_EPOCH } else { self.at };
        let json = serde_json::to_string(&Self { at, ..self.clone() }).unwrap_or_default();
        sha256_hex(&json).chars().take(32).collect()
    }
}
