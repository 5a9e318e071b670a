//! How a plan is approved or denied.

use std::fmt;

use firebreak_policy::{Draw, Otherwise};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How a plan is approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Why a person is asked.
    pub cause: ApprovalCause,
    /// How long it waits for a person; without one, for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<SignedDuration>,
    /// What happens then.
    pub otherwise: Otherwise,
    /// Who approves, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvers: Option<String>,
    /// What it draws on budgets if it is carried out without a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub draws: Vec<Draw>,
    /// How it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<ApprovalAnswer>,
}

/// Why a person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalCause {
    /// Policy says so.
    Policy,
    /// A budget is spent: one notice goes out for all of those.
    Budget,
    /// Somebody paused what policy would do at once.
    Pause,
}

/// How a plan was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalAnswer {
    /// What was said.
    pub verdict: ApprovalDecision,
    /// Who decided.
    pub by: Approver,
    /// When.
    pub at: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What was said to a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalDecision {
    /// It is carried out.
    Approved,
    /// It is not.
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
