//! Going on where a worker stopped, and taking up again what failed: always
//! from what was recorded, never from a new plan.

use tracing::info;

use super::Responder;
use super::carry_out::{Carried, fenced};
use super::outcome::{Disposition, Outcome, outcome};
use super::undo::may_have_changed;
use firebreak_aws::error::HubError;
use firebreak_aws::ledger::Written;
use firebreak_model::finding::{Finding, Target};
use firebreak_response::audit_event::{Event, What};
use firebreak_response::record::{Response, State, Step, StepState};
use firebreak_response::target::Entry;

impl Responder {
    /// Goes on where a worker stopped, for a finding that found it so.
    pub(super) async fn resume(
        &self,
        finding: &Finding,
        target: &Target,
        entry: Entry,
        received: tokio::time::Instant,
    ) -> Result<Outcome, HubError> {
        let response = self.load(&entry.response).await?;
        let undoing = response.state == State::Undoing;
        let carried = Box::pin(self.go_on(response, entry, received)).await?;
        let (written_back, untold) = Box::pin(self.tell(&carried.response, carried.outgoing)).await;
        let response = carried.response;
        let resource = Some(&target.resource);
        let ended = if undoing {
            let reason = format!("resumed the undo of `{}`: {}", response.id, response.reason);
            outcome(finding, resource, Disposition::Repeat, reason)
        } else {
            outcome(finding, resource, Disposition::Responded, response.reason.clone())
        };
        Ok(Outcome {
            ou_path: Some(response.ou_path.clone()),
            contained_after: carried.contained_after,
            written_back,
            untold,
            response: Some(response),
            ..ended
        })
    }

    /// Takes the lease of a response that nobody is at, and goes on with what it
    /// was about: to carry out or to undo.
    pub(super) async fn go_on(
        &self,
        mut response: Response,
        mut entry: Entry,
        received: tokio::time::Instant,
    ) -> Result<Carried, HubError> {
        if response.lease_until.is_some_and(|until| until > self.now()) {
            return Err(HubError::Transient(format!("a worker is at `{}`", response.id)));
        }
        self.take_lease(&mut response, &mut entry).await?;
        info!(response.id = %response.id, "goes on with `{}`", response.id);
        if response.state == State::Undoing {
            return Box::pin(self.undo_claimed(response, entry)).await;
        }
        let session = self.changing_session(&response).await;
        Box::pin(self.carry_out(response, &mut entry, session, received)).await
    }

    /// Takes what failed up again, from what was recorded when the plan was made:
    /// a new plan would take our own half of a change for the original. `None`
    /// where there is nothing of that kind: nothing may have been changed,
    /// somebody asked for an undo, or policy asks for other actions now.
    /// `planned` are the steps as they would be planned now: a step that could
    /// not be observed then is taken from there, and one that is refused now
    /// stays failed.
    pub(super) async fn retry(
        &self,
        finding: &Finding,
        target: &Target,
        mut entry: Entry,
        planned: &[Step],
        received: tokio::time::Instant,
    ) -> Result<Option<Outcome>, HubError> {
        let mut response = self.load(&entry.response).await?;
        // Parameters may name the response or the finding: what was recorded counts.
        let asked = |steps: &[Step]| -> Vec<String> {
            steps.iter().map(|step| step.action.clone()).collect()
        };
        let same = asked(&response.steps) == asked(planned);
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
        self.set_running(&mut response, &mut entry, "taken up again").await?;
        let session = self.changing_session(&response).await;
        let carried = Box::pin(self.carry_out(response, &mut entry, session, received)).await?;
        let (written_back, untold) = Box::pin(self.tell(&carried.response, carried.outgoing)).await;
        let response = carried.response;
        Ok(Some(Outcome {
            ou_path: Some(response.ou_path.clone()),
            contained_after: carried.contained_after,
            written_back,
            untold,
            response: Some(response.clone()),
            ..outcome(finding, Some(&target.resource), Disposition::Responded, response.reason)
        }))
    }

    /// Moves a response that was recorded before to running, under a lease.
    pub(super) async fn set_running(
        &self,
        response: &mut Response,
        entry: &mut Entry,
        why: &str,
    ) -> Result<(), HubError> {
        let now = self.now();
        response
            .become_state(State::Running, why, now)
            .map_err(|error| HubError::Failed(error.to_string()))?;
        self.lease(response, entry);
        entry.state = State::Running;
        let event = Event::of(What::Became, response, &self.identity().await, why);
        let commit = self.ledger.commit(now).advance(response, entry)?.event(&event)?;
        if commit.write().await? != Written::Yes {
            return Err(fenced(response));
        }
        info!(response.id = %response.id, "`{}` is {why}", response.id);
        Ok(())
    }

    pub(super) async fn take_lease(
        &self,
        response: &mut Response,
        entry: &mut Entry,
    ) -> Result<(), HubError> {
        let now = self.now();
        response.revision += 1;
        response.updated = now;
        self.lease(response, entry);
        let commit = self.ledger.commit(now).advance(response, entry)?;
        match commit.write().await? {
            Written::Yes => Ok(()),
            Written::Lost | Written::Spent => Err(fenced(response)),
        }
    }

    /// Until when this worker may be at it; then the sweep looks at it.
    pub(super) fn lease(&self, response: &mut Response, entry: &mut Entry) {
        response.lease_until = Some(self.now() + self.settings.lease);
        response.due = response.lease_until;
        entry.lease_until = response.lease_until;
        entry.waiting = false;
    }
}
