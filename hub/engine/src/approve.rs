//! Approves or denies a plan that waits for a person.
//!
//! # Guarantees
//!
//! - Only the approved changes are made: if the resource has changed so that the plan
//!   would make other changes, the new plan is recorded and must be approved again.
//! - Guardrails that were added since apply: a protection of the target, a ceiling
//!   below `approve`, a pause.

use std::sync::Arc;

use firebreak_aws::error::HubError;
use firebreak_aws::organization::Organization;
use firebreak_aws::policies::Policies;
use firebreak_aws::store::Counter;
use firebreak_policy::{ActionCall, Mode, Policy};
use firebreak_response::record::{
    ApprovalAnswer, ApprovalDecision, Approver, PriorState, Response, ResponseId, State, Step,
    StepState,
};
use firebreak_response::transition::{Event, PLAN_CHANGED, Record};
use firebreak_response::{pauses, plan};
use firebreak_spoke::read_cache::ReadCache;
use firebreak_spoke::registry;

use tracing::info;

use super::deliver::Deliverer;
use super::execute::{Execution, Executor};
use super::member_accounts::{At, MemberAccounts};
use super::recorder::{Recorder, refused};

/// Approves and denies plans.
#[derive(Clone, Debug)]
pub(super) struct Approvals {
    pub(super) recorder: Recorder,
    pub(super) policies: Arc<Policies>,
    pub(super) organization: Arc<Organization>,
    pub(super) members: MemberAccounts,
    pub(super) executor: Executor,
    pub(super) deliverer: Deliverer,
}

impl Approvals {
    /// See [`super::Engine::approve`].
    pub(super) async fn approve(
        &self,
        id: &ResponseId,
        reason: Option<String>,
        shown: Option<u64>,
    ) -> Result<Response, HubError> {
        let response = self.awaiting(id).await?;
        if shown.is_some_and(|shown| shown != response.revision) {
            return Err(HubError::refused(format!(
                "`{id}` has changed since it was shown\nhelp: check it with `firebreak responses show {id}`, and approve it again"
            )));
        }
        let record = self.recorder.record_of(response).await?;
        let response = &record.response;
        let by = Approver::Person(self.recorder.caller.arn().await?);
        let now = self.recorder.now();
        let pauses = self.recorder.store.pauses().await?;
        if let Some((scope, pause)) =
            pauses.paused(&response.place(), Some(&response.key.rule), now)
        {
            return Err(HubError::refused(format!(
                "`{id}` cannot be executed: {}\nhelp: `firebreak unpause` ends the pause",
                pauses::describe(scope, pause)
            )));
        }
        let answer = ApprovalAnswer { decision: ApprovalDecision::Approved, by, at: now, reason };
        Box::pin(self.execute_approved(record, answer, &[])).await
    }

    /// See [`super::Engine::deny`].
    pub(super) async fn deny(
        &self,
        id: &ResponseId,
        reason: Option<String>,
    ) -> Result<Response, HubError> {
        let response = self.awaiting(id).await?;
        let record = self.recorder.record_of(response).await?;
        let by = Approver::Person(self.recorder.caller.arn().await?);
        let decision = ApprovalDecision::Denied;
        let answer = ApprovalAnswer { decision, by, at: self.recorder.now(), reason };
        self.deliverer.apply_and_deliver(&record, Event::Denied { answer }).await
    }

    async fn awaiting(&self, id: &ResponseId) -> Result<Response, HubError> {
        let response = self.recorder.load(id).await?;
        if response.state != State::AwaitingApproval {
            return Err(HubError::refused(format!(
                "response `{id}` is {} and does not await approval: {}",
                response.state, response.reason
            )));
        }
        Ok(response)
    }

    /// Executes a plan that was approved: by a person, or by the policy, which then
    /// draws on budgets.
    pub(super) async fn execute_approved(
        &self,
        record: Record,
        answer: ApprovalAnswer,
        counters: &[Counter],
    ) -> Result<Response, HubError> {
        let policy = self.policies.current().await?;
        let mode = if answer.by == Approver::Policy { Mode::Auto } else { Mode::Approve };
        let steps = Box::pin(self.plan_again(&record, &policy, mode)).await?;
        let id = &record.response.id;
        if self.recorder.is_paused(&record.response).await? {
            return Err(HubError::transient(format!(
                "`{id}` was paused before the approval was written"
            )));
        }
        let event = Event::Approved { answer, steps };
        let approved = self.recorder.next(&record, event).await.map_err(refused)?;
        let record = self.recorder.commit(approved, counters).await?.record;
        let session = self.members.changing_session(&record.response).await;
        let received = tokio::time::Instant::now();
        let execution =
            Box::pin(self.executor.execute(record, session, received, &ReadCache::default()))
                .await?;
        let Execution { record, outbox_items, .. } = execution;
        Box::pin(self.deliverer.deliver_outbox(&record.response, outbox_items)).await;
        Ok(record.response)
    }

    /// Captures the state again. The plan's steps are kept if they would make the same
    /// changes, even with another prior state. Other changes are a new plan, which is
    /// recorded and must be approved again.
    async fn plan_again(
        &self,
        record: &Record,
        policy: &Policy,
        mode: Mode,
    ) -> Result<Vec<Step>, HubError> {
        let response = &record.response;
        let cache = ReadCache::default();
        let place = self.organization.place(&response.resource.account).await?;
        let tags = self.members.tags(&response.resource, &cache).await?;
        if let Some(why) = policy.forbids(&response.resource, &place, &tags, mode) {
            if mode == Mode::Auto
                && policy.forbids(&response.resource, &place, &tags, Mode::Approve).is_none()
            {
                // A person may still approve.
                return Err(HubError::refused(format!("`{}` needs a person: {why}", response.id)));
            }
            let refused = format!("`{}` is refused: {why}", response.id);
            self.deliverer.apply_and_deliver(record, Event::Forbidden { why }).await?;
            return Err(HubError::refused(refused));
        }
        let calls: Vec<ActionCall> = response.steps.iter().map(plan::call).collect();
        let at = At { policy, place: &place, cache: &cache };
        let captured = self
            .members
            .capture_calls(&response.resource, response.id.as_str(), &response.finding, &calls, at)
            .await;
        let mut steps = plan::steps(captured, registry::catalog());
        plan::defer_conditional(&mut steps);
        let missing = steps.iter().find(|it| {
            // What depends on what stays open is read once that is known.
            let now = !it.if_residual && it.state == StepState::Planned;
            now && it.prior == PriorState::NotCaptured
        });
        if let Some(step) = missing {
            let why = format!("{} could not be captured again: {}", step.action, step.detail);
            return Err(HubError::transient(why));
        }
        let changes = |steps: &[Step]| -> Vec<_> {
            steps.iter().map(|step| (step.action.clone(), step.changes.clone())).collect()
        };
        if changes(&steps) == changes(&response.steps) {
            return Ok(steps);
        }
        let replanned = self.recorder.apply(record, Event::PlanChanged { steps }).await?;
        info!(response.id = %response.id, "{}", replanned.record.response.reason);
        Err(HubError::refused(format!(
            "`{id}` was not executed: {PLAN_CHANGED}\nhelp: check it with `firebreak responses show {id}`, and approve it again",
            id = response.id
        )))
    }
}
