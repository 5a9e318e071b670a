//! Carrying out what is planned, phase by phase, and going on where a worker stopped.

use std::sync::Arc;
use std::time::Duration;

use firebreak_spoke::account::Account;
use firebreak_spoke::actions::{self, Phase, Scope, Verdict};
use firebreak_spoke::error::{ActionError, Kind};
use firebreak_spoke::seen::Seen;
use futures::future::join_all;
use tracing::{info, instrument, warn};

use super::Responder;
use super::outcome::{Disposition, Outcome, outcome};
use super::undo::may_have_changed;
use super::write_back::is_unsent;
use crate::aws::error::HubError;
use crate::aws::ledger::{Entry, Written};
use crate::finding::{Finding, Target};
use crate::plan;
use crate::record::{Response, State, Step, StepState};

/// How often a verification is read before it counts as broken: IAM and EC2
/// are eventually consistent.
const VERIFICATIONS: u32 = 4;
const BETWEEN_VERIFICATIONS: Duration = Duration::from_millis(1_500);

/// How long a worker stays with a step whose work is under way in the member
/// account, and how often it looks. Afterwards the finding's next delivery goes on.
const PENDING_AT_MOST: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// The phases in their order, each in two halves: see [`plan::waits`].
const WAVES: [(Phase, bool); 8] = [
    (Phase::Contain, false),
    (Phase::Contain, true),
    (Phase::Protect, false),
    (Phase::Protect, true),
    (Phase::Collect, false),
    (Phase::Collect, true),
    (Phase::End, false),
    (Phase::End, true),
];

/// Nothing is ended while something that was to be kept of it is not: the steps
/// that end the resource fail where a protecting or collecting one did.
fn hold_back(response: &mut Response) {
    let kept = |step: &&Step| matches!(step.phase, Phase::Protect | Phase::Collect);
    let failed: Vec<String> = response
        .steps
        .iter()
        .filter(kept)
        .filter(|step| step.state == StepState::Failed)
        .map(|step| step.action.clone())
        .collect();
    if failed.is_empty() {
        return;
    }
    let planned = |step: &&mut Step| step.phase == Phase::End && step.state == StepState::Planned;
    for step in response.steps.iter_mut().filter(planned) {
        step.state = StepState::Failed;
        step.detail = format!("not carried out, because {} failed", failed.join(", "));
    }
}

impl Responder {
    /// Carries out what is planned, phase by phase, and records how each ended.
    #[instrument(name = "carry-out", skip_all, fields(response.id = %response.id))]
    pub(super) async fn carry_out(
        &self,
        mut response: Response,
        entry: &mut Entry,
        session: Result<Option<Arc<Account>>, ActionError>,
        received: tokio::time::Instant,
    ) -> Result<(Response, Option<Duration>), HubError> {
        let mut contained_after = None;
        let mut interrupted = None;
        let names: Vec<String> = response.steps.iter().map(|it| it.action.clone()).collect();
        for (phase, waiting) in WAVES {
            if phase == Phase::End && interrupted.is_none() {
                hold_back(&mut response);
            }
            let in_phase = |step: &&mut Step| {
                step.phase == phase
                    && plan::waits(&step.action, &names) == waiting
                    && step.state == StepState::Planned
            };
            if phase == Phase::End && interrupted.is_some() {
                // What is under way may still need the resource.
                continue;
            }
            let (id, finding) = (response.id.clone(), response.finding.clone());
            let resource = response.resource.clone();
            let steps: Vec<&mut Step> = response.steps.iter_mut().filter(in_phase).collect();
            if steps.is_empty() {
                continue;
            }
            let ended = join_all(steps.into_iter().map(|step| async {
                match &session {
                    Ok(Some(account)) => {
                        let seen = Seen::default();
                        let scope = self.scope(account, &resource, id.as_str(), &finding, &seen);
                        carry_out_step(scope, step).await
                    }
                    Ok(None) => Ok(()),
                    Err(error) if error.kind == Kind::Transient => Err(error.clone()),
                    Err(error) => {
                        step.state = StepState::Failed;
                        step.detail = error.to_string();
                        Ok(())
                    }
                }
            }))
            .await;
            interrupted = interrupted.or(ended.into_iter().find_map(Result::err));
            let contained =
                response.steps.iter().any(|step| step.cuts_off() && step.state == StepState::Done);
            if phase == Phase::Contain && contained && interrupted.is_none() {
                contained_after = Some(received.elapsed());
            }
            let more = response
                .steps
                .iter()
                .filter(|step| step.state == StepState::Planned)
                .any(|step| (step.phase, plan::waits(&step.action, &names)) > (phase, waiting));
            if more {
                response.revision += 1;
                response.updated = self.now();
                if self.ledger.record(&response).await? == Written::Lost {
                    return Err(fenced(&response));
                }
            }
        }
        if let Some(error) = interrupted {
            // The lease ends now, so that the next delivery resumes at once.
            response.revision += 1;
            response.updated = self.now();
            response.lease_until = Some(response.updated);
            entry.lease_until = response.lease_until;
            if self.ledger.record_with_entry(&response, entry).await? == Written::Lost {
                return Err(fenced(&response));
            }
            warn!(response.id = %response.id, "interrupted `{}`: {error}", response.id);
            return Err(HubError::Transient(error.to_string()));
        }
        let (state, reason) = response.result();
        if state.holds_resource() {
            response.due = response.expires.map(|after| self.now() + after);
        }
        self.end(&mut response, entry, state, reason).await?;
        Ok((response, contained_after))
    }

