//! Approves or denies a plan that waits for a person.
//!
//! # Guarantees
//!
//! - What is carried out is what was approved: where the resource has changed
//!   so that other changes would be made, the new plan is recorded and has to
//!   be approved anew.
//! - Guardrails that came since hold: a target that is protected by now, a
//!   ceiling below `approve`, a pause.

use firebreak_spoke::read_cache::ReadCache;
use firebreak_spoke::registry;

use super::Engine;
use super::capture::At;
use super::execute::lease_lost;
use firebreak_aws::error::HubError;
use firebreak_aws::store::{Counter, Written};
use firebreak_policy::{ActionCall, Mode, Policy};
use firebreak_response::audit_event::{AuditEvent, AuditKind};
use firebreak_response::outbox::OutboxItem;
use firebreak_response::pauses;
use firebreak_response::plan;
use firebreak_response::record::{
    ApprovalAnswer, ApprovalDecision, Response, ResponseId, State, StepState,
};
use firebreak_response::target::TargetEntry;

/// Who answers where nobody did in time.
pub(super) const POLICY: &str = "policy";

impl Engine {
    /// Approves a plan and carries it out. `seen` is the revision that whoever
    /// approves was shown, where they were.
    ///
    /// # Errors
    ///
    /// `Refused` when there is no such response, it does not wait for approval,
    /// it is paused where it is, a guardrail forbids it now, or the plan is
    /// another by now: that one is recorded and can be approved.
    pub async fn approve(
        &self,
        id: &ResponseId,
        reason: Option<String>,
        shown: Option<u64>,
    ) -> Result<Response, HubError> {
        let response = self.awaiting(id).await?;
        if shown.is_some_and(|shown| shown != response.revision) {
            return Err(HubError::Refused(format!(
                "`{id}` has changed since it was shown\nhelp: look at it with `firebreak responses show {id}`, and approve it again"
            )));
        }
        let entry = self.entry_of(&response).await?;
        let by = self.caller().await?;
        let now = self.now();
        let pauses = self.store.pauses().await?;
        if let Some((scope, pause)) = pauses.paused(&response.place(), Some(&response.rule), now) {
            return Err(HubError::Refused(format!(
                "`{id}` cannot be carried out: {}\nhelp: `firebreak unpause` ends the pause",
                pauses::describe(scope, pause)
            )));
        }
        let answer = ApprovalAnswer { verdict: ApprovalDecision::Approved, by, at: now, reason };
        Box::pin(self.execute_approved(response, entry, answer, &[])).await
    }

    /// Denies a plan. The findings that it answers are left alone from then on.
    ///
    /// # Errors
    ///
    /// `Refused` when there is no such response or it does not wait for approval.
    pub async fn deny(
        &self,
        id: &ResponseId,
        reason: Option<String>,
    ) -> Result<Response, HubError> {
        let mut response = self.awaiting(id).await?;
        let mut entry = self.entry_of(&response).await?;
        let by = self.caller().await?;
        let answer =
            ApprovalAnswer { verdict: ApprovalDecision::Denied, by, at: self.now(), reason };
        self.answer_denied(&mut response, &mut entry, answer).await?;
        Ok(response)
    }

    async fn awaiting(&self, id: &ResponseId) -> Result<Response, HubError> {
        let response = self.load(id).await?;
        if response.state != State::AwaitingApproval {
            return Err(HubError::Refused(format!(
                "response `{id}` is {} and waits for nobody: {}",
                response.state, response.reason
            )));
        }
        Ok(response)
    }

    pub(super) async fn answer_denied(
        &self,
        response: &mut Response,
        entry: &mut TargetEntry,
        answer: ApprovalAnswer,
    ) -> Result<(), HubError> {
        let now = self.now();
        let why = answer_sentence("denied", &answer);
        response
            .transition_to(State::Denied, why.clone(), now)
            .map_err(|error| HubError::Refused(error.to_string()))?;
        entry.state = State::Denied;
        let event = AuditEvent::of(AuditKind::Denied, response, &answer.by, &why);
        if let Some(approval) = &mut response.approval {
            approval.answer = Some(answer);
        }
        let outbox_items = OutboxItem::of(response, &self.channels, now);
        let commit = self.store.commit(now).advance(response, entry)?.event(&event)?;
        if commit.send(&outbox_items)?.write().await? != Written::Yes {
            return Err(lease_lost(response));
        }
        Box::pin(self.deliver_outbox(response, outbox_items)).await;
        Ok(())
    }

