//! Carrying out what is planned, phase by phase, and going on where a worker stopped.

use std::sync::Arc;
use std::time::Duration;

use firebreak_model::error::{ActionError, Kind};
use firebreak_spoke::account::Account;
use firebreak_spoke::actions::{self, Phase, Scope, Verdict};
use firebreak_spoke::seen::Seen;
use futures::future::join_all;
use jiff::SignedDuration;
use tracing::{instrument, warn};

use super::Responder;
use super::observe::At;
use firebreak_aws::deadline::Deadline;
use firebreak_aws::error::HubError;
use firebreak_aws::ledger::Written;
use firebreak_policy::ActionCall;
use firebreak_response::audit_event::{Event, What};
use firebreak_response::outbox::Outgoing;
use firebreak_response::plan;
use firebreak_response::record::{Response, State, Step, StepState};
use firebreak_response::target::Entry;

/// How often a verification is read before it counts as broken: IAM and EC2
/// are eventually consistent.
const VERIFICATIONS: u32 = 4;
const BETWEEN_VERIFICATIONS: Duration = Duration::from_millis(1_500);

/// How long a worker stays with a step whose work is under way in the member
/// account, and how often it looks. Afterwards the sweep goes on.
const PENDING_AT_MOST: Duration = Duration::from_secs(15);
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// What a wave of steps needs at least: two changes, read back.
const WAVE: Duration = Duration::from_secs(10);

/// For how long a response is taken up again and again. What has not ended then
/// has failed.
const GIVE_UP_AFTER: SignedDuration = SignedDuration::from_hours(24);

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

/// Why a step did not come to an end.
#[derive(Clone, Debug)]
enum Interruption {
    /// Its work is under way in the member account.
    Pending(String),
    /// A passing failure.
    Failed(ActionError),
}

impl Interruption {
    fn message(&self) -> String {
        match self {
            Self::Pending(why) => why.clone(),
            Self::Failed(error) => error.to_string(),
        }
    }
}

/// How far a response was carried out.
pub(super) struct Carried {
    pub(super) response: Response,
    /// From receipt to the attacker being cut off, where that was in this run.
    pub(super) contained_after: Option<Duration>,
    /// What is to be told now.
    pub(super) outgoing: Vec<Outgoing>,
}

impl Responder {
    /// Carries out what is planned, phase by phase, and records how each ended.
    /// What needs longer is handed over to the sweep.
    ///
    /// # Errors
    ///
    /// `Transient` when a passing failure interrupted it, after recording so:
    /// the next delivery or the sweep goes on, whoever comes first.
    #[instrument(name = "carry-out", skip_all, fields(response.id = %response.id))]
    pub(super) async fn carry_out(
        &self,
        mut response: Response,
        entry: &mut Entry,
        session: Result<Option<Arc<Account>>, ActionError>,
        received: tokio::time::Instant,
    ) -> Result<Carried, HubError> {
        let mut contained_after = None;
        let mut interrupted = None;
        let names: Vec<String> = response.steps.iter().map(|it| it.action.clone()).collect();
        Box::pin(self.complete_plan(&mut response)).await?;
        for (phase, waiting) in WAVES {
            if phase == Phase::End && interrupted.is_none() {
                hold_back(&mut response);
            }
            if phase == Phase::End && interrupted.is_some() {
                // What is under way may still need the resource.
                continue;
            }
            let now = |step: &Step| {
                (step.phase, plan::waits(&step.action, &names, actions::catalog()))
                    == (phase, waiting)
                    && step.state == StepState::Planned
            };
            if !response.steps.iter().any(now) {
                continue;
            }
            if !self.deadline.allows(WAVE) {
                // What is not begun cannot be cut off half-way.
                let why = "the invocation's time is over".to_owned();
                interrupted.get_or_insert(Interruption::Pending(why));
                break;
            }
            if response.lease_until.is_none_or(|until| until <= self.now()) {
                // Somebody else may be at it by now: nothing more is changed.
                return Err(fenced(&response));
            }
            let was_cut_off = response.is_cut_off();
            let ended = Box::pin(self.carry_out_wave(&mut response, &session, now)).await;
            interrupted = interrupted.or(ended);
            if phase == Phase::Contain && !was_cut_off && response.is_cut_off() {
                contained_after = Some(received.elapsed());
            }
            let more =
                response.steps.iter().filter(|step| step.state == StepState::Planned).any(|step| {
                    (step.phase, plan::waits(&step.action, &names, actions::catalog()))
                        > (phase, waiting)
                });
            if more {
                self.record(&mut response).await?;
            }
        }
        if let Some(interruption) = interrupted {
            let began = response.began.unwrap_or(response.created);
            if self.now().duration_since(began) < GIVE_UP_AFTER {
                let outgoing =
                    Box::pin(self.hand_over(&mut response, entry, &interruption)).await?;
                return match interruption {
                    Interruption::Pending(_) => Ok(Carried { response, contained_after, outgoing }),
                    Interruption::Failed(error) => {
                        Box::pin(self.tell(&response, outgoing)).await;
                        Err(HubError::Transient(error.to_string()))
                    }
                };
            }
            for step in response.steps.iter_mut().filter(|it| it.state == StepState::Planned) {
                step.state = StepState::Failed;
                step.detail = format!("given up after a day: {}", interruption.message());
            }
        }
        let (state, reason) = response.result();
        let outgoing = Box::pin(self.end(&mut response, entry, state, reason)).await?;
        Ok(Carried { response, contained_after, outgoing })
    }

