//! The findings that a response covers.

use jiff::Timestamp;

use super::{AddedFinding, Draft, Transition, Write};
use crate::outbox::{Channel, OutboxItem};
use crate::record::MAX_SIBLING_FINDINGS;
use crate::target::Findings;

/// How many findings one response covers at most, because DynamoDB limits the size of an
/// item. One more replaces the oldest, which is decided again if it is delivered again.
pub const MAX_FINDINGS: usize = 500;

/// Adds a finding to those that are covered; if there are too many, the oldest is dropped.
pub(super) fn cover(findings: &mut Findings, id: String, updated_at: Option<Timestamp>) {
    if findings.len() >= MAX_FINDINGS && !findings.contains_key(&id) {
        let oldest = findings.iter().min_by_key(|(_, updated)| **updated);
        let oldest = oldest.map(|(id, _)| id.clone());
        findings.retain(|id, _| Some(id) != oldest.as_ref());
    }
    findings.insert(id, updated_at);
}

/// One more finding is covered: Security Hub is updated for it, and nobody is notified
/// again.
pub(super) fn added(mut draft: Draft<'_>, finding: AddedFinding) -> Transition {
    let AddedFinding { id, updated_at, security_hub, siblings, decided, target_revision } = finding;
    cover(&mut draft.record.findings, id, updated_at);
    let response = draft.response();
    let new = security_hub
        .filter(|id| response.security_hub_ids().all(|known| known != id))
        .filter(|_| response.further_findings.len() < MAX_FINDINGS)
        // If its sibling targets were not recorded, it could be resolved too early.
        .filter(|_| siblings.is_none() || response.siblings.len() < MAX_SIBLING_FINDINGS);
    let audit = Some(decided);
    let Some(new) = new else {
        let write = Write::Entry { target_revision };
        return Transition { audit, ..draft.without_record(write) };
    };
    response.further_findings.push(new);
    response.siblings.extend(siblings);
    let now = draft.context.now;
    let outbox = OutboxItem::of(&draft.record.response, &[Channel::SecurityHub], now);
    Transition { outbox, audit, ..draft.quiet(Write::Added { target_revision }) }
}