    /// Carries out what was approved, by a person or, drawing on budgets, by
    /// the policy.
    pub(super) async fn execute_approved(
        &self,
        mut response: Response,
        mut entry: TargetEntry,
        answer: ApprovalAnswer,
        counters: &[Counter],
    ) -> Result<Response, HubError> {
        let policy = self.policies.current().await?;
        let mode = if answer.by == POLICY { Mode::Auto } else { Mode::Approve };
        Box::pin(self.plan_again(&mut response, &mut entry, &policy, mode)).await?;
        if self.is_paused(&response).await? {
            return Err(HubError::Transient(format!("`{}` was paused meanwhile", response.id)));
        }
        let why = answer_sentence("approved", &answer);
        let (by, now) = (answer.by.clone(), self.now());
        response
            .transition_to(State::Running, why.clone(), now)
            .map_err(|error| HubError::Refused(error.to_string()))?;
        entry.state = State::Running;
        if let Some(approval) = &mut response.approval {
            approval.answer = Some(answer);
        }
        self.lease(&mut response, &mut entry);
        let event = AuditEvent::of(AuditKind::Approved, &response, &by, &why);
        let commit = self.store.commit(now).advance(&response, &entry)?.event(&event)?;
        if commit.draw(counters)?.write().await? != Written::Yes {
            return Err(lease_lost(&response));
        }
        let session = self.changing_session(&response).await;
        let received = tokio::time::Instant::now();
        let execution = Box::pin(self.execute(response, &mut entry, session, received)).await?;
        Box::pin(self.deliver_outbox(&execution.response, execution.outbox_items)).await;
        Ok(execution.response)
    }

    /// Looks again at what the plan would change. The same changes with another
    /// prior state are carried out from that; other changes are another plan.
    async fn plan_again(
        &self,
        response: &mut Response,
        entry: &mut TargetEntry,
        policy: &Policy,
        mode: Mode,
    ) -> Result<(), HubError> {
        let cache = ReadCache::default();
        let place = self.organization.place(&response.resource.account).await?;
        let tags = self.tags(&response.resource, &cache).await?;
        let calls: Vec<ActionCall> = response
            .steps
            .iter()
            .map(|step| ActionCall {
                name: step.action.clone(),
                parameters: step.parameters.clone(),
            })
            .collect();
        if let Some(why) = policy.forbids(&response.resource, &place, &tags, mode) {
            if mode == Mode::Auto
                && policy.forbids(&response.resource, &place, &tags, Mode::Approve).is_none()
            {
                // A person may still say yes.
                return Err(HubError::Refused(format!("`{}` needs a person: {why}", response.id)));
            }
            return self.refuse(response, entry, &why).await;
        }
        let at = At { policy, place: &place, cache: &cache };
        let observed = self
            .capture_calls(&response.resource, response.id.as_str(), &response.finding, &calls, at)
            .await;
        let steps = plan::steps(observed, registry::catalog());
        let unseen = steps.iter().find(|it| it.state == StepState::Planned && it.prior.is_null());
        if let Some(step) = unseen {
            let why = format!("{} could not be looked at again: {}", step.action, step.detail);
            return Err(HubError::Transient(why));
        }
        let changes = |steps: &[firebreak_response::record::Step]| -> Vec<_> {
            steps.iter().map(|step| (step.action.clone(), step.changes.clone())).collect()
        };
        let same = changes(&steps) == changes(&response.steps);
        if same {
            response.steps = steps;
            return Ok(());
        }
        let now = self.now();
        response.steps = steps;
        response.revision += 1;
        response.updated = now;
        let why = "the resource has changed since: this is another plan, to be approved anew";
        why.clone_into(&mut response.reason);
        let event = AuditEvent::of(AuditKind::StateChanged, response, &self.identity().await, why);
        let commit = self.store.commit(now).advance(response, entry)?.event(&event)?;
        if commit.write().await? != Written::Yes {
            return Err(lease_lost(response));
        }
        Err(HubError::Refused(format!(
            "`{id}` was not carried out: {why}\nhelp: look at it with `firebreak responses show {id}`, and approve it again",
            id = response.id
        )))
    }

    /// A guardrail came since the plan was made.
    async fn refuse(
        &self,
        response: &mut Response,
        entry: &mut TargetEntry,
        why: &str,
    ) -> Result<(), HubError> {
        let outbox_items =
            Box::pin(self.end(response, entry, State::Refused, why.to_owned())).await?;
        Box::pin(self.deliver_outbox(response, outbox_items)).await;
        Err(HubError::Refused(format!("`{}` is refused: {why}", response.id)))
    }
}

fn answer_sentence(word: &str, answer: &ApprovalAnswer) -> String {
    let why = answer.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{word} by {}{why}", answer.by)
}
