//! The outcome for one target of a finding.

use std::time::Duration;

use firebreak_model::resource::Resource;
use serde::Serialize;

use firebreak_model::finding::Finding;
use firebreak_model::organization::OuPath;
use firebreak_policy::{BudgetRef, Decision};
use firebreak_response::record::{FindingSummary, Response};

/// What happened to one target of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disposition {
    /// Ignored: a sample, archived, an analyst is working on it, or no rule applies.
    Nothing,
    /// Handled before; nothing was changed.
    Repeat,
    /// The same rule has a response on this target already: active, or waiting
    /// for approval.
    ExistingResponse,
    /// Findings of this type are suppressed on the target.
    Suppressed,
    /// The finding is not what its service has: forged, altered, or gone.
    NotConfirmed,
    /// The account cannot be reached: no spoke role that admits the hub, a
    /// Region that is not enabled, or an account that is closed.
    NotCovered,
    /// A response ended, or waits; its state says how.
    Responded,
    /// `--plan`: what would be done; nothing was recorded or changed.
    Planned,
}

/// What happened to one target of a finding, and why.
#[derive(Clone, Debug, Serialize)]
pub struct TargetOutcome {
    pub finding: FindingSummary,
    /// The target; `None` for a finding that names none.
    pub resource: Option<Resource>,
    /// The OUs above the target's account, if they were looked up.
    pub ou_path: Option<OuPath>,
    pub disposition: Disposition,
    /// Why, in a sentence.
    pub reason: String,
    /// The policy's decision, if one was made.
    pub decision: Option<Decision>,
    /// The record, if there is one; for `--plan` what would be recorded.
    pub response: Option<Response>,
    /// What is left of the budgets that it drew on.
    #[serde(skip)]
    pub budgets: Vec<BudgetLeft>,
    /// The time from receipt until the containing steps were verified.
    pub contained_after: Option<Duration>,
    /// The workflow status that Security Hub accepted, if it was updated at once.
    pub written_back: Option<String>,
    /// What is still pending in the outbox, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<String>,
}

/// What is left of a budget after a draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetLeft {
    pub budget: BudgetRef,
    /// How many actions.
    pub left: u64,
}

/// Whether to act, or only to show what would be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    Act,
    /// Read, decide and plan; record and change nothing.
    Plan,
}

pub(super) fn outcome(
    finding: &Finding,
    resource: Option<&Resource>,
    disposition: Disposition,
    reason: String,
) -> TargetOutcome {
    TargetOutcome {
        finding: FindingSummary::of(finding),
        resource: resource.cloned(),
        ou_path: None,
        disposition,
        reason,
        decision: None,
        response: None,
        budgets: Vec::new(),
        contained_after: None,
        written_back: None,
        undelivered: None,
    }
}
