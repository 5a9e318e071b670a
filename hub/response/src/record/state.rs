//! The states of a response.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The mode is observe: what would have been done is recorded.
    Observed,
    /// Policy or a guardrail forbids to act: the reason is recorded.
    Refused,
    /// The plan is recorded and waits for a person.
    AwaitingApproval,
    /// A person, or a timeout if policy says so, denied the plan.
    Denied,
    /// The plan is being executed under a lease.
    Running,
    /// Every containing step was verified by reading back.
    Contained,
    /// Every step was executed, and none of them is a containing one.
    Completed,
    /// Some steps were verified, others failed.
    PartiallyContained,
    /// Nothing was contained.
    Failed,
    /// The prior state is being restored under a lease.
    Undoing,
    /// The prior state was restored, except for recorded drift.
    Undone,
    /// Undone automatically after the rule's `expires`.
    Expired,
}

impl State {
    /// Every state, in the order of a response's life.
    pub const ALL: [Self; 12] = [
        Self::Observed,
        Self::Refused,
        Self::AwaitingApproval,
        Self::Denied,
        Self::Running,
        Self::Contained,
        Self::Completed,
        Self::PartiallyContained,
        Self::Failed,
        Self::Undoing,
        Self::Undone,
        Self::Expired,
    ];

    /// Whether the resource is, or may be, changed by this response.
    pub fn may_have_changed_resource(self) -> bool {
        match self {
            Self::Running
            | Self::Contained
            | Self::Completed
            | Self::PartiallyContained
            | Self::Undoing => true,
            Self::Observed
            | Self::Refused
            | Self::AwaitingApproval
            | Self::Denied
            | Self::Failed
            | Self::Undone
            | Self::Expired => false,
        }
    }

    /// The word in records and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Refused => "refused",
            Self::AwaitingApproval => "awaiting-approval",
            Self::Denied => "denied",
            Self::Running => "running",
            Self::Contained => "contained",
            Self::Completed => "completed",
            Self::PartiallyContained => "partially-contained",
            Self::Failed => "failed",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::Expired => "expired",
        }
    }

    /// Whether a finding is unresolved while it has a response in this state.
    pub fn is_unresolved(self) -> bool {
        match self {
            Self::AwaitingApproval
            | Self::Denied
            | Self::Running
            | Self::PartiallyContained
            | Self::Failed
            | Self::Undoing => true,
            Self::Observed
            | Self::Refused
            | Self::Contained
            | Self::Completed
            | Self::Undone
            | Self::Expired => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
