//! The record of a response: its state, its steps, how it is approved and undone.
//! Pure; `crate::transition` changes it, `firebreak-aws` stores it.
//!
//! The record is the one source of truth for status, audit and undo. It is
//! written before anything changes and carries all prior state.

mod approval;
mod finding_summary;
mod id;
mod sibling_targets;
mod state;
mod step;
mod suppression;
mod undo;

use firebreak_model::action::Residual;
use firebreak_model::finding::SecurityHubId;
use firebreak_model::organization::{OuPath, Place};
use firebreak_model::resource::Resource;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::approval::{Approval, ApprovalAnswer, ApprovalCause, ApprovalDecision, Approver};
pub use self::finding_summary::FindingSummary;
pub use self::id::{ResponseId, ResponseIdError};
pub use self::sibling_targets::{MAX_SIBLING_FINDINGS, SiblingTargets};
pub use self::state::State;
pub use self::step::{PriorState, Step, StepState, is_contained, residual, result};
pub use self::suppression::{Suppression, SuppressionChange};
pub use self::undo::{Drift, Undo, UndoCause};
use crate::target::TargetKey;

/// The format of a record. A reader rejects a newer one: acting on a part of a record
/// could undo half of a containment.
pub const FORMAT: u32 = 1;

/// The durable record of a plan for one target, from the decision to its undo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// See [`FORMAT`].
    pub format: u32,
    pub id: ResponseId,
    /// Counts the writes; every write is conditional on the one before, so a
    /// stalled worker cannot write after its successor.
    pub revision: u64,
    pub state: State,
    /// Why it is in this state, in a sentence.
    pub reason: String,
    pub resource: Resource,
    /// The OUs above the account when it was decided.
    pub ou_path: OuPath,
    /// The finding that caused it.
    pub finding: FindingSummary,
    /// The key of its entry at the target: the policy document and rule that decided,
    /// or, for a refusal before any rule, the guardrail.
    #[serde(rename = "rule")]
    pub key: TargetKey,
    /// The epoch of this target and rule.
    pub epoch: u64,
    /// The steps, in the order in which they run.
    pub steps: Vec<Step>,
    /// When it was recorded first.
    pub created: Timestamp,
    /// When it was recorded last.
    pub updated: Timestamp,
    /// The end of its worker's lease; after it another worker recovers the response.
    pub lease_until: Option<Timestamp>,
    /// How long the change stays before it is undone, if the rule has `expires`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<SignedDuration>,
    /// When it expires and is undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Timestamp>,
    /// When the sweep processes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// What it waits for while no worker has its lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// How often a worker handed it over since it began.
    #[serde(default)]
    pub tries: u32,
    /// When its execution last began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Timestamp>,
    /// Whether a notice about the containment was sent while later phases still run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub containment_reported: bool,
    /// The version of the policy that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<u64>,
    /// The Security Hub ids of its further findings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further_findings: Vec<SecurityHubId>,
    /// Its findings that have other targets as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub siblings: Vec<SiblingTargets>,
    /// The approval, if one is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The requested undo. It is kept as a record, and so that a worker that recovers
    /// the response continues the same undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
}

impl Response {
    /// The account's place when it was decided.
    pub fn place(&self) -> Place {
        Place { account: self.resource.account.clone(), ou_path: self.ou_path.clone() }
    }

    /// The Security Hub ids of all its findings, each once.
    pub fn security_hub_ids(&self) -> impl Iterator<Item = &SecurityHubId> {
        self.finding.security_hub.iter().chain(&self.further_findings)
    }

    /// What may stay open although the target is contained.
    pub fn residual(&self) -> Vec<&Residual> {
        residual(&self.steps)
    }

    /// Whether the target is contained, as far as it is verified.
    pub fn is_contained(&self) -> bool {
        is_contained(&self.steps)
    }
}
