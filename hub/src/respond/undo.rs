//! Taking a response back.

use firebreak_spoke::seen::Seen;
use tracing::info;

use super::Responder;
use super::carry_out::find;
use crate::aws::error::HubError;
use crate::aws::ledger::Entry;
use crate::record::{Response, ResponseId, State, Step, StepState};

impl Responder {
    /// Undoes a response: puts back what it changed, the last step first, and
    /// reports what somebody changed since. The same finding does not contain
    /// the target again afterwards.
    ///
    /// # Errors
    ///
    /// `Failed` when there is no such response or it changed nothing,
    /// `Transient` when a worker is at it.
    pub async fn undo(&self, id: &ResponseId) -> Result<Response, HubError> {
        let mut response = self.load(id).await?;
        let now = self.now();
        if response.state == State::Undone {
            return Ok(response);
        }
        if response.lease_until.is_some_and(|until| until > now) {
            return Err(HubError::Transient(format!("a worker is at response `{id}`; try again")));
        }
        let arn = response.resource.arn();
        let target = self.ledger.target(&arn).await?;
        let mut entry = match target.entries.get(&response.rule) {
            Some(entry) if entry.response == *id => entry.clone(),
            _ => {
                return Err(HubError::Failed(format!(
                    "response `{id}` is not the latest of rule `{}` on `{arn}`; undo the latest first",
                    response.rule
                )));
            }
        };
        if response.state != State::Undoing {
            response
                .become_state(State::Undoing, "undo asked for", now)
                .map_err(|error| HubError::Failed(error.to_string()))?;
            entry.state = State::Undoing;
            response.revision -= 1;
        }
        self.take_lease(&mut response, &mut entry).await?;
        self.undo_claimed(response, entry).await
    }

    pub(super) async fn undo_claimed(
        &self,
        mut response: Response,
        mut entry: Entry,
    ) -> Result<Response, HubError> {
        let session = self.changing_session(&response).await;
        let (id, finding) = (response.id.clone(), response.finding.clone());
        let resource = response.resource.clone();
        let mut failures = Vec::new();
        let mut drift = Vec::new();
        // One after another and backwards: a later step may rest on an earlier.
        for step in response.steps.iter_mut().rev().filter(|step| may_have_changed(step)) {
            let undone = match &session {
                Ok(Some(account)) => {
                    let seen = Seen::default();
                    let scope = self.scope(account, &resource, id.as_str(), &finding, &seen);
                    match find(&step.action) {
                        Ok(action) => action.undo(scope, &step.parameters, &step.prior).await,
                        Err(error) => Err(error),
                    }
                }
                Ok(None) => continue,
                Err(error) => Err(error.clone()),
            };
            match undone {
                Ok(undone) if undone.drift.is_empty() => {
                    step.state = StepState::Undone;
                    step.detail = undone.restored.join("; ");
                }
                Ok(undone) => {
                    step.state = StepState::Drifted;
                    step.detail = undone.drift.join("; ");
                    drift.push(format!("{}: {}", step.action, step.detail));
                }
                Err(error) => {
                    failures.push(format!("{}: {error}", step.action));
                }
            }
        }
        let (state, reason) = if !failures.is_empty() {
            let reason = format!("undo failed, try it again: {}", failures.join("; "));
            (State::PartiallyContained, reason)
        } else if drift.is_empty() {
            (State::Undone, "the prior state is back".to_owned())
        } else {
            let reason = format!("put back but for what changed since: {}", drift.join("; "));
            (State::Undone, reason)
        };
        self.end(&mut response, &mut entry, state, reason).await?;
        info!(response.id = %id, "{} `{id}`: {}", response.state, response.reason);
        self.write_back(&response, &mut entry).await?;
        Ok(response)
    }
}

/// Whether undo has to look at a step: a planned one may have been applied by
/// a worker that died before it recorded so.
fn may_have_changed(step: &Step) -> bool {
    match step.state {
        StepState::Planned | StepState::Done | StepState::Failed | StepState::Drifted => {
            !step.prior.is_null()
        }
        StepState::Skipped | StepState::Undone => false,
    }
}
