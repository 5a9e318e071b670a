//! Executing a plan: leases, progress, hand-over, and how it ends.

use jiff::{SignedDuration, Timestamp};

use super::findings::cover;
use super::{Audited, Draft, Transition, Write};
use crate::audit_event::AuditKind;
use crate::backoff::wait_after;
use crate::outbox::OutboxItem;
use crate::record::{State, Step, is_contained, result};

/// Why a response is executed once more.
const RETRIED: &str = "the failed steps are executed again";

pub(super) fn lease_taken(mut draft: Draft<'_>) -> Transition {
    draft.take_lease();
    draft.quiet(Write::RecordAndEntry)
}

/// Progress renews the lease in the record alone: writing the entry each time would
/// change the target's revision, and other rules would lose their claims on it.
pub(super) fn steps_recorded(mut draft: Draft<'_>, steps: Vec<Step>) -> Transition {
    draft.response().steps = steps;
    draft.take_lease();
    draft.quiet(Write::Record)
}

/// Leaves the rest to the finding's next delivery, which may recover it at once, and to
/// the sweep. People are notified the first time, and once the target is contained.
pub(super) fn handed_over(mut draft: Draft<'_>, steps: Vec<Step>, waiting: String) -> Transition {
    let now = draft.context.now;
    let contained = is_contained(&steps);
    let response = draft.response();
    let notify = response.tries == 0 || (contained && !response.containment_reported);
    response.steps = steps;
    response.containment_reported = contained;
    response.lease_until = Some(now);
    response.due = Some(now + wait_after(response.tries));
    response.tries = response.tries.saturating_add(1);
    response.waiting = Some(waiting);
    let channels = if notify { draft.context.channels } else { &[] };
    let outbox = OutboxItem::of(&draft.record.response, channels, now);
    Transition { outbox, ..draft.quiet(Write::RecordAndEntry) }
}

/// The state follows from the steps: see [`result`].
pub(super) fn executed(mut draft: Draft<'_>, steps: Vec<Step>) -> Transition {
    let (state, reason) = result(&steps);
    let response = draft.response();
    response.steps = steps;
    // An expiry that fails counts its own tries.
    response.tries = 0;
    draft.settle(state, reason.clone());
    expire_later(&mut draft);
    let hub = draft.context.hub;
    draft.delivered(&Audited { kind: AuditKind::StateChanged, by: hub, why: &reason })
}

/// Sets when the response expires, if the rule has `expires`. Half a change that a
/// failure left expires as well.
pub(super) fn expire_later(draft: &mut Draft<'_>) {
    let now = draft.context.now;
    let response = draft.response();
    let stands = match response.state {
        State::Contained | State::Completed | State::PartiallyContained => true,
        State::Failed => response.steps.iter().any(Step::may_have_changed),
        State::Observed
        | State::Refused
        | State::AwaitingApproval
        | State::Denied
        | State::Running
        | State::Undoing
        | State::Undone
        | State::Expired => false,
    };
    let ends = response.ends.or(response.expires.map(|after| now + after));
    response.ends = ends.filter(|_| stands);
    response.due = response.ends;
}

pub(super) fn retry_started(
    mut draft: Draft<'_>,
    steps: Vec<Step>,
    (finding, updated_at): (String, Option<Timestamp>),
) -> Transition {
    cover(&mut draft.record.findings, finding, updated_at);
    draft.response().steps = steps;
    draft.begin(RETRIED.to_owned());
    let hub = draft.context.hub;
    draft.recorded(&Audited { kind: AuditKind::StateChanged, by: hub, why: RETRIED })
}

pub(super) fn postponed(mut draft: Draft<'_>, by: SignedDuration) -> Transition {
    let due = draft.context.now + by;
    let response = draft.response();
    response.due = response.due.map(|_| due);
    draft.quiet(Write::RecordAndEntry)
}
