//! Undoes a response.

use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_spoke::contract::{ActionContext, Reversal, Undone};
use firebreak_spoke::read_cache::ReadCache;
use tracing::info;

use super::Engine;
use super::execute::{Execution, find, lease_lost};
use firebreak_aws::error::HubError;
use firebreak_aws::store::Written;
use firebreak_response::audit_event::{AuditEvent, AuditKind};
use firebreak_response::record::{
    Drift, Response, ResponseId, State, Step, StepState, Suppression, Undo,
};
use firebreak_response::target::TargetEntry;

impl Engine {
    /// Undoes a response, or one step of it: puts back what it changed, the last
    /// step first, and reports what somebody changed since. Where asked for, a
    /// hold is placed before anything is put back, so that no finding of the
    /// same type contains the target again meanwhile; the findings that were
    /// answered do not in any case.
    ///
    /// # Errors
    ///
    /// `Refused` when there is no such response or step or it changed nothing,
    /// `Transient` when a worker is at it.
    pub async fn undo(&self, id: &ResponseId, request: Undo) -> Result<Response, HubError> {
        let mut response = self.load(id).await?;
        let now = self.now();
        let drifted = response.steps.iter().any(|step| step.state == StepState::Drifted);
        let over = matches!(response.state, State::Undone | State::Expired);
        if over && !(drifted && request.drift == Drift::Overwrite) {
            self.place_suppression(&response, &request).await?;
            return Ok(response);
        }
        if let Some(step) = &request.step
            && !response.steps.iter().any(|it| it.action == *step)
        {
            let names: Vec<&str> = response.steps.iter().map(|it| it.action.as_str()).collect();
            let names = names.join(", ");
            return Err(HubError::Refused(format!(
                "response `{id}` has no step `{step}`, but {names}"
            )));
        }
        let untouched = |step: &String| {
            !response.steps.iter().any(|it| it.action == *step && may_have_changed(it))
        };
        if let Some(step) = request.step.as_ref().filter(|step| untouched(step)) {
            return Err(HubError::Refused(format!(
                "there is nothing to undo of `{step}` in response `{id}`"
            )));
        }
        if response.lease_until.is_some_and(|until| until > now) {
            return Err(HubError::Transient(format!("a worker is at response `{id}`; try again")));
        }
        let arn = response.resource.arn();
        let target = self.store.target(&arn, &response.resource.account).await?;
        let mut entry = match target.entries.get(&response.rule) {
            Some(entry) if entry.response == *id => entry.clone(),
            _ => {
                return Err(HubError::Refused(format!(
                    "response `{id}` is not the latest of rule `{}` on `{arn}`; undo the latest first",
                    response.rule
                )));
            }
        };
        let resumed = response.state == State::Undoing;
        if !resumed {
            response
                .transition_to(State::Undoing, format!("undo requested by {}", request.by), now)
                .map_err(|error| HubError::Refused(error.to_string()))?;
            entry.state = State::Undoing;
            response.revision -= 1;
        }
        self.place_suppression(&response, &request).await?;
        let (by, asked) = (request.by.clone(), undo_summary(&request));
        // A worker that died may have left an undo half done: all of both is due.
        response.undo = Some(match response.undo.take().filter(|_| resumed) {
            Some(unfinished) => unfinished.and(request),
            None => request,
        });
        response.revision += 1;
        response.updated = now;
        self.lease(&mut response, &mut entry);
        let event = AuditEvent::of(AuditKind::UndoRequested, &response, &by, &asked);
        let commit = self.store.commit(now).advance(&response, &entry)?.event(&event)?;
        if commit.write().await? != Written::Yes {
            return Err(lease_lost(&response));
        }
        let execution = Box::pin(self.undo_claimed(response, entry)).await?;
        Box::pin(self.deliver_outbox(&execution.response, execution.outbox_items)).await;
        Ok(execution.response)
    }

    async fn place_suppression(&self, response: &Response, request: &Undo) -> Result<(), HubError> {
        let Some(until) = request.suppress_until else { return Ok(()) };
        let (by, id) = (request.by.clone(), response.id.clone());
        let suppression = Suppression { until, by, response: id, reason: None };
        let arn = response.resource.arn();
        self.store.set_suppression(&arn, &response.finding.kind, Some(&suppression)).await
    }