    /// Records how far it is, and takes the lease anew with it.
    async fn record(&self, response: &mut Response) -> Result<(), HubError> {
        let now = self.now();
        response.revision += 1;
        response.updated = now;
        response.lease_until = Some(now + self.settings.lease);
        response.due = response.lease_until;
        let commit = self.ledger.commit(now).record(response)?;
        match commit.write().await? {
            Written::Yes => Ok(()),
            Written::Lost | Written::Spent => Err(fenced(response)),
        }
    }

    /// Observes what could not be observed when the plan was made, under the same
    /// guardrails, and records it: nothing is changed whose prior state is not on
    /// record.
    async fn complete_plan(&self, response: &mut Response) -> Result<(), HubError> {
        let unseen = |step: &Step| step.state == StepState::Planned && step.prior.is_null();
        if !response.steps.iter().any(unseen) {
            return Ok(());
        }
        let policy = self.policies.current().await?;
        let place = self.organization.place(&response.resource.account).await?;
        let read = Seen::default();
        let at = At { policy: &policy, place: &place, seen: &read };
        let call = |step: &Step| ActionCall {
            name: step.action.clone(),
            parameters: step.parameters.clone(),
        };
        let calls: Vec<ActionCall> =
            response.steps.iter().filter(|step| unseen(step)).map(call).collect();
        let id = response.id.as_str();
        let observed = self.observe_calls(&response.resource, id, &response.finding, &calls, at);
        for seen in plan::steps(Box::pin(observed).await, actions::catalog()) {
            let mut steps = response.steps.iter_mut().filter(|step| unseen(step));
            if let Some(step) = steps.find(|step| step.action == seen.action) {
                *step = seen;
            }
        }
        self.record(response).await
    }

    /// Carries out the planned steps that `now` picks, side by side.
    async fn carry_out_wave(
        &self,
        response: &mut Response,
        session: &Result<Option<Arc<Account>>, ActionError>,
        now: impl Fn(&Step) -> bool,
    ) -> Option<Interruption> {
        let (id, finding) = (response.id.clone(), response.finding.clone());
        let resource = response.resource.clone();
        let steps = response.steps.iter_mut().filter(|step| now(step));
        let ended = join_all(steps.map(|step| async {
            match session {
                Ok(Some(account)) => {
                    let seen = Seen::default();
                    let scope = self.scope(account, &resource, id.as_str(), &finding, &seen);
                    carry_out_step(scope, step, &self.deadline).await
                }
                Ok(None) => Ok(()),
                Err(error) if error.kind == Kind::Transient => {
                    Err(Interruption::Failed(error.clone()))
                }
                Err(error) => {
                    step.state = StepState::Failed;
                    step.detail = error.to_string();
                    Ok(())
                }
            }
        }))
        .await;
        ended.into_iter().find_map(Result::err)
    }

