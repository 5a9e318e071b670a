//! Recovers responses whose worker stopped, and retries failed ones: always from
//! the record, never from a new plan.

use firebreak_aws::error::HubError;
use firebreak_model::finding::{Finding, Target};
use firebreak_response::record::{PriorState, Response, State, Step, StepState};
use firebreak_response::target::TargetEntry;
use firebreak_response::transition::{Event, Record};
use firebreak_spoke::read_cache::ReadCache;
use tracing::info;

use super::deliver::Deliverer;
use super::execute::{Execution, Executor};
use super::outcome::{Disposition, TargetOutcome, outcome};
use super::recorder::Recorder;
use super::undo::Undoer;

/// Recovers and retries responses.
#[derive(Clone, Debug)]
pub(super) struct Recoverer {
    pub(super) recorder: Recorder,
    pub(super) executor: Executor,
    pub(super) undoer: Undoer,
    pub(super) deliverer: Deliverer,
}

impl Recoverer {
    /// Recovers an abandoned response when a finding is delivered for its target.
    pub(super) async fn recover_for_finding(
        &self,
        finding: &Finding,
        target: &Target,
        entry: TargetEntry,
        received: tokio::time::Instant,
    ) -> Result<TargetOutcome, HubError> {
        let response = self.recorder.load(&entry.response).await?;
        let undoing = response.state == State::Undoing;
        let record = Record { response, findings: entry.findings };
        let execution = Box::pin(self.recover(record, received)).await?;
        let reason = execution.response().reason.clone();
        let resource = Some(&target.resource);
        let ended = if undoing {
            let reason = format!("recovered the undo of `{}`: {reason}", execution.response().id);
            outcome(finding, resource, Disposition::Repeat, reason)
        } else {
            outcome(finding, resource, Disposition::Responded, reason)
        };
        Ok(self.delivered(ended, execution).await)
    }

    /// Takes the lease of an abandoned response, and continues its execution or its undo.
    pub(super) async fn recover(
        &self,
        record: Record,
        received: tokio::time::Instant,
    ) -> Result<Execution, HubError> {
        let record = self.recorder.apply_for_finding(&record, Event::LeaseTaken).await?.record;
        info!(response.id = %record.response.id, "recovers `{}`", record.response.id);
        if record.response.state == State::Undoing {
            return Box::pin(self.undoer.execute_undo(record)).await;
        }
        let session = self.executor.members.changing_session(&record.response).await;
        Box::pin(self.executor.execute(record, session, received, &ReadCache::default())).await
    }

    /// Retries failed steps from the record: a new plan would record our own half-made
    /// change as the original state. `None` if there is nothing to retry: no step may
    /// have changed anything, an undo was requested, or policy requires other actions
    /// now. `planned` are the steps of a new plan: a step whose state could not be
    /// captured before is taken from there, and one that is refused now stays failed.
    pub(super) async fn retry_failed(
        &self,
        finding: &Finding,
        target: &Target,
        entry: TargetEntry,
        planned: &[Step],
        received: tokio::time::Instant,
    ) -> Result<Option<TargetOutcome>, HubError> {
        let response = self.recorder.load(&entry.response).await?;
        let Some(steps) = steps_to_retry(&response, planned) else { return Ok(None) };
        let record = Record { response, findings: entry.findings };
        let event =
            Event::RetryStarted { steps, finding: (finding.id.clone(), finding.updated_at) };
        let record = self.recorder.apply_for_finding(&record, event).await?.record;
        info!(response.id = %record.response.id, "retries `{}`", record.response.id);
        let session = self.executor.members.changing_session(&record.response).await;
        let execution =
            Box::pin(self.executor.execute(record, session, received, &ReadCache::default()))
                .await?;
        let reason = execution.response().reason.clone();
        let ended = outcome(finding, Some(&target.resource), Disposition::Responded, reason);
        Ok(Some(self.delivered(ended, execution).await))
    }

    /// Delivers the execution's outbox items, and completes the outcome.
    async fn delivered(&self, outcome: TargetOutcome, execution: Execution) -> TargetOutcome {
        let Execution { record, contained_after, outbox_items } = execution;
        let response = record.response;
        let (written_back, undelivered) =
            Box::pin(self.deliverer.deliver_outbox(&response, outbox_items)).await;
        TargetOutcome {
            ou_path: Some(response.ou_path.clone()),
            contained_after,
            written_back,
            undelivered,
            response: Some(response),
            ..outcome
        }
    }
}

/// The failed response's steps, those to retry set to planned; `None` if there are
/// none.
fn steps_to_retry(response: &Response, planned: &[Step]) -> Option<Vec<Step>> {
    // Parameters may contain the id of the response or the finding: the recorded ones
    // are used.
    let names =
        |steps: &[Step]| -> Vec<String> { steps.iter().map(|step| step.action.clone()).collect() };
    let same = names(&response.steps) == names(planned);
    if response.undo.is_some() || !same || !response.steps.iter().any(Step::may_have_changed) {
        return None;
    }
    let mut steps = response.steps.clone();
    for step in steps.iter_mut().filter(|step| step.state == StepState::Failed) {
        let Some(now) = planned.iter().find(|now| now.action == step.action) else { continue };
        if now.state != StepState::Planned {
            step.detail.clone_from(&now.detail);
        } else if step.prior == PriorState::NotCaptured {
            *step = now.clone();
        } else {
            step.state = StepState::Planned;
            step.detail.clear();
        }
    }
    steps.iter().any(|step| step.state == StepState::Planned).then_some(steps)
}
