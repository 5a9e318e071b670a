//! The first transition: a decision becomes a record.

use firebreak_model::finding::{Finding, Target};
use firebreak_model::organization::Place;
use firebreak_policy::{Decision, Window};

use super::{Context, Record, Transition, Write};
use crate::audit_event::{AuditEvent, AuditKind};
use crate::outbox::OutboxItem;
use crate::record::{
    Approval, ApprovalCause, FORMAT, FindingSummary, Response, ResponseId, SiblingTargets, State,
    Step,
};
use crate::target::{Findings, TargetKey};

/// The inputs of the first transition.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    pub finding: &'a Finding,
    pub target: &'a Target,
    /// The place of the target's account.
    pub place: &'a Place,
    /// The policy's decision.
    pub decision: &'a Decision,
    /// The version of the policy.
    pub policy_version: u64,
    /// The key of the response at the target.
    pub key: TargetKey,
    /// The epoch: one more than the key's last.
    pub epoch: u64,
    /// The first state: observed, refused, awaiting approval or running.
    pub state: State,
    /// Why, in a sentence.
    pub reason: String,
    /// The plan, with the prior state of each step.
    pub steps: Vec<Step>,
    /// Why a person is asked, if one is.
    pub cause: ApprovalCause,
    /// The findings that it covers.
    pub findings: Findings,
    /// The target's revision when it was read.
    pub target_revision: u64,
}

/// The record of a new response, as it is written before anything changes, and that it
/// was decided.
pub fn open(opening: Opening<'_>, context: &Context<'_>) -> Transition {
    let Opening { finding, target, place, decision, policy_version, .. } = opening;
    let Opening { key, epoch, state, reason, steps, cause, findings, target_revision, .. } =
        opening;
    let now = context.now;
    let approval = (state == State::AwaitingApproval).then(|| Approval {
        cause,
        within: decision.approve.within.map(Window::duration),
        otherwise: decision.approve.otherwise,
        approvers: decision.approve.approvers.clone(),
        draws: decision.draws(place),
        answer: None,
    });
    let lease_until = (state == State::Running).then(|| now + context.lease);
    let within = approval.as_ref().and_then(|approval| approval.within);
    let response = Response {
        format: FORMAT,
        id: ResponseId::of(&target.resource.arn(), &key, epoch),
        revision: 1,
        state,
        reason,
        resource: target.resource.clone(),
        ou_path: place.ou_path.clone(),
        finding: FindingSummary::of(finding),
        key,
        epoch,
        steps,
        created: now,
        updated: now,
        lease_until,
        expires: decision.expires.map(Window::duration),
        ends: None,
        due: lease_until.or(within.map(|within| now + within)),
        waiting: None,
        tries: 0,
        began: (state == State::Running).then_some(now),
        containment_reported: false,
        policy_version: Some(policy_version),
        further_findings: Vec::new(),
        siblings: SiblingTargets::of(finding, target).into_iter().collect(),
        approval,
        undo: None,
    };
    let audit = AuditEvent {
        finding_updated: finding.updated_at,
        ..AuditEvent::of(AuditKind::Decided, &response, context.hub, &response.reason)
    };
    let outbox = OutboxItem::of(&response, context.channels, now);
    let record = Record { response, findings };
    let write = Write::New { target_revision };
    Transition { record, write, suppression: None, outbox, audit: Some(audit) }
}