    pub(super) async fn end(
        &self,
        response: &mut Response,
        entry: &mut Entry,
        state: State,
        reason: String,
    ) -> Result<(), HubError> {
        response
            .become_state(state, reason, self.now())
            .map_err(|error| HubError::Failed(error.to_string()))?;
        entry.state = state;
        entry.lease_until = response.lease_until;
        entry.unsent = is_unsent(response);
        match self.ledger.record_with_entry(response, entry).await? {
            Written::Yes => Ok(()),
            Written::Lost => Err(fenced(response)),
        }
    }

    /// Goes on where a worker stopped, from what it recorded.
    pub(super) async fn resume(
        &self,
        finding: &Finding,
        target: &Target,
        rule: &str,
        mut entry: Entry,
        received: tokio::time::Instant,
    ) -> Result<Outcome, HubError> {
        let mut response = self.load(&entry.response).await?;
        if response.state == State::Undoing {
            let undone = self.undo_claimed(response, entry).await?;
            let reason = format!("resumed the undo of `{}`: {}", undone.id, undone.reason);
            let resource = Some(&target.resource);
            let outcome = outcome(finding, resource, Disposition::Repeat, reason);
            return Ok(Outcome { response: Some(undone), ..outcome });
        }
        self.take_lease(&mut response, &mut entry).await?;
        info!(response.id = %response.id, "resumed `{}` of rule `{rule}`", response.id);
        let session = self.changing_session(&response).await;
        let (response, contained_after) =
            self.carry_out(response, &mut entry, session, received).await?;
        let written_back = self.write_back(&response, &mut entry).await?;
        let resource = Some(&target.resource);
        Ok(Outcome {
            ou_path: Some(response.ou_path.clone()),
            contained_after,
            written_back,
            response: Some(response.clone()),
            ..outcome(finding, resource, Disposition::Responded, response.reason)
        })
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
        let asked = |steps: &[Step]| -> Vec<(String, serde_json::Value)> {
            steps.iter().map(|step| (step.action.clone(), step.parameters.clone())).collect()
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
        let now = self.now();
        response
            .become_state(State::Running, "taken up again", now)
            .map_err(|error| HubError::Failed(error.to_string()))?;
        response.lease_until = Some(now + self.settings.lease);
        entry.state = State::Running;
        entry.lease_until = response.lease_until;
        entry.findings.insert(finding.id.clone(), finding.updated_at);
        if self.ledger.record_with_entry(&response, &entry).await? == Written::Lost {
            return Err(fenced(&response));
        }
        info!(response.id = %response.id, "took `{}` up again", response.id);
        let session = self.changing_session(&response).await;
        let (response, contained_after) =
            self.carry_out(response, &mut entry, session, received).await?;
        let written_back = self.write_back(&response, &mut entry).await?;
        Ok(Some(Outcome {
            ou_path: Some(response.ou_path.clone()),
            contained_after,
            written_back,
            response: Some(response.clone()),
            ..outcome(finding, Some(&target.resource), Disposition::Responded, response.reason)
        }))
    }

    pub(super) async fn take_lease(
        &self,
        response: &mut Response,
        entry: &mut Entry,
    ) -> Result<(), HubError> {
        let now = self.now();
        response.revision += 1;
        response.updated = now;
        response.lease_until = Some(now + self.settings.lease);
        entry.lease_until = response.lease_until;
        match self.ledger.record_with_entry(response, entry).await? {
            Written::Yes => Ok(()),
            Written::Lost => Err(fenced(response)),
        }
    }
}

/// Observes if the record has no prior state yet, applies, verifies. An error
/// is a passing one: the step stays planned for the next delivery.
async fn carry_out_step(scope: Scope<'_>, step: &mut Step) -> Result<(), ActionError> {
    match try_step(scope, step).await {
        Ok(Verdict::Holds(seen)) => {
            step.state = StepState::Done;
            step.detail = seen;
            Ok(())
        }
        Ok(Verdict::Broken(seen)) => {
            step.state = StepState::Failed;
            step.detail = format!("{} did not hold: {seen}", step.action);
            Ok(())
        }
        Ok(Verdict::Pending(seen)) => {
            let message = format!("{} is still under way: {seen}", step.action);
            Err(ActionError::new(Kind::Transient, message))
        }
        Err(error) => match error.kind {
            Kind::Transient => Err(error),
            Kind::NotApplicable => {
                step.state = StepState::Skipped;
                step.detail = error.to_string();
                Ok(())
            }
            Kind::Refused | Kind::Gone | Kind::Denied | Kind::Failed => {
                step.state = StepState::Failed;
                step.detail = error.to_string();
                Ok(())
            }
        },
    }
}

async fn try_step(scope: Scope<'_>, step: &mut Step) -> Result<Verdict, ActionError> {
    let action = find(&step.action)?;
    if step.prior.is_null() {
        // Only a step whose prior state could not be read when the plan was
        // made; it was never applied, so this is still the state before.
        let observation = action.observe(scope, &step.parameters).await?;
        step.prior = observation.prior;
        step.changes = observation.changes;
    }
    if !step.changes.is_empty() {
        action.apply(scope, &step.parameters, &step.prior).await?;
    }
    let began = tokio::time::Instant::now();
    let mut tries = 1;
    loop {
        let verdict = action.verify(scope, &step.parameters, &step.prior).await?;
        let wait = match &verdict {
            Verdict::Holds(_) => return Ok(verdict),
            Verdict::Broken(_) if tries == VERIFICATIONS => return Ok(verdict),
            Verdict::Broken(_) => BETWEEN_VERIFICATIONS,
            Verdict::Pending(_) if began.elapsed() >= PENDING_AT_MOST => return Ok(verdict),
            Verdict::Pending(_) => BETWEEN_LOOKS,
        };
        if matches!(verdict, Verdict::Broken(_)) {
            tries += 1;
        }
        tokio::time::sleep(wait).await;
    }
}

pub(super) fn find(name: &str) -> Result<&'static actions::Entry, ActionError> {
    actions::find(name).ok_or_else(|| {
        ActionError::new(Kind::Failed, format!("this version has no action `{name}`"))
    })
}

pub(super) fn fenced(response: &Response) -> HubError {
    HubError::Transient(format!("another worker took response `{}` over", response.id))
}
