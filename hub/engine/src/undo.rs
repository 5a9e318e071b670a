//! Undoes a response.

use firebreak_aws::error::HubError;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_response::record::{Drift, Response, ResponseId, State, Step, StepState, Undo};
use firebreak_response::target::Findings;
use firebreak_response::transition::{Event, Record};
use firebreak_spoke::contract::{ActionContext, Phase, Reversal, Undone};
use firebreak_spoke::read_cache::ReadCache;
use tracing::info;

use super::deliver::Deliverer;
use super::execute::{Execution, find};
use super::member_accounts::MemberAccounts;
use super::recorder::Recorder;

/// Undoes responses.
#[derive(Clone, Debug)]
pub(super) struct Undoer {
    pub(super) recorder: Recorder,
    pub(super) members: MemberAccounts,
    pub(super) deliverer: Deliverer,
}

impl Undoer {
    /// See [`super::Engine::undo`].
    pub(super) async fn undo(&self, id: &ResponseId, request: Undo) -> Result<Response, HubError> {
        let response = self.recorder.load(id).await?;
        let drifted = response.steps.iter().any(|step| step.state == StepState::Drifted);
        let over = matches!(response.state, State::Undone | State::Expired);
        if over && !(drifted && request.drift == Drift::Overwrite) {
            if let Some(suppression) = request.suppression(id) {
                let record = Record { response, findings: Findings::default() };
                return Ok(self
                    .recorder
                    .apply(&record, Event::Suppressed { suppression })
                    .await?
                    .record
                    .response);
            }
            return Ok(response);
        }
        check_step(&response, &request)?;
        if response.lease_until.is_some_and(|until| until > self.recorder.now()) {
            return Err(HubError::transient(format!("a worker holds response `{id}`; try again")));
        }
        let record = self.recorder.record_of(response).await?;
        let record =
            self.recorder.apply(&record, Event::UndoRequested { undo: request }).await?.record;
        let execution = Box::pin(self.execute_undo(record)).await?;
        let Execution { record, outbox_items, .. } = execution;
        Box::pin(self.deliverer.deliver_outbox(&record.response, outbox_items)).await;
        Ok(record.response)
    }

    /// Undoes the steps of a response whose lease this worker holds.
    pub(super) async fn execute_undo(&self, record: Record) -> Result<Execution, HubError> {
        let response = &record.response;
        let session = self.members.changing_session(response).await;
        let id = &response.id;
        let only = response.undo.as_ref().and_then(|undo| undo.step.as_ref());
        let drift = response.undo.as_ref().map_or(Drift::Leave, |undo| undo.drift);
        let requested = |step: &Step| only.is_none_or(|only| step.action == *only);
        let mut failures = Vec::new();
        // The first step whose effect the resource keeps, and why.
        let mut unhealthy: Option<(String, Kept)> = None;
        let mut steps = response.steps.clone();
        // In sequence and in reverse order: a later step may depend on an earlier one. What
        // returns the resource to service comes last: a load balancer or an Auto Scaling group
        // must not find it without network or credentials.
        let returns =
            |step: &Step| find(&step.action).is_ok_and(|action| action.facts.returns_to_service);
        let (last, first): (Vec<&mut Step>, Vec<&mut Step>) =
            steps.iter_mut().rev().partition(|step| returns(step));
        for step in first.into_iter().chain(last) {
            if !step.may_have_changed() || !requested(step) {
                continue;
            }
            if returns(step)
                && let Some((other, kept)) = &unhealthy
            {
                let why = format!(
                    "not returned to service, where it would be unhealthy: {other} is not undone"
                );
                match kept {
                    Kept::Failed => failures.push(format!("{}: {why}", step.action)),
                    Kept::Drifted => (step.state, step.detail) = (StepState::Drifted, why),
                }
                continue;
            }
            let account = match &session {
                Ok(Some(account)) => account,
                Ok(None) => continue,
                Err(error) => {
                    failures.push(format!("{}: {error}", step.action));
                    continue;
                }
            };
            let cache = ReadCache::default();
            let Response { resource, finding, .. } = response;
            let context =
                self.members.action_context(account, resource, id.as_str(), finding, &cache);
            let undone = undo_step(context, step, drift).await;
            let kept = match &undone {
                Err(_) => Some(Kept::Failed),
                Ok(()) if step.state == StepState::Drifted => Some(Kept::Drifted),
                Ok(()) => None,
            };
            // Tags or evidence make no resource unhealthy.
            if !returns(step) && matches!(step.phase, Phase::Contain | Phase::End) {
                unhealthy = unhealthy.or(kept.map(|kept| (step.action.clone(), kept)));
            }
            if let Err(error) = undone {
                failures.push(format!("{}: {error}", step.action));
            }
        }
        let ended =
            Box::pin(self.recorder.apply(&record, Event::UndoEnded { steps, failures })).await?;
        let response = &ended.record.response;
        info!(response.id = %id, "{} `{id}`: {}", response.state, response.reason);
        let (record, outbox_items) = (ended.record, ended.outbox);
        Ok(Execution { record, contained_after: None, outbox_items })
    }
}

/// Why the effect of a step is still there after its undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Failed,
    Drifted,
}

/// Checks that the step to undo exists, and may have changed something.
fn check_step(response: &Response, request: &Undo) -> Result<(), HubError> {
    let Some(name) = &request.step else { return Ok(()) };
    let id = &response.id;
    let mut steps = response.steps.iter().filter(|step| step.action == *name).peekable();
    if steps.peek().is_none() {
        let names: Vec<&str> = response.steps.iter().map(|it| it.action.as_str()).collect();
        let names = names.join(", ");
        return Err(HubError::refused(format!(
            "response `{id}` has no step `{name}`, but {names}"
        )));
    }
    if !steps.any(Step::may_have_changed) {
        return Err(HubError::refused(format!(
            "there is nothing to undo of `{name}` in response `{id}`"
        )));
    }
    Ok(())
}

/// Undoes one step. If requested, later changes by others are overwritten: the action
/// is applied again, which gives the state that it left, and undo restores the prior
/// state.
async fn undo_step(
    context: ActionContext<'_>,
    step: &mut Step,
    drift: Drift,
) -> Result<(), ActionError> {
    let action = find(&step.action)?;
    let Some(prior) = step.prior.captured() else { return Ok(()) };
    let mut undone = action.undo(context, &step.parameters, prior).await?;
    if !undone.drift.is_empty() && drift == Drift::Overwrite {
        match action.apply(context, &step.parameters, prior).await {
            Ok(()) => undone = action.undo(context, &step.parameters, prior).await?,
            // The resource is gone, so its prior state cannot be restored.
            Err(error) if error.kind == ErrorKind::Gone => {}
            Err(error) => return Err(error),
        }
    }
    let kept = action.spec.reversal == Reversal::Kept && undone == Undone::default();
    (step.state, step.detail) = if !undone.drift.is_empty() {
        (StepState::Drifted, undone.drift.join("; "))
    } else if kept {
        (StepState::Undone, "nothing to undo; what it made is kept".to_owned())
    } else {
        (StepState::Undone, undone.restored.join("; "))
    };
    Ok(())
}
