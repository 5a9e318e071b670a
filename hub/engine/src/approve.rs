//! Approves or denies a plan that waits for a person.
//!
//! # Guarantees
//!
//! - Only the approved changes are made: if the resource has changed so that the plan
//!   would make other changes, the new plan is recorded and must be approved again.
//! - Guardrails that were added since apply: a protection of the target, a ceiling
//!   below `approve`, a pause.

use firebreak_aws::error::HubError;
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

use super::Engine;
use super::capture::At;
use super::commit::refused;
use super::execute::Execution;

impl Engine {
    /// Approves a plan and executes it. `seen` is the revision that the approver was
    /// shown, if any.
    ///
    /// # Errors
    ///
    /// `Refused` if there is no such response, it does not wait for approval, its scope
    /// is paused, a guardrail forbids it now, or the plan has changed: the new plan is
    /// recorded and can be approved.
    pub async fn approve(
        &self,
        id: &ResponseId,
        reason: Option<String>,
        shown: Option<u64>,
    ) -> Result<Response, HubError> {
        let response = self.awaiting(id).await?;
        if shown.is_some_and(|shown| shown != response.revision) {
            return Err(HubError::refused(format!(
                "`{id}` has changed since it was shown\nhelp: look at it with `firebreak responses show {id}`, and approve it again"
            )));
        }
        let record = self.record_of(response).await?;
        let response = &record.response;
        let by = Approver::Person(self.caller().await?);
        let now = self.now();
        let pauses = self.store.pauses().await?;
        if let Some((scope, pause)) =
            pauses.paused(&response.place(), Some(&response.key.rule), now)
        {
            return Err(HubError::refused(format!(
                "`{id}` cannot be carried out: {}\nhelp: `firebreak unpause` ends the pause",
                pauses::describe(scope, pause)
            )));
        }
        let answer = ApprovalAnswer { verdict: ApprovalDecision::Approved, by, at: now, reason };
        Box::pin(self.execute_approved(record, answer, &[])).await
    }

    /// Denies a plan. Its findings are not handled again.
    ///
    /// # Errors
    ///
    /// `Refused` when there is no such response or it does not wait for approval.
    pub async fn deny(
        &self,
        id: &ResponseId,
        reason: Option<String>,
    ) -> Result<Response, HubError> {
        let response = self.awaiting(id).await?;
        let record = self.record_of(response).await?;
        let by = Approver::Person(self.caller().await?);
        let verdict = ApprovalDecision::Denied;
        let answer = ApprovalAnswer { verdict, by, at: self.now(), reason };
        self.apply_and_deliver(&record, Event::Denied { answer }).await
    }

    async fn awaiting(&self, id: &ResponseId) -> Result<Response, HubError> {
        let response = self.load(id).await?;
        if response.state != State::AwaitingApproval {
            return Err(HubError::refused(format!(
                "response `{id}` is {} and waits for nobody: {}",
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
        if self.is_paused(&record.response).await? {
            return Err(HubError::transient(format!("`{id}` was paused meanwhile")));
        }
        let event = Event::Approved { answer, steps };
        let approved = self.next(&record, event).await.map_err(refused)?;
        let record = self.commit(approved, counters).await?.record;
        let session = self.changing_session(&record.response).await;
        let received = tokio::time::Instant::now();
        let execution = Box::pin(self.execute(record, session, received)).await?;
        let Execution { record, outbox_items, .. } = execution;
        Box::pin(self.deliver_outbox(&record.response, outbox_items)).await;
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
        let tags = self.tags(&response.resource, &cache).await?;
        if let Some(why) = policy.forbids(&response.resource, &place, &tags, mode) {
            if mode == Mode::Auto
                && policy.forbids(&response.resource, &place, &tags, Mode::Approve).is_none()
            {
                // A person may still approve.
                return Err(HubError::refused(format!("`{}` needs a person: {why}", response.id)));
            }
            let refused = format!("`{}` is refused: {why}", response.id);
            self.apply_and_deliver(record, Event::Forbidden { why }).await?;
            return Err(HubError::refused(refused));
        }
        let call = |step: &Step| ActionCall {
            name: step.action.clone(),
            parameters: step.parameters.clone(),
        };
        let calls: Vec<ActionCall> = response.steps.iter().map(call).collect();
        let at = At { policy, place: &place, cache: &cache };
        let captured = self
            .capture_calls(&response.resource, response.id.as_str(), &response.finding, &calls, at)
            .await;
        let steps = plan::steps(captured, registry::catalog());
        let missing = steps
            .iter()
            .find(|it| it.state == StepState::Planned && it.prior == PriorState::NotCaptured);
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
        let replanned = self.apply(record, Event::PlanChanged { steps }).await?;
        info!(response.id = %response.id, "{}", replanned.record.response.reason);
        Err(HubError::refused(format!(
            "`{id}` was not carried out: {PLAN_CHANGED}\nhelp: look at it with `firebreak responses show {id}`, and approve it again",
            id = response.id
        )))
    }

    /// Applies an event that ends with the record, and delivers what it emits.
    pub(super) async fn apply_and_deliver(
        &self,
        record: &Record,
        event: Event,
    ) -> Result<Response, HubError> {
        let applied = self.apply(record, event).await?;
        Box::pin(self.deliver_outbox(&applied.record.response, applied.outbox)).await;
        Ok(applied.record.response)
    }
}
