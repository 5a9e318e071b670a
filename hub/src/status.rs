//! What a response's state says to an analyst in Security Hub. Pure.

use std::collections::BTreeMap;

use crate::record::{Response, State};

/// Security Hub's workflow status, as far as Firebreak sets it. `SUPPRESSED`
/// is an analyst's word and never ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workflow {
    /// Open again: an undo gave the resource back.
    New,
    /// Somebody has to look: acted on in part, or waiting for approval.
    Notified,
    /// Contained, and verified by reading back.
    Resolved,
}

impl Workflow {
    /// Security Hub's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Notified => "NOTIFIED",
            Self::Resolved => "RESOLVED",
        }
    }
}

/// One update of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusUpdate {
    /// The workflow status; `None` leaves it as it is.
    pub workflow: Option<Workflow>,
    /// The note, which replaces the one before.
    pub note: String,
    /// User-defined fields.
    pub fields: BTreeMap<String, String>,
}

/// What to write for a response as it stands; `None` while it is under way.
pub fn of(response: &Response) -> Option<StatusUpdate> {
    let id = &response.id;
    let undo = format!("Undo: firebreak responses undo {id}");
    let (workflow, note) = match response.state {
        State::Running | State::Undoing => return None,
        State::Observed => (None, format!("Firebreak observed: {}", response.reason)),
        State::Refused => (None, format!("Firebreak did not act: {}", response.reason)),
        State::AwaitingApproval => (
            Some(Workflow::Notified),
            format!("Firebreak awaits approval of {id}: {}", response.reason),
        ),
        State::Contained => (
            Some(Workflow::Resolved),
            format!("Firebreak contained {}; {}. {undo}", response.resource.arn(), response.reason),
        ),
        State::Completed => {
            (Some(Workflow::Notified), format!("Firebreak {}. {undo}", response.reason))
        }
        State::PartiallyContained => (
            Some(Workflow::Notified),
            format!("Firebreak contained this in part only; {}. {undo}", response.reason),
        ),
        State::Failed => (
            Some(Workflow::Notified),
            format!("Firebreak could not contain this: {}", response.reason),
        ),
        State::Denied => {
            (Some(Workflow::Notified), format!("Firebreak did not act, {}", response.reason))
        }
        State::Undone | State::Expired => {
            (Some(Workflow::New), format!("Firebreak undid {id}: {}", response.reason))
        }
    };
    let fields = BTreeMap::from([
        ("firebreak_response".to_owned(), id.to_string()),
        ("firebreak_state".to_owned(), response.state.to_string()),
        ("firebreak_rule".to_owned(), response.rule.clone()),
    ]);
    Some(StatusUpdate { workflow, note, fields })
}