    /// Hands an interrupted response over: to the finding's next delivery, which
    /// may resume at once what failed, and to the sweep, which goes on with
    /// what needs time. The first time, people are told how far it is.
    async fn hand_over(
        &self,
        response: &mut Response,
        entry: &mut Entry,
        interruption: &Interruption,
    ) -> Result<Vec<Outgoing>, HubError> {
        // Once that it waits, and once that the attacker is cut off.
        let first = response.waiting.is_none() || (response.is_cut_off() && !response.told_cut_off);
        response.told_cut_off = response.is_cut_off();
        let now = self.now();
        response.revision += 1;
        response.updated = now;
        response.lease_until = Some(now);
        response.due = Some(now + wait_after(response.tries));
        response.tries = response.tries.saturating_add(1);
        response.waiting = Some(interruption.message());
        entry.lease_until = response.lease_until;
        // Once all that contains has ended, the rest is in nobody's way.
        entry.waiting = !response
            .steps
            .iter()
            .any(|step| step.phase == Phase::Contain && step.state == StepState::Planned);
        let outgoing = if first { Outgoing::of(response, &self.channels, now) } else { Vec::new() };
        let commit = self.ledger.commit(now).advance(response, entry)?.send(&outgoing)?;
        if commit.write().await? != Written::Yes {
            return Err(fenced(response));
        }
        let why = interruption.message();
        warn!(response.id = %response.id, "`{}` goes on later: {why}", response.id);
        Ok(outgoing)
    }

    /// Records the end of a run: the state, what is to be told, and that it was
    /// so. Returns what is to be told.
    pub(super) async fn end(
        &self,
        response: &mut Response,
        entry: &mut Entry,
        state: State,
        reason: String,
    ) -> Result<Vec<Outgoing>, HubError> {
        let now = self.now();
        response
            .become_state(state, reason, now)
            .map_err(|error| HubError::Failed(error.to_string()))?;
        response.ends = match state {
            State::Contained | State::Completed | State::PartiallyContained => {
                response.ends.or(response.expires.map(|after| now + after))
            }
            // Half a change that was left has to end as well.
            State::Failed if response.steps.iter().any(super::undo::may_have_changed) => {
                response.ends.or(response.expires.map(|after| now + after))
            }
            State::Failed | State::Undone | State::Expired => None,
            State::Observed
            | State::Refused
            | State::AwaitingApproval
            | State::Denied
            | State::Running
            | State::Undoing => response.ends,
        };
        response.due = response.ends;
        let failed_end = response.undo.as_ref().is_some_and(|undo| undo.by == super::undo::EXPIRY)
            && state.holds_resource();
        if failed_end {
            // Tried again, and told once.
            response.due = Some(now + wait_after(response.tries));
            response.tries = response.tries.saturating_add(1);
        }
        entry.state = state;
        entry.lease_until = None;
        entry.waiting = false;
        let outgoing = match failed_end && response.tries > 1 {
            true => Vec::new(),
            false => Outgoing::of(response, &self.channels, now),
        };
        let event = Event::of(What::Became, response, &self.identity().await, &response.reason);
        let commit = self.ledger.commit(now).advance(response, entry)?;
        match commit.event(&event)?.send(&outgoing)?.write().await? {
            Written::Yes => Ok(outgoing),
            Written::Lost | Written::Spent => Err(fenced(response)),
        }
    }
}

/// How long the sweep waits after so many tries: 15 seconds, then twice as long
/// each time, up to 10 minutes.
fn wait_after(tries: u32) -> SignedDuration {
    SignedDuration::from_secs(15_i64.saturating_mul(1 << tries.min(6)).min(600))
}

/// Observes if the record has no prior state yet, applies, verifies. An error
/// is a passing one: the step stays planned for the next delivery.
async fn carry_out_step(
    scope: Scope<'_>,
    step: &mut Step,
    deadline: &Deadline,
) -> Result<(), Interruption> {
    match try_step(scope, step, deadline).await {
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
            Err(Interruption::Pending(format!("{} is still under way: {seen}", step.action)))
        }
        Err(error) => match error.kind {
            Kind::Transient => Err(Interruption::Failed(error)),
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

async fn try_step(
    scope: Scope<'_>,
    step: &mut Step,
    deadline: &Deadline,
) -> Result<Verdict, ActionError> {
    let action = find(&step.action)?;
    if step.prior.is_null() {
        let why = format!("the state before {} could not be read", step.action);
        return Err(ActionError::new(Kind::Transient, why));
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
            Verdict::Pending(_)
                if began.elapsed() >= PENDING_AT_MOST || !deadline.allows(BETWEEN_LOOKS) =>
            {
                return Ok(verdict);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_twice_the_one_before_up_to_ten_minutes() {
        let waits: Vec<i64> = (0..9).map(|tries| wait_after(tries).as_secs()).collect();
        assert_eq!(waits, [15, 30, 60, 120, 240, 480, 600, 600, 600]);
        assert_eq!(wait_after(u32::MAX).as_secs(), 600);
    }
}
