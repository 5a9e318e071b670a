//! Notices about responses for people and their tools: a subject, a text to
//! read, and a detail for programs. Pure; `aws::notices` sends it.
//!
//! A notice says only what the record says. Its id is made of what it is about,
//! never of when it was made: sending it again is the same notice.

mod channels;
mod detail;
mod links;
mod subject;
mod text;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use channels::{ChannelError, EventBus, Topic};
pub use detail::{Detail, schema};

use crate::record::{Response, State};
use firebreak_policy::BudgetRef;

/// The kind of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    /// A plan waits for a person.
    AwaitingApproval,
    /// Every containing step was verified; other steps are still pending.
    ContainedWhileRunning,
    /// Every containing step was verified.
    Contained,
    /// Executed, with no step that contains.
    Completed,
    /// Some steps were verified, others failed.
    PartiallyContained,
    /// Nothing was contained.
    Failed,
    /// A guardrail refused, the finding's service did not confirm it, or the account
    /// cannot be reached.
    Refused,
    /// A person, or a timeout where policy says so, denied the plan.
    Denied,
    /// The prior state was restored, except for the reported drift.
    Undone,
    /// Undone automatically after the rule's `expires`.
    Expired,
    /// A budget is spent: plans wait for approval until there is budget again.
    BudgetSpent,
    /// Nobody decided within the time that policy gives.
    ApprovalDue,
    /// Security Hub could not be updated, and it is not retried.
    Undelivered,
}

impl NoticeKind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::AwaitingApproval,
        Self::ContainedWhileRunning,
        Self::Contained,
        Self::Completed,
        Self::PartiallyContained,
        Self::Failed,
        Self::Refused,
        Self::Denied,
        Self::Undone,
        Self::Expired,
        Self::BudgetSpent,
        Self::ApprovalDue,
        Self::Undelivered,
    ];

    /// The word in details, attributes and ids.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AwaitingApproval => "awaiting-approval",
            Self::ContainedWhileRunning => "contained-while-running",
            Self::Contained => "contained",
            Self::Completed => "completed",
            Self::PartiallyContained => "partially-contained",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Undone => "undone",
            Self::Expired => "expired",
            Self::BudgetSpent => "budget-spent",
            Self::ApprovalDue => "approval-due",
            Self::Undelivered => "undelivered",
        }
    }

    /// The `detail-type` of the event.
    pub const fn event_type(self) -> &'static str {
        match self {
            Self::AwaitingApproval
            | Self::Contained
            | Self::Completed
            | Self::PartiallyContained
            | Self::Failed
            | Self::Refused
            | Self::ContainedWhileRunning
            | Self::Denied
            | Self::Undone
            | Self::Expired => "Firebreak Response State Change",
            Self::BudgetSpent => "Firebreak Budget Spent",
            Self::ApprovalDue => "Firebreak Approval Due",
            Self::Undelivered => "Firebreak Status Undelivered",
        }
    }

    /// The kind of notice for a response in its present state. `None` while it is in
    /// progress, unless the target is contained already, and for what policy only
    /// observes.
    fn of(response: &Response) -> Option<Self> {
        match response.state {
            State::Running => {
                let contained_already = response.waiting.is_some() && response.is_contained();
                contained_already.then_some(Self::ContainedWhileRunning)
            }
            State::Observed | State::Undoing => None,
            State::Refused => Some(Self::Refused),
            State::AwaitingApproval => Some(Self::AwaitingApproval),
            State::Denied => Some(Self::Denied),
            State::Contained => Some(Self::Contained),
            State::Completed => Some(Self::Completed),
            State::PartiallyContained => Some(Self::PartiallyContained),
            State::Failed => Some(Self::Failed),
            State::Undone => Some(Self::Undone),
            State::Expired => Some(Self::Expired),
        }
    }
}

/// The `source` of the events.
pub const EVENT_SOURCE: &str = "firebreak";

/// One message to people and tools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The same each time it is sent: receivers drop repeats by it.
    pub id: String,
    /// Its kind.
    pub kind: NoticeKind,
    /// Less than 100 printable ASCII characters: what SNS takes.
    pub subject: String,
    /// For people.
    pub text: String,
    /// For programs: a [`Detail`] as JSON.
    pub detail: Value,
}

/// The subject of a notice besides its response.
enum NoticeSubject<'a> {
    State,
    Budget { spent: &'a BudgetRef, key: &'a str, window_ends: Timestamp },
    Undelivered { what: &'a str, why: &'a str },
}

impl Notice {
    /// The notice about a response in its present state: one for each revision in a
    /// state that has one.
    pub fn of_response(response: &Response) -> Option<Self> {
        let kind = NoticeKind::of(response)?;
        Some(Self::new(own_id(response, kind), kind, response, &NoticeSubject::State))
    }

    /// The notice about a spent budget: one for each counter and window, sent with the
    /// first response that waits for approval because of it.
    pub fn budget_spent(
        spent: &BudgetRef,
        key: &str,
        window_ends: Timestamp,
        response: &Response,
    ) -> Self {
        let kind = NoticeKind::BudgetSpent;
        let about = NoticeSubject::Budget { spent, key, window_ends };
        Self::new(format!("{}/{key}/{window_ends}", kind.name()), kind, response, &about)
    }

    /// The notice about a plan that nobody approved or denied in time.
    pub fn approval_due(response: &Response) -> Self {
        let kind = NoticeKind::ApprovalDue;
        Self::new(own_id(response, kind), kind, response, &NoticeSubject::State)
    }

    /// The notice about a notification that was given up: `what`, such as `Security
    /// Hub`, and why.
    pub fn undelivered(response: &Response, what: &str, why: &str) -> Self {
        let kind = NoticeKind::Undelivered;
        let id = format!("{}/{what}", own_id(response, kind));
        Self::new(id, kind, response, &NoticeSubject::Undelivered { what, why })
    }

    fn new(id: String, kind: NoticeKind, response: &Response, about: &NoticeSubject<'_>) -> Self {
        let subject = subject::of(kind, response);
        let detail = Detail::new(&id, kind, &subject, response, about);
        let text = text::of(&detail);
        // Texts, numbers and lists of them: writing them as JSON cannot fail.
        let detail = serde_json::to_value(&detail).unwrap_or_default();
        Self { id, kind, subject, text, detail }
    }
}

fn own_id(response: &Response, kind: NoticeKind) -> String {
    format!("{}/{}/{}", response.id, response.revision, kind.name())
}

/// A text on one line, cut to a number of characters: findings and errors carry
/// what others wrote.
fn line(text: &str, characters: usize) -> String {
    let words: Vec<&str> = text
        .split(|char: char| char.is_whitespace() || char.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    if line.chars().count() <= characters {
        return line;
    }
    line.chars().take(characters.saturating_sub(1)).chain(['…']).collect()
}