    pub(super) async fn undo_claimed(
        &self,
        mut response: Response,
        mut entry: TargetEntry,
    ) -> Result<Execution, HubError> {
        let session = self.changing_session(&response).await;
        let (id, finding) = (response.id.clone(), response.finding.clone());
        let resource = response.resource.clone();
        let only = response.undo.as_ref().and_then(|undo| undo.step.clone());
        let drift = response.undo.as_ref().map_or(Drift::Leave, |undo| undo.drift);
        let undo_summary = |step: &Step| only.as_ref().is_none_or(|only| step.action == *only);
        let mut failures = Vec::new();
        let any_succeeded = response.steps.iter().any(succeeded);
        // One after another and backwards: a later step may rest on an earlier.
        for step in response.steps.iter_mut().rev() {
            if !may_have_changed(step) || !undo_summary(step) {
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
            let context = self.action_context(account, &resource, id.as_str(), &finding, &cache);
            if let Err(error) = undo_step(context, step, drift).await {
                failures.push(format!("{}: {error}", step.action));
            }
        }
        let (state, reason) = ended(&response, &failures, any_succeeded);
        let outbox_items = Box::pin(self.end(&mut response, &mut entry, state, reason)).await?;
        info!(response.id = %id, "{} `{id}`: {}", response.state, response.reason);
        Ok(Execution { response, contained_after: None, outbox_items })
    }
}

/// Who requests the undo of an expired response.
pub(super) const EXPIRY: &str = "expiry";

/// What is asked for, for the record.
fn undo_summary(request: &Undo) -> String {
    let step = request.step.as_ref().map_or("all steps", String::as_str);
    let drift = match request.drift {
        Drift::Leave => "what changed since is left alone",
        Drift::Overwrite => "what changed since is overwritten",
    };
    let suppression = request.suppress_until.map(|until| format!(", suppressed until {until}"));
    format!("undo of {step}: {drift}{}", suppression.unwrap_or_default())
}

/// Undoes one step. What somebody changed since is overwritten, where that is
/// asked for, by applying the action once more: then all is as it left it, and
/// undo puts back what was before.
async fn undo_step(
    context: ActionContext<'_>,
    step: &mut Step,
    drift: Drift,
) -> Result<(), ActionError> {
    let action = find(&step.action)?;
    let mut undone = action.undo(context, &step.parameters, &step.prior).await?;
    if !undone.drift.is_empty() && drift == Drift::Overwrite {
        match action.apply(context, &step.parameters, &step.prior).await {
            Ok(()) => undone = action.undo(context, &step.parameters, &step.prior).await?,
            // There is nothing to put the prior state on.
            Err(error) if error.kind == ErrorKind::Gone => {}
            Err(error) => return Err(error),
        }
    }
    let kept = action.spec.reversal == Reversal::Kept && undone == Undone::default();
    (step.state, step.detail) = if !undone.drift.is_empty() {
        (StepState::Drifted, undone.drift.join("; "))
    } else if kept {
        (StepState::Undone, "nothing to undo (keeps what it made); what it made is kept".to_owned())
    } else {
        (StepState::Undone, undone.restored.join("; "))
    };
    Ok(())
}

/// What the steps amount to after an undo. Whether any had succeeded was looked at
/// before: all of them are undone now.
fn ended(response: &Response, failures: &[String], any_succeeded: bool) -> (State, String) {
    let of = |wanted: StepState| response.steps.iter().filter(move |step| step.state == wanted);
    let drift: Vec<String> =
        of(StepState::Drifted).map(|step| format!("{}: {}", step.action, step.detail)).collect();
    if !failures.is_empty() {
        let reason = format!("undo failed, try it again: {}", failures.join("; "));
        return (State::PartiallyContained, reason);
    }
    let undo = response.undo.as_ref();
    let only = undo.and_then(|undo| undo.step.as_ref());
    // A step that failed may have changed something as well.
    let left: Vec<&str> = response
        .steps
        .iter()
        .filter(|step| may_have_changed(step) && only.is_some_and(|only| step.action != *only))
        .map(|step| step.action.as_str())
        .collect();
    if let (Some(step), false) = (only, left.is_empty()) {
        let opened = response.steps.iter().any(|it| it.action == *step && it.is_containing());
        let state = match response.result().0 {
            state @ (State::Contained | State::Completed) if !opened => state,
            _ => State::PartiallyContained,
        };
        let outcome = if drift.is_empty() { "undone".to_owned() } else { drift.join("; ") };
        return (state, format!("{step} {outcome}; still in force: {}", left.join(", ")));
    }
    let expired = undo.filter(|undo| undo.by == EXPIRY).and(response.expires);
    let why = expired.map(|after| format!("expired after {after:#}: ")).unwrap_or_default();
    let state = if expired.is_some() { State::Expired } else { State::Undone };
    let reason = if drift.is_empty() && !any_succeeded {
        format!("{why}no step had succeeded: what they left, if anything, is put back")
    } else if drift.is_empty() {
        format!("{why}restored to its state before the response")
    } else {
        format!("{why}partly undone, changed meanwhile: {}", drift.join("; "))
    };
    (state, reason)
}

/// Whether a step did what it should: a planned one by a worker that died before
/// it recorded so.
fn succeeded(step: &Step) -> bool {
    match step.state {
        StepState::Done | StepState::Drifted | StepState::Undone => true,
        StepState::Planned => !step.prior.is_null(),
        StepState::Failed | StepState::Skipped => false,
    }
}

/// Whether undo has to look at a step: a planned one may have been applied by
/// a worker that died before it recorded so.
pub(super) fn may_have_changed(step: &Step) -> bool {
    match step.state {
        StepState::Planned | StepState::Done | StepState::Failed | StepState::Drifted => {
            !step.prior.is_null()
        }
        StepState::Skipped | StepState::Undone => false,
    }
}
