//! Recovers responses whose worker stopped, and retries failed ones: always from
//! the record, never from a new plan.

use tracing::info;

use super::Engine;
use super::execute::{Execution, lease_lost};
use super::outcome::{Disposition, TargetOutcome, outcome};
use super::undo::may_have_changed;
use firebreak_aws::error::HubError;
use firebreak_aws::store::Written;
use firebreak_model::finding::{Finding, Target};
use firebreak_response::audit_event::{AuditEvent, AuditKind};
use firebreak_response::record::{Response, State, Step, StepState};
use firebreak_response::target::TargetEntry;

impl Engine {
    /// Recovers the response that a finding found abandoned.
    pub(super) async fn recover_for_finding(
        &self,
        finding: &Finding,
        target: &Target,
        entry: TargetEntry,
        received: tokio::time::Instant,
    ) -> Result<TargetOutcome, HubError> {
        let response = self.load(&entry.response).await?;
        let undoing = response.state == State::Undoing;
        let execution = Box::pin(self.recover(response, entry, received)).await?;
        let (written_back, undelivered) =
            Box::pin(self.deliver_outbox(&execution.response, execution.outbox_items)).await;
        let response = execution.response;
        let resource = Some(&target.resource);
        let ended = if undoing {
            let reason = format!("recovered the undo of `{}`: {}", response.id, response.reason);
            outcome(finding, resource, Disposition::Repeat, reason)
        } else {
            outcome(finding, resource, Disposition::Responded, response.reason.clone())
        };
        Ok(TargetOutcome {
            ou_path: Some(response.ou_path.clone()),
            contained_after: execution.contained_after,
            written_back,
            undelivered,
            response: Some(response),
            ..ended
        })
    }

    /// Takes the lease of an abandoned response, and continues its execution or its undo.
    pub(super) async fn recover(
        &self,
        mut response: Response,
        mut entry: TargetEntry,
        received: tokio::time::Instant,
    ) -> Result<Execution, HubError> {
        if response.lease_until.is_some_and(|until| until > self.now()) {
            return Err(HubError::Transient(format!("a worker is at `{}`", response.id)));
        }
        self.take_lease(&mut response, &mut entry).await?;
        info!(response.id = %response.id, "recovers `{}`", response.id);
        if response.state == State::Undoing {
            return Box::pin(self.undo_claimed(response, entry)).await;
        }
        let session = self.changing_session(&response).await;
        Box::pin(self.execute(response, &mut entry, session, received)).await
    }

    /// Retries failed steps from the record: a new plan would record our own
    /// half-made change as the original state. `None` if there is nothing to
    /// retry: no step may have changed anything, an undo was requested, or policy
    /// asks for other actions now. `planned` are the steps as they would be
    /// planned now: a step whose state could not be captured before is taken from
    /// there, and one that is refused now stays failed.
    pub(super) async fn retry_failed(
        &self,
        finding: &Finding,
        target: &Target,
        mut entry: TargetEntry,
        planned: &[Step],
        received: tokio::time::Instant,
    ) -> Result<Option<TargetOutcome>, HubError> {
        let mut response = self.load(&entry.response).await?;
        // Parameters may name the response or the finding: what was recorded counts.
        let action_names = |steps: &[Step]| -> Vec<String> {
            steps.iter().map(|step| step.action.clone()).collect()
        };
        let same = action_names(&response.steps) == action_names(planned);
        if response.undo.is_some() || !same || !response.steps.iter().any(may_have_changed) {
            return Ok(None);
        }
        let failed = |step: &&mut Step| step.state == StepState::Failed;
        for step in response.steps.iter_mut().filter(failed) {
            let Some(now) = planned.iter().find(|now| now.action == step.action) else { continue };
            if now.state != StepState::Planned {
                step.detail.clone_from(&now.detail);
            } else if step.prior.is_null() {
                *step = now.clone();
            } else {
                step.state = StepState::Planned;
                step.detail.clear();
            }
        }
        if response.steps.iter().all(|step| step.state != StepState::Planned) {
            return Ok(None);
        }
        entry.findings.insert(finding.id.clone(), finding.updated_at);
        self.set_running(&mut response, &mut entry, "retried").await?;
        let session = self.changing_session(&response).await;
        let execution = Box::pin(self.execute(response, &mut entry, session, received)).await?;
        let (written_back, undelivered) =
            Box::pin(self.deliver_outbox(&execution.response, execution.outbox_items)).await;
        let response = execution.response;
        Ok(Some(TargetOutcome {
            ou_path: Some(response.ou_path.clone()),
            contained_after: execution.contained_after,
            written_back,
            undelivered,
            response: Some(response.clone()),
            ..outcome(finding, Some(&target.resource), Disposition::Responded, response.reason)
        }))
    }

    /// Moves a response that was recorded before to running, under a lease.
    pub(super) async fn set_running(
        &self,
        response: &mut Response,
        entry: &mut TargetEntry,
        why: &str,
    ) -> Result<(), HubError> {
        let now = self.now();
        response
            .transition_to(State::Running, why, now)
            .map_err(|error| HubError::Failed(error.to_string()))?;
        self.lease(response, entry);
        entry.state = State::Running;
        let event = AuditEvent::of(AuditKind::StateChanged, response, &self.identity().await, why);
        let commit = self.store.commit(now).advance(response, entry)?.event(&event)?;
        if commit.write().await? != Written::Yes {
            return Err(lease_lost(response));
        }
        info!(response.id = %response.id, "`{}` is {why}", response.id);
        Ok(())
    }

    pub(super) async fn take_lease(
        &self,
        response: &mut Response,
        entry: &mut TargetEntry,
    ) -> Result<(), HubError> {
        let now = self.now();
        response.revision += 1;
        response.updated = now;
        self.lease(response, entry);
        let commit = self.store.commit(now).advance(response, entry)?;
        match commit.write().await? {
            Written::Yes => Ok(()),
            Written::Lost | Written::Spent => Err(lease_lost(response)),
        }
    }

    /// Sets the lease of this worker; when it expires the sweep recovers the response.
    pub(super) fn lease(&self, response: &mut Response, entry: &mut TargetEntry) {
        response.lease_until = Some(self.now() + self.settings.lease);
        response.due = response.lease_until;
        entry.lease_until = response.lease_until;
        entry.waiting = false;
    }
}
