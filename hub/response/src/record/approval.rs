//! How a plan is approved or denied.

use std::fmt;

use firebreak_policy::{Draw, Otherwise};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The terms of a plan's approval, and the decision once there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Why a person is asked.
    pub cause: ApprovalCause,
    /// How long it waits for a person; without a limit, until a person decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<SignedDuration>,
    /// What happens after that time.
    pub otherwise: Otherwise,
    /// Who approves, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvers: Option<String>,
    /// What it draws on budgets if it is executed without a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub draws: Vec<Draw>,
    /// The approval or denial, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<ApprovalAnswer>,
}

/// Why a person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalCause {
    /// Policy says so.
    Policy,
    /// A budget is spent; one notice goes out for all such plans.
    Budget,
    /// A pause: without it the plan would be executed at once.
    Pause,
}

/// The approval or denial of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalAnswer {
    pub decision: ApprovalDecision,
    pub by: Approver,
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether a plan is approved or denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalDecision {
    /// The plan is executed.
    Approved,
    /// The plan is not executed.
    Denied,
}

/// Who approved or denied a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Approver {
    /// A person, by the caller's ARN.
    Person(String),
    /// Nobody in time: the rule's `otherwise` decided.
    Policy,
}

impl fmt::Display for Approver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(arn) => formatter.write_str(arn),
            Self::Policy => formatter.write_str("policy"),
        }
    }
}
