//! Which events a state allows.

use jiff::Timestamp;

use super::{Event, Record};
use crate::record::{Drift, Response, ResponseId, State, StepState};

/// A transition that the record does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("response `{id}` is {state}: {reason}")]
pub struct IllegalTransition {
    pub id: ResponseId,
    pub state: State,
    /// Why the event is illegal.
    pub reason: Reason,
}

/// Why a transition is illegal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No record in this state allows the event.
    #[error("{0} is not possible in this state")]
    State(&'static str),
    /// Another worker holds the lease.
    #[error("another worker holds its lease")]
    Leased,
    /// It is undone already, and no step drifted that could be overwritten.
    #[error("nothing is left to undo")]
    NothingToUndo,
    /// A step has not ended, so that the response has not.
    #[error("a step has not ended")]
    StepsLeft,
}

/// Whether the record allows the event.
pub(super) fn check(
    record: &Record,
    event: &Event,
    now: Timestamp,
) -> Result<(), IllegalTransition> {
    let response = &record.response;
    reason(response, event, now).map_or(Ok(()), |reason| {
        Err(IllegalTransition { id: response.id.clone(), state: response.state, reason })
    })
}

fn reason(response: &Response, event: &Event, now: Timestamp) -> Option<Reason> {
    if !allows(response.state, event) {
        return Some(Reason::State(name(event)));
    }
    let leased = response.lease_until.is_some_and(|until| until > now);
    match event {
        Event::LeaseTaken | Event::UndoRequested { .. } if leased => Some(Reason::Leased),
        Event::UndoRequested { undo }
            if matches!(response.state, State::Undone | State::Expired) =>
        {
            let drifted = response.steps.iter().any(|step| step.state == StepState::Drifted);
            let overwrites = drifted && undo.drift == Drift::Overwrite;
            (!overwrites).then_some(Reason::NothingToUndo)
        }
        Event::Executed { steps } if steps.iter().any(|it| it.state == StepState::Planned) => {
            Some(Reason::StepsLeft)
        }
        Event::LeaseTaken
        | Event::StepsRecorded { .. }
        | Event::HandedOver { .. }
        | Event::Executed { .. }
        | Event::RetryStarted { .. }
        | Event::Approved { .. }
        | Event::Denied { .. }
        | Event::PlanChanged { .. }
        | Event::Forbidden { .. }
        | Event::Reminded { .. }
        | Event::Postponed { .. }
        | Event::UndoRequested { .. }
        | Event::UndoEnded { .. }
        | Event::FindingAdded(_)
        | Event::Suppressed { .. }
        | Event::Released { .. } => None,
    }
}

/// Whether a record in this state may meet the event at all.
fn allows(state: State, event: &Event) -> bool {
    match event {
        Event::LeaseTaken => matches!(state, State::Running | State::Undoing),
        Event::StepsRecorded { .. } | Event::HandedOver { .. } | Event::Executed { .. } => {
            state == State::Running
        }
        Event::RetryStarted { .. } => matches!(state, State::PartiallyContained | State::Failed),
        Event::Approved { .. }
        | Event::Denied { .. }
        | Event::PlanChanged { .. }
        | Event::Forbidden { .. }
        | Event::Reminded { .. } => state == State::AwaitingApproval,
        Event::Postponed { .. } => matches!(
            state,
            State::AwaitingApproval
                | State::Contained
                | State::Completed
                | State::PartiallyContained
                | State::Failed
        ),
        Event::UndoRequested { .. } => match state {
            State::Running
            | State::Contained
            | State::Completed
            | State::PartiallyContained
            | State::Failed
            | State::Undoing
            | State::Undone
            | State::Expired => true,
            State::Observed | State::Refused | State::AwaitingApproval | State::Denied => false,
        },
        Event::UndoEnded { .. } => state == State::Undoing,
        Event::FindingAdded(_) => match state {
            State::Observed
            | State::Refused
            | State::AwaitingApproval
            | State::Running
            | State::Contained
            | State::Completed
            | State::PartiallyContained
            | State::Failed
            | State::Undoing => true,
            State::Denied | State::Undone | State::Expired => false,
        },
        Event::Suppressed { .. } | Event::Released { .. } => true,
    }
}

/// The event's name, for the error.
fn name(event: &Event) -> &'static str {
    match event {
        Event::LeaseTaken => "taking the lease",
        Event::StepsRecorded { .. } => "recording progress",
        Event::HandedOver { .. } => "handing over",
        Event::Executed { .. } => "ending",
        Event::RetryStarted { .. } => "a retry",
        Event::Approved { .. } => "approval",
        Event::Denied { .. } => "denial",
        Event::PlanChanged { .. } => "another plan",
        Event::Forbidden { .. } => "refusal",
        Event::Reminded { .. } => "a reminder",
        Event::Postponed { .. } => "postponing",
        Event::UndoRequested { .. } => "undo",
        Event::UndoEnded { .. } => "ending an undo",
        Event::FindingAdded(_) => "another finding",
        Event::Suppressed { .. } => "suppression",
        Event::Released { .. } => "release",
    }
}
