//! Suppressing findings of a response's type on its target, and ending that.

use super::{Draft, Transition, Write};
use crate::audit_event::{AuditEvent, AuditKind};
use crate::record::{State, Suppression, SuppressionChange};

pub(super) fn suppressed(draft: Draft<'_>, suppression: Suppression) -> Transition {
    let Suppression { until, by, reason, .. } = &suppression;
    let why = reason.as_deref().unwrap_or("no reason given");
    let kind = &draft.before.response.finding.kind;
    let why = format!("{kind} suppressed until {until}: {why}");
    let audit = Some(audit(&draft, AuditKind::Suppressed, by, &why));
    let suppression = Some(SuppressionChange::Set(suppression));
    Transition { suppression, audit, ..draft.without_record(Write::Suppression) }
}

/// Ends the suppression. An undone or denied response no longer covers its findings then, so
/// that they are decided again.
pub(super) fn released(mut draft: Draft<'_>, by: &str, target_revision: Option<u64>) -> Transition {
    let response = &draft.before.response;
    let is_over = matches!(response.state, State::Undone | State::Denied);
    let write = match target_revision {
        Some(target_revision) if is_over => {
            draft.record.findings.clear();
            Write::Entry { target_revision }
        }
        Some(_) | None => Write::Suppression,
    };
    let why = format!("findings of type {} are handled again", response.finding.kind);
    let audit = Some(audit(&draft, AuditKind::Released, by, &why));
    let suppression = Some(SuppressionChange::End);
    Transition { suppression, audit, ..draft.without_record(write) }
}

/// The event has the digest of the record as it stands: the record does not change.
fn audit(draft: &Draft<'_>, kind: AuditKind, by: &str, why: &str) -> AuditEvent {
    let event = AuditEvent::of(kind, &draft.before.response, by, why);
    AuditEvent { at: draft.context.now, ..event }
}
