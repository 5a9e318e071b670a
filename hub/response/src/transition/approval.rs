//! Approval and denial of a plan.

use jiff::SignedDuration;

use super::{Audited, Draft, Transition};
use crate::audit_event::AuditKind;
use crate::notice::Notice;
use crate::record::{ApprovalAnswer, State, Step};

/// Why a plan has to be approved again.
pub const PLAN_CHANGED: &str =
    "the resource changed, so that the plan makes other changes; it has to be approved again";

pub(super) fn approved(
    mut draft: Draft<'_>,
    answer: ApprovalAnswer,
    steps: Vec<Step>,
) -> Transition {
    let (by, why) = (answer.by.to_string(), described("approved", &answer));
    let response = draft.response();
    response.steps = steps;
    if let Some(approval) = &mut response.approval {
        approval.answer = Some(answer);
    }
    draft.begin(why.clone());
    draft.recorded(&Audited { kind: AuditKind::Approved, by: &by, why: &why })
}

pub(super) fn denied(mut draft: Draft<'_>, answer: ApprovalAnswer) -> Transition {
    let (by, why) = (answer.by.to_string(), described("denied", &answer));
    if let Some(approval) = &mut draft.response().approval {
        approval.answer = Some(answer);
    }
    draft.settle(State::Denied, why.clone());
    draft.delivered(&Audited { kind: AuditKind::Denied, by: &by, why: &why })
}

pub(super) fn plan_changed(mut draft: Draft<'_>, steps: Vec<Step>) -> Transition {
    let response = draft.response();
    response.steps = steps;
    PLAN_CHANGED.clone_into(&mut response.reason);
    let hub = draft.context.hub;
    draft.recorded(&Audited { kind: AuditKind::StateChanged, by: hub, why: PLAN_CHANGED })
}

pub(super) fn forbidden(mut draft: Draft<'_>, why: &str) -> Transition {
    draft.settle(State::Refused, why.to_owned());
    let hub = draft.context.hub;
    draft.delivered(&Audited { kind: AuditKind::StateChanged, by: hub, why })
}

pub(super) fn reminded(mut draft: Draft<'_>, within: SignedDuration) -> Transition {
    let due = draft.context.now + within;
    let response = draft.response();
    response.due = Some(due);
    response.tries = response.tries.saturating_add(1);
    let notice = Notice::approval_due(response);
    let why = format!("nobody decided within {within:#}: asked again");
    let hub = draft.context.hub;
    draft.notified(&Audited { kind: AuditKind::StateChanged, by: hub, why: &why }, &notice)
}

fn described(word: &str, answer: &ApprovalAnswer) -> String {
    let why = answer.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{word} by {}{why}", answer.by)
}
