//! Executes a plan, phase by phase.

use std::sync::Arc;
use std::time::Duration;

use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_spoke::account::AccountSession;
use firebreak_spoke::contract::{ActionContext, Phase, Verification};
use firebreak_spoke::read_cache::ReadCache;
use firebreak_spoke::registry;
use futures::future::join_all;
use jiff::SignedDuration;
use tracing::{instrument, warn};

use super::Engine;
use super::capture::At;
use firebreak_aws::deadline::Deadline;
use firebreak_aws::error::HubError;
use firebreak_aws::store::Written;
use firebreak_policy::ActionCall;
use firebreak_response::audit_event::{AuditEvent, AuditKind};
use firebreak_response::outbox::OutboxItem;
use firebreak_response::plan;
use firebreak_response::record::{Response, State, Step, StepState};
use firebreak_response::target::TargetEntry;

/// How often a step is verified before it counts as failed: IAM and EC2 are
/// eventually consistent.
const VERIFICATIONS: u32 = 4;
const BETWEEN_VERIFICATIONS: Duration = Duration::from_millis(1_500);

/// How long a worker waits for work in progress in the member account, and how
/// often it polls. After that the sweep continues.
const PENDING_AT_MOST: Duration = Duration::from_secs(15);
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// The least time that a wave of steps needs: two changes and their verification.
const WAVE: Duration = Duration::from_secs(10);

/// How long a response is retried. What has not ended by then has failed.
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

