//! Undoing a response, or one step of it.

use super::execution::expire_later;
use super::{Audited, Draft, Transition};
use crate::audit_event::AuditKind;
use crate::backoff::wait_after;
use crate::record::{
    Drift, Response, State, Step, StepState, SuppressionChange, Undo, UndoCause, result,
};

/// If a worker died during an earlier undo, both undos are executed.
pub(super) fn requested(mut draft: Draft<'_>, undo: Undo) -> Transition {
    let (by, why) = (undo.cause.to_string(), summary(&undo));
    // From the same moment on no finding of the type contains the target again.
    let suppression = undo.suppression(&draft.before.response.id).map(SuppressionChange::Set);
    let response = draft.response();
    let unfinished = response.undo.take().filter(|_| response.state == State::Undoing);
    if unfinished.is_none() {
        response.state = State::Undoing;
        response.reason = format!("undo requested by {by}");
    }
    response.undo = Some(match unfinished {
        Some(unfinished) => unfinished.and(undo),
        None => undo,
    });
    draft.take_lease();
    let recorded = draft.recorded(&Audited { kind: AuditKind::UndoRequested, by: &by, why: &why });
    Transition { suppression, ..recorded }
}

pub(super) fn ended(mut draft: Draft<'_>, steps: Vec<Step>, failures: &[String]) -> Transition {
    // Computed first: afterwards the steps are undone.
    let any_succeeded = draft.response().steps.iter().any(Step::may_have_succeeded);
    draft.response().steps = steps;
    let (state, reason) = outcome(&draft.record.response, failures, any_succeeded);
    draft.settle(state, reason.clone());
    expire_later(&mut draft);
    let now = draft.context.now;
    let response = draft.response();
    let expires = response.undo.as_ref().is_some_and(|undo| undo.cause == UndoCause::Expiry);
    let failed_expiry = expires && state.may_have_changed_resource();
    if failed_expiry {
        response.due = Some(now + wait_after(response.tries));
        response.tries = response.tries.saturating_add(1);
    }
    let notify = !failed_expiry || response.tries <= 1;
    let hub = draft.context.hub;
    let audited = Audited { kind: AuditKind::StateChanged, by: hub, why: &reason };
    // An expiry is tried again and again, and reported once.
    if notify { draft.delivered(&audited) } else { draft.recorded(&audited) }
}

/// The request, for the audit log.
fn summary(undo: &Undo) -> String {
    let step = undo.step.as_ref().map_or("all steps", String::as_str);
    let drift = match undo.drift {
        Drift::Leave => "later changes are kept",
        Drift::Overwrite => "later changes are overwritten",
    };
    let suppressed = undo.suppress_until.map(|until| format!(", suppressed until {until}"));
    format!("undo of {step}: {drift}{}", suppressed.unwrap_or_default())
}

/// The state and reason after an undo.
fn outcome(response: &Response, failures: &[String], any_succeeded: bool) -> (State, String) {
    let of = |wanted: StepState| response.steps.iter().filter(move |step| step.state == wanted);
    let drift: Vec<String> =
        of(StepState::Drifted).map(|step| format!("{}: {}", step.action, step.detail)).collect();
    if !failures.is_empty() {
        let reason = format!("undo failed, try it again: {}", failures.join("; "));
        return (State::PartiallyContained, reason);
    }
    let undo = response.undo.as_ref();
    let only = undo.and_then(|undo| undo.step.as_ref());
    // A step that failed may have changed something as well.
    let left: Vec<&str> = response
        .steps
        .iter()
        .filter(|step| step.may_have_changed() && only.is_some_and(|only| step.action != *only))
        .map(|step| step.action.as_str())
        .collect();
    if let (Some(step), false) = (only, left.is_empty()) {
        let opened = response.steps.iter().any(|it| it.action == *step && it.is_containing());
        let planned = response.steps.iter().any(|step| step.state == StepState::Planned);
        let state = match result(&response.steps).0 {
            state @ (State::Contained | State::Completed) if !opened && !planned => state,
            _ => State::PartiallyContained,
        };
        let outcome = if drift.is_empty() { "undone".to_owned() } else { drift.join("; ") };
        return (state, format!("{step} {outcome}; still in force: {}", left.join(", ")));
    }
    let expired = undo.filter(|undo| undo.cause == UndoCause::Expiry).and(response.expires);
    let why = expired.map(|after| format!("expired after {after:#}: ")).unwrap_or_default();
    let state = if expired.is_some() { State::Expired } else { State::Undone };
    let reason = if drift.is_empty() && !any_succeeded {
        format!("{why}no step had succeeded; any change that they made is restored")
    } else if drift.is_empty() {
        format!("{why}restored to its state before the response")
    } else {
        let steps = drift.len() + of(StepState::Undone).count();
        let changed = format!("{} of {steps} steps changed meanwhile", drift.len());
        let undone = if drift.len() == steps { "not undone" } else { "partly undone" };
        format!("{why}{undone}: {changed} ({})", drift.join("; "))
    };
    (state, reason)
}
