//! Answering a plan that waits for a person.
//!
//! # Guarantees
//!
//! - What is carried out is what was approved: where the resource has changed
//!   so that other changes would be made, the new plan is recorded and has to
//!   be approved anew.
//! - Guardrails that came since hold: a target that is protected by now, a
//!   ceiling below `approve`, a pause.

use firebreak_spoke::actions;
use firebreak_spoke::seen::Seen;

use super::Responder;
use super::carry_out::fenced;
use super::observe::At;
use firebreak_aws::error::HubError;
use firebreak_aws::ledger::{Counter, Written};
use firebreak_policy::{ActionCall, Mode, Policy};
use firebreak_response::audit_event::{Event, What};
use firebreak_response::outbox::Outgoing;
use firebreak_response::plan;
use firebreak_response::record::{Answer, Response, ResponseId, State, StepState, Verdict};
use firebreak_response::switches;
use firebreak_response::target::Entry;

/// Who answers where nobody did in time.
pub(super) const POLICY: &str = "policy";

impl Responder {
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
        seen: Option<u64>,
    ) -> Result<Response, HubError> {
        let response = self.awaiting(id).await?;
        if seen.is_some_and(|seen| seen != response.revision) {
            return Err(HubError::Refused(format!(
                "`{id}` has changed since it was shown\nhelp: look at it with `firebreak responses show {id}`, and approve it again"
            )));
        }
        let entry = self.entry_of(&response).await?;
        let by = self.caller().await?;
        let now = self.now();
        let switches = self.ledger.switches().await?;
        if let Some((scope, pause)) = switches.paused(&response.place(), Some(&response.rule), now)
        {
            return Err(HubError::Refused(format!(
                "`{id}` cannot be carried out: {}\nhelp: `firebreak resume` ends the pause",
                switches::told(scope, pause)
            )));
        }
        let answer = Answer { verdict: Verdict::Approved, by, at: now, reason };
        Box::pin(self.carry_out_approved(response, entry, answer, &[])).await
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
        let answer = Answer { verdict: Verdict::Denied, by, at: self.now(), reason };
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
        entry: &mut Entry,
        answer: Answer,
    ) -> Result<(), HubError> {
        let now = self.now();
        let why = told("denied", &answer);
        response
            .become_state(State::Denied, why.clone(), now)
            .map_err(|error| HubError::Refused(error.to_string()))?;
        entry.state = State::Denied;
        let event = Event::of(What::Denied, response, &answer.by, &why);
        if let Some(approval) = &mut response.approval {
            approval.answer = Some(answer);
        }
        let outgoing = Outgoing::of(response, &self.channels, now);
        let commit = self.ledger.commit(now).advance(response, entry)?.event(&event)?;
        if commit.send(&outgoing)?.write().await? != Written::Yes {
            return Err(fenced(response));
        }
        Box::pin(self.tell(response, outgoing)).await;
        Ok(())
    }

    /// Carries out what was approved, by a person or, drawing on budgets, by
    /// the policy.
    pub(super) async fn carry_out_approved(
        &self,
        mut response: Response,
        mut entry: Entry,
        answer: Answer,
        counters: &[Counter],
    ) -> Result<Response, HubError> {
        let policy = self.policies.current().await?;
        let mode = if answer.by == POLICY { Mode::Auto } else { Mode::Approve };
        Box::pin(self.plan_again(&mut response, &mut entry, &policy, mode)).await?;
        if self.is_paused(&response).await? {
            return Err(HubError::Transient(format!("`{}` was paused meanwhile", response.id)));
        }
        let why = told("approved", &answer);
        let (by, now) = (answer.by.clone(), self.now());
        response
            .become_state(State::Running, why.clone(), now)
            .map_err(|error| HubError::Refused(error.to_string()))?;
        entry.state = State::Running;
        if let Some(approval) = &mut response.approval {
            approval.answer = Some(answer);
        }
        self.lease(&mut response, &mut entry);
        let event = Event::of(What::Approved, &response, &by, &why);
        let commit = self.ledger.commit(now).advance(&response, &entry)?.event(&event)?;
        if commit.draw(counters)?.write().await? != Written::Yes {
            return Err(fenced(&response));
        }
        let session = self.changing_session(&response).await;
        let received = tokio::time::Instant::now();
        let carried = Box::pin(self.carry_out(response, &mut entry, session, received)).await?;
        Box::pin(self.tell(&carried.response, carried.outgoing)).await;
        Ok(carried.response)
    }

    /// Looks again at what the plan would change. The same changes with another
    /// prior state are carried out from that; other changes are another plan.
    async fn plan_again(
        &self,
        response: &mut Response,
        entry: &mut Entry,
        policy: &Policy,
        mode: Mode,
    ) -> Result<(), HubError> {
        let read = Seen::default();
        let place = self.organization.place(&response.resource.account).await?;
        let tags = self.tags(&response.resource, &read).await?;
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
        let at = At { policy, place: &place, seen: &read };
        let observed = self
            .observe_calls(&response.resource, response.id.as_str(), &response.finding, &calls, at)
            .await;
        let steps = plan::steps(observed, actions::catalog());
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
        let event = Event::of(What::Became, response, &self.identity().await, why);
        let commit = self.ledger.commit(now).advance(response, entry)?.event(&event)?;
        if commit.write().await? != Written::Yes {
            return Err(fenced(response));
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
        entry: &mut Entry,
        why: &str,
    ) -> Result<(), HubError> {
        let outgoing = Box::pin(self.end(response, entry, State::Refused, why.to_owned())).await?;
        Box::pin(self.tell(response, outgoing)).await;
        Err(HubError::Refused(format!("`{}` is refused: {why}", response.id)))
    }
}

fn told(word: &str, answer: &Answer) -> String {
    let why = answer.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{word} by {}{why}", answer.by)
}