/// A resource is not ended before its evidence is kept: steps of the end phase
/// fail if a protect or collect step failed.
fn skip_end_steps_without_evidence(response: &mut Response) {
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

/// Why a step was interrupted.
#[derive(Clone, Debug)]
enum Interruption {
    /// Its work is in progress in the member account.
    Pending(String),
    /// A transient failure.
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

/// The result of executing a response.
pub(super) struct Execution {
    pub(super) response: Response,
    /// From receipt to the attacker being cut off, where that was in this run.
    pub(super) contained_after: Option<Duration>,
    /// The outbox items to deliver now.
    pub(super) outbox_items: Vec<OutboxItem>,
}

impl Engine {
    /// Carries out what is planned, phase by phase, and records how each ended.
    /// What needs longer is handed over to the sweep.
    ///
    /// # Errors
    ///
    /// `Transient` when a passing failure interrupted it, after recording so:
    /// the next delivery or the sweep goes on, whoever comes first.
    #[instrument(name = "carry-out", skip_all, fields(response.id = %response.id))]
    pub(super) async fn execute(
        &self,
        mut response: Response,
        entry: &mut TargetEntry,
        session: Result<Option<Arc<AccountSession>>, ActionError>,
        received: tokio::time::Instant,
    ) -> Result<Execution, HubError> {
        let mut contained_after = None;
        let mut interrupted = None;
        let names: Vec<String> = response.steps.iter().map(|it| it.action.clone()).collect();
        Box::pin(self.complete_plan(&mut response)).await?;
        for (phase, waiting) in WAVES {
            if phase == Phase::End && interrupted.is_none() {
                skip_end_steps_without_evidence(&mut response);
            }
            if phase == Phase::End && interrupted.is_some() {
                // Work in progress may still need the resource.
                continue;
            }
            let now = |step: &Step| {
                (step.phase, plan::waits(&step.action, &names, registry::catalog()))
                    == (phase, waiting)
                    && step.state == StepState::Planned
            };
            if !response.steps.iter().any(now) {
                continue;
            }
            if !self.deadline.allows(WAVE) {
                // What is not begun cannot be interrupted half-way.
                let why = "the invocation ran out of time".to_owned();
                interrupted.get_or_insert(Interruption::Pending(why));
                break;
            }
            if response.lease_until.is_none_or(|until| until <= self.now()) {
                // Another worker may have the lease by now: nothing more is changed.
                return Err(lease_lost(&response));
            }
            let was_contained = response.is_contained();
            let ended = Box::pin(self.execute_wave(&mut response, &session, now)).await;
            interrupted = interrupted.or(ended);
            if phase == Phase::Contain && !was_contained && response.is_contained() {
                contained_after = Some(received.elapsed());
            }
            let more =
                response.steps.iter().filter(|step| step.state == StepState::Planned).any(|step| {
                    (step.phase, plan::waits(&step.action, &names, registry::catalog()))
                        > (phase, waiting)
                });
            if more {
                self.record(&mut response).await?;
            }
        }
        if let Some(interruption) = interrupted {
            let began = response.began.unwrap_or(response.created);
            if self.now().duration_since(began) < GIVE_UP_AFTER {
                let outbox_items =
                    Box::pin(self.hand_to_sweep(&mut response, entry, &interruption)).await?;
                return match interruption {
                    Interruption::Pending(_) => {
                        Ok(Execution { response, contained_after, outbox_items })
                    }
                    Interruption::Failed(error) => {
                        Box::pin(self.deliver_outbox(&response, outbox_items)).await;
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
        let outbox_items = Box::pin(self.end(&mut response, entry, state, reason)).await?;
        Ok(Execution { response, contained_after, outbox_items })
    }

    /// Records progress and renews the lease.
    async fn record(&self, response: &mut Response) -> Result<(), HubError> {
        let now = self.now();
        response.revision += 1;
        response.updated = now;
        response.lease_until = Some(now + self.settings.lease);
        response.due = response.lease_until;
        let commit = self.store.commit(now).record(response)?;
        match commit.write().await? {
            Written::Yes => Ok(()),
            Written::Lost | Written::Spent => Err(lease_lost(response)),
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
        let cache = ReadCache::default();
        let at = At { policy: &policy, place: &place, cache: &cache };
        let call = |step: &Step| ActionCall {
            name: step.action.clone(),
            parameters: step.parameters.clone(),
        };
        let calls: Vec<ActionCall> =
            response.steps.iter().filter(|step| unseen(step)).map(call).collect();
        let id = response.id.as_str();
        let observed = self.capture_calls(&response.resource, id, &response.finding, &calls, at);
        for captured in plan::steps(Box::pin(observed).await, registry::catalog()) {
            let mut steps = response.steps.iter_mut().filter(|step| unseen(step));
            if let Some(step) = steps.find(|step| step.action == captured.action) {
                *step = captured;
            }
        }
        self.record(response).await
    }

    /// Carries out the planned steps that `now` picks, side by side.
    async fn execute_wave(
        &self,
        response: &mut Response,
        session: &Result<Option<Arc<AccountSession>>, ActionError>,
        now: impl Fn(&Step) -> bool,
    ) -> Option<Interruption> {
        let (id, finding) = (response.id.clone(), response.finding.clone());
        let resource = response.resource.clone();
        let steps = response.steps.iter_mut().filter(|step| now(step));
        let ended = join_all(steps.map(|step| async {
            match session {
                Ok(Some(account)) => {
                    let cache = ReadCache::default();
                    let context =
                        self.action_context(account, &resource, id.as_str(), &finding, &cache);
                    execute_step(context, step, &self.deadline).await
                }
                Ok(None) => Ok(()),
                Err(error) if error.kind == ErrorKind::Transient => {
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

    /// Hands an interrupted response to the finding's next delivery, which may
    /// recover it at once, and to the sweep. The first time, a notice says how
    /// far it is.
    async fn hand_to_sweep(
        &self,
        response: &mut Response,
        entry: &mut TargetEntry,
        interruption: &Interruption,
    ) -> Result<Vec<OutboxItem>, HubError> {
        // One notice that it waits, and one that the target is contained.
        let first = response.waiting.is_none()
            || (response.is_contained() && !response.containment_reported);
        response.containment_reported = response.is_contained();
        let now = self.now();
        response.revision += 1;
        response.updated = now;
        response.lease_until = Some(now);
        response.due = Some(now + wait_after(response.tries));
        response.tries = response.tries.saturating_add(1);
        response.waiting = Some(interruption.message());
        entry.lease_until = response.lease_until;
        // Once the contain phase has ended, the rest blocks nobody.
        entry.waiting = !response
            .steps
            .iter()
            .any(|step| step.phase == Phase::Contain && step.state == StepState::Planned);
        let outbox_items =
            if first { OutboxItem::of(response, &self.channels, now) } else { Vec::new() };
        let commit = self.store.commit(now).advance(response, entry)?.send(&outbox_items)?;
        if commit.write().await? != Written::Yes {
            return Err(lease_lost(response));
        }
        let why = interruption.message();
        warn!(response.id = %response.id, "`{}` continues later: {why}", response.id);
        Ok(outbox_items)
    }

    /// Records the end of a run: the state, the outbox items and the audit event.
    /// Returns the outbox items.
    pub(super) async fn end(
        &self,
        response: &mut Response,
        entry: &mut TargetEntry,
        state: State,
        reason: String,
    ) -> Result<Vec<OutboxItem>, HubError> {
        let now = self.now();
        response
            .transition_to(state, reason, now)
            .map_err(|error| HubError::Failed(error.to_string()))?;
        response.ends = match state {
            State::Contained | State::Completed | State::PartiallyContained => {
                response.ends.or(response.expires.map(|after| now + after))
            }
            // A half-made change expires as well.
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
            && state.may_have_changed_resource();
        if failed_end {
            // Retried, with one notice.
            response.due = Some(now + wait_after(response.tries));
            response.tries = response.tries.saturating_add(1);
        }
        entry.state = state;
        entry.lease_until = None;
        entry.waiting = false;
        let outbox_items = match failed_end && response.tries > 1 {
            true => Vec::new(),
            false => OutboxItem::of(response, &self.channels, now),
        };
        let event = AuditEvent::of(
            AuditKind::StateChanged,
            response,
            &self.identity().await,
            &response.reason,
        );
        let commit = self.store.commit(now).advance(response, entry)?;
        match commit.event(&event)?.send(&outbox_items)?.write().await? {
            Written::Yes => Ok(outbox_items),
            Written::Lost | Written::Spent => Err(lease_lost(response)),
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
async fn execute_step(
    context: ActionContext<'_>,
    step: &mut Step,
    deadline: &Deadline,
) -> Result<(), Interruption> {
    match try_step(context, step, deadline).await {
        Ok(Verification::InEffect(detail)) => {
            step.state = StepState::Done;
            step.detail = detail;
            Ok(())
        }
        Ok(Verification::NotInEffect(detail)) => {
            step.state = StepState::Failed;
            step.detail = format!("{} is not in effect: {detail}", step.action);
            Ok(())
        }
        Ok(Verification::InProgress(detail)) => {
            Err(Interruption::Pending(format!("{} is still in progress: {detail}", step.action)))
        }
        Err(error) => match error.kind {
            ErrorKind::Transient => Err(Interruption::Failed(error)),
            ErrorKind::NotApplicable => {
                step.state = StepState::Skipped;
                step.detail = error.to_string();
                Ok(())
            }
            ErrorKind::Refused | ErrorKind::Gone | ErrorKind::Denied | ErrorKind::Failed => {
                step.state = StepState::Failed;
                step.detail = error.to_string();
                Ok(())
            }
        },
    }
}

async fn try_step(
    context: ActionContext<'_>,
    step: &mut Step,
    deadline: &Deadline,
) -> Result<Verification, ActionError> {
    let action = find(&step.action)?;
    if step.prior.is_null() {
        let why = format!("the state before {} could not be read", step.action);
        return Err(ActionError::new(ErrorKind::Transient, why));
    }
    if !step.changes.is_empty() {
        action.apply(context, &step.parameters, &step.prior).await?;
    }
    let began = tokio::time::Instant::now();
    let mut tries = 1;
    loop {
        let verdict = action.verify(context, &step.parameters, &step.prior).await?;
        let wait = match &verdict {
            Verification::InEffect(_) => return Ok(verdict),
            Verification::NotInEffect(_) if tries == VERIFICATIONS => return Ok(verdict),
            Verification::NotInEffect(_) => BETWEEN_VERIFICATIONS,
            Verification::InProgress(_)
                if began.elapsed() >= PENDING_AT_MOST || !deadline.allows(BETWEEN_LOOKS) =>
            {
                return Ok(verdict);
            }
            Verification::InProgress(_) => BETWEEN_LOOKS,
        };
        if matches!(verdict, Verification::NotInEffect(_)) {
            tries += 1;
        }
        tokio::time::sleep(wait).await;
    }
}

pub(super) fn find(name: &str) -> Result<&'static registry::RegisteredAction, ActionError> {
    registry::find(name).ok_or_else(|| {
        ActionError::new(ErrorKind::Failed, format!("this version has no action `{name}`"))
    })
}

pub(super) fn lease_lost(response: &Response) -> HubError {
    HubError::Transient(format!("another worker took over response `{}`", response.id))
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
