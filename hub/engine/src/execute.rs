//! Executes a plan, phase by phase.

use std::sync::Arc;
use std::time::Duration;

use firebreak_client::rate_limit::Urgency;
use firebreak_model::action::Residual;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_spoke::account::AccountSession;
use firebreak_spoke::contract::{ActionContext, Phase, Verification};
use firebreak_spoke::read_cache::ReadCache;
use firebreak_spoke::registry;
use futures::FutureExt;
use futures::future::{Either, join_all, select};
use jiff::SignedDuration;
use serde_json::Value;
use tracing::{instrument, warn};

use super::deliver::Deliverer;
use super::member_accounts::{At, MemberAccounts, urgency};
use super::recorder::{Recorder, lease_lost};
use firebreak_aws::deadline::Deadline;
use firebreak_aws::error::HubError;
use firebreak_aws::organization::Organization;
use firebreak_aws::policies::Policies;
use firebreak_policy::ActionCall;
use firebreak_response::outbox::OutboxItem;
use firebreak_response::plan::{self, Part};
use firebreak_response::record::{PriorState, Response, Step, StepState, is_contained, residual};
use firebreak_response::transition::{Event, Record};

/// How often a step is verified before it counts as failed: IAM and EC2 are
/// eventually consistent.
const VERIFICATIONS: u32 = 4;
const VERIFICATION_INTERVAL: Duration = Duration::from_millis(1_500);

/// How long a worker waits for work in progress in the member account, and how
/// often it polls. After that the sweep continues.
const MAX_WAIT: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The least time that a part of a phase needs: two changes and their verification.
const PART_TIME: Duration = Duration::from_secs(10);

/// How long a response is retried. What has not ended by then has failed.
const GIVE_UP_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// The phases in their order.
const PHASES: [Phase; 4] = [Phase::Contain, Phase::Protect, Phase::Collect, Phase::End];

/// The parts of a phase in their order.
const PARTS: [Part; 3] = [Part::First, Part::Waiting, Part::IfResidual];

/// Each phase in its parts.
fn parts() -> impl Iterator<Item = (Phase, Part)> {
    PHASES.into_iter().flat_map(|phase| PARTS.map(|part| (phase, part)))
}

/// Whether what may stay open after a verified step was not read yet.
fn is_unread(step: &Step) -> bool {
    step.phase == Phase::Contain && step.state == StepState::Done && step.residual.is_none()
}

/// Whether a step that contains whatever stays open has still to end.
fn contains_still(steps: &[Step]) -> bool {
    steps.iter().any(|step| {
        step.phase == Phase::Contain && !step.if_residual && step.state == StepState::Planned
    })
}

/// The action that closes what its document does, which only its author knows.
const RUN_AUTOMATION: &str = "run-automation";

/// Skips the planned steps of a phase that depend on what stays open, where there is nothing
/// for them to do: a containing one is for paths that it closes, or that no action does. A
/// containing step that failed leaves something open.
fn skip_what_nothing_needs(steps: &mut [Step], phase: Phase) {
    let failed =
        |step: &Step| step.is_containing() && !step.if_residual && step.state == StepState::Failed;
    if steps.iter().any(failed) {
        return;
    }
    let open: Vec<Residual> = residual(steps).into_iter().cloned().collect();
    let closes = |step: &Step, residual: &Residual| {
        !step.is_containing()
            || step.action == RUN_AUTOMATION
            || residual.closed_by.is_empty()
            || residual.closed_by.contains(&step.action)
    };
    let needless = |step: &&mut Step| {
        step.if_residual
            && step.phase == phase
            && step.state == StepState::Planned
            && !open.iter().any(|residual| closes(step, residual))
    };
    for step in steps.iter_mut().filter(needless) {
        step.state = StepState::Skipped;
        "not needed: nothing was found open that it closes".clone_into(&mut step.detail);
    }
}

/// Steps of the phase `end` fail if a protecting or collecting step failed: the
/// evidence would be lost with the resource.
fn skip_end_steps_without_evidence(steps: &mut [Step]) {
    let kept = |step: &&Step| matches!(step.phase, Phase::Protect | Phase::Collect);
    let failed: Vec<String> = steps
        .iter()
        .filter(kept)
        .filter(|step| step.state == StepState::Failed)
        .map(|step| step.action.clone())
        .collect();
    if failed.is_empty() {
        return;
    }
    let planned = |step: &&mut Step| step.phase == Phase::End && step.state == StepState::Planned;
    for step in steps.iter_mut().filter(planned) {
        step.state = StepState::Failed;
        step.detail = format!("not executed, because {} failed", failed.join(", "));
    }
}

/// The calls of planned steps whose prior state is not captured.
fn calls_without_prior_state(steps: &[Step], of: impl Fn(&Step) -> bool) -> Vec<ActionCall> {
    let missing =
        |step: &&Step| step.state == StepState::Planned && step.prior == PriorState::NotCaptured;
    steps.iter().filter(missing).filter(|step| of(step)).map(plan::call).collect()
}

/// Puts captured steps in the places of those whose prior state was missing.
fn put_captured(steps: &mut [Step], captured: Vec<Step>) {
    for captured in captured {
        let missing = |step: &&mut Step| {
            step.state == StepState::Planned
                && step.prior == PriorState::NotCaptured
                && step.action == captured.action
        };
        if let Some(step) = steps.iter_mut().find(missing) {
            *step = captured;
        }
    }
}

/// Runs `work`, and `other` for as long as that takes; `None` if it has not ended by then.
async fn meanwhile<A, B>(
    work: impl Future<Output = A> + Unpin,
    other: impl Future<Output = B> + Unpin,
) -> (A, Option<B>) {
    match select(work, other).await {
        Either::Left((work, other)) => (work, other.now_or_never()),
        Either::Right((other, work)) => (work.await, Some(other)),
    }
}

/// Fails the planned steps that were retried for too long. Where steps that depend on what
/// stays open have waited for one of them, these are left for the next run: `true`.
fn give_up(steps: &mut [Step], interruption: &Interruption) -> bool {
    let conditional = |step: &Step| step.if_residual && step.state == StepState::Planned;
    let executes_more = contains_still(steps) && steps.iter().any(conditional);
    let given_up =
        |step: &&mut Step| step.state == StepState::Planned && !(executes_more && step.if_residual);
    for step in steps.iter_mut().filter(given_up) {
        step.state = StepState::Failed;
        step.detail = format!("given up after a day: {}", interruption.message());
    }
    if !executes_more {
        for step in steps.iter_mut().filter(|step| is_unread(step)) {
            let what = format!("what {} leaves open could not be read", step.action);
            step.residual = Some(vec![Residual::new("unknown", what, &[])]);
        }
    }
    executes_more
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

/// The result of executing or undoing a response.
pub(super) struct Execution {
    pub(super) record: Record,
    /// The time from receipt to containment, if the target was contained in this run.
    pub(super) contained_after: Option<Duration>,
    /// The outbox items to deliver now.
    pub(super) outbox_items: Vec<OutboxItem>,
}

impl Execution {
    pub(super) fn response(&self) -> &Response {
        &self.record.response
    }
}

/// Executes plans.
#[derive(Clone, Debug)]
pub(super) struct Executor {
    pub(super) recorder: Recorder,
    pub(super) members: MemberAccounts,
    pub(super) policies: Arc<Policies>,
    pub(super) organization: Arc<Organization>,
    pub(super) deliverer: Deliverer,
    pub(super) deadline: Deadline,
}

impl Executor {
    /// Executes the planned steps phase by phase, and records how each ended. What
    /// needs longer is handed over to the sweep. `cache` is what was read of the target in
    /// this run.
    ///
    /// # Errors
    ///
    /// `Transient` when a transient failure interrupted it, after that was recorded:
    /// the next delivery or the sweep continues, whichever comes first.
    #[instrument(name = "execute", skip_all, fields(response.id = %record.response.id))]
    pub(super) async fn execute(
        &self,
        mut record: Record,
        session: Result<Option<Arc<AccountSession>>, ActionError>,
        received: tokio::time::Instant,
        cache: &ReadCache,
    ) -> Result<Execution, HubError> {
        let mut contained_after = None;
        let mut interrupted = None;
        let mut steps = record.response.steps.clone();
        let names: Vec<String> = steps.iter().map(|it| it.action.clone()).collect();
        for (phase, part) in parts() {
            if phase > Phase::Contain || part == Part::IfResidual {
                // Also of the steps that ran only because something stayed open.
                let read = self.read_residuals(&record.response, &mut steps);
                interrupted = interrupted.or(Box::pin(read).await);
            }
            if part == Part::IfResidual {
                if contains_still(&steps) || steps.iter().any(is_unread) {
                    continue;
                }
                skip_what_nothing_needs(&mut steps, phase);
            }
            if phase == Phase::End && interrupted.is_none() {
                skip_end_steps_without_evidence(&mut steps);
            }
            if phase == Phase::End && interrupted.is_some() {
                // Work in progress may still need the resource.
                continue;
            }
            let part_of = |step: &Step| (step.phase, plan::part(step, &names, registry::catalog()));
            let now =
                |step: &Step| part_of(step) == (phase, part) && step.state == StepState::Planned;
            if !steps.iter().any(now) {
                continue;
            }
            if !self.deadline.allows(PART_TIME) {
                // A step that has not started cannot be interrupted half-way.
                let why = "the invocation ran out of time".to_owned();
                interrupted.get_or_insert(Interruption::Pending(why));
                break;
            }
            if record.response.lease_until.is_none_or(|until| until <= self.recorder.now()) {
                // Another worker may have taken over: nothing more may be changed.
                return Err(lease_lost(&record.response.id));
            }
            // Nothing is changed whose prior state is not recorded.
            let missing = calls_without_prior_state(&steps, |step| {
                step.phase == phase && step.if_residual == (part == Part::IfResidual)
            });
            if !missing.is_empty() {
                let captured = Box::pin(self.capture(&record.response, &missing, cache)).await?;
                put_captured(&mut steps, captured);
                record = self.record_steps(&record, &steps).await?;
                if !steps.iter().any(now) {
                    continue;
                }
            }
            let was_contained = is_contained(&steps);
            let later =
                calls_without_prior_state(&steps, |step| step.phase > phase && !step.if_residual);
            let executed = Box::pin(self.execute_part(&record.response, &mut steps, &session, now));
            let captured = Box::pin(self.capture(&record.response, &later, cache));
            let (ended, captured) = meanwhile(executed, captured).await;
            interrupted = interrupted.or(ended);
            // What could not be read now is read before its phase.
            if let Some(Ok(captured)) = captured {
                put_captured(&mut steps, captured);
            }
            if phase == Phase::Contain && !was_contained && is_contained(&steps) {
                contained_after = Some(received.elapsed());
            }
            let left = steps.iter().filter(|step| step.state == StepState::Planned);
            if left.into_iter().any(|step| part_of(step) > (phase, part)) {
                record = self.record_steps(&record, &steps).await?;
            }
        }
        if let Some(interruption) = interrupted {
            let began = record.response.began.unwrap_or(record.response.created);
            let gives_up = self.recorder.now().duration_since(began) >= GIVE_UP_AFTER;
            if !gives_up || give_up(&mut steps, &interruption) {
                let handed_over = Box::pin(self.hand_over(&record, steps, &interruption)).await?;
                return match interruption {
                    Interruption::Failed(error) if !gives_up => {
                        let Execution { record, outbox_items, .. } = handed_over;
                        Box::pin(self.deliverer.deliver_outbox(&record.response, outbox_items))
                            .await;
                        Err(HubError::from(error))
                    }
                    Interruption::Failed(_) | Interruption::Pending(_) => {
                        Ok(Execution { contained_after, ..handed_over })
                    }
                };
            }
        }
        let ended = Box::pin(self.recorder.apply(&record, Event::Executed { steps })).await?;
        Ok(Execution { record: ended.record, contained_after, outbox_items: ended.outbox })
    }

    /// Records the progress, and renews the lease with it.
    async fn record_steps(&self, record: &Record, steps: &[Step]) -> Result<Record, HubError> {
        let event = Event::StepsRecorded { steps: steps.to_vec() };
        Ok(self.recorder.apply(record, event).await?.record)
    }

    /// Captures the prior state for these steps of a response, under the same guardrails as
    /// for a new plan.
    async fn capture(
        &self,
        response: &Response,
        calls: &[ActionCall],
        cache: &ReadCache,
    ) -> Result<Vec<Step>, HubError> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let policy = self.policies.current().await?;
        let place = self.organization.place(&response.resource.account).await?;
        let at = At { policy: &policy, place: &place, cache };
        let id = response.id.as_str();
        let captured =
            self.members.capture_calls(&response.resource, id, &response.finding, calls, at);
        Ok(plan::steps(Box::pin(captured).await, registry::catalog()))
    }

    /// Reads what may stay open after each verified step of the phase contain for which that
    /// was not read yet. What cannot be read is not known to be closed; what cannot be read
    /// now is read by the next run.
    async fn read_residuals(
        &self,
        response: &Response,
        steps: &mut [Step],
    ) -> Option<Interruption> {
        let Response { id, finding, resource, .. } = response;
        let unread = steps.iter_mut().filter(|step| is_unread(step));
        let ended = join_all(unread.map(|step| async {
            let read = async {
                if !self.deadline.allows(PART_TIME) {
                    let why = "the invocation ran out of time";
                    return Err(ActionError::new(ErrorKind::Transient, why));
                }
                let action = find(&step.action)?;
                let prior = step.prior.captured().unwrap_or(&Value::Null);
                let account = self.members.reading_session(resource).await?;
                let cache = ReadCache::default();
                let account = account.with_urgency(Urgency::Routine);
                let context =
                    self.members.action_context(&account, resource, id.as_str(), finding, &cache);
                action.residual(context, &step.parameters, prior).await
            };
            step.residual = Some(match Box::pin(read).await {
                Ok(residual) => residual,
                Err(error) if error.kind == ErrorKind::Gone => Vec::new(),
                Err(error) if error.kind == ErrorKind::Transient => {
                    let why = format!("what {} leaves open is read later: {error}", step.action);
                    return Some(Interruption::Pending(why));
                }
                Err(error) => {
                    let what =
                        format!("what {} leaves open could not be read: {error}", step.action);
                    vec![Residual::new("unknown", what, &[])]
                }
            });
            None
        }))
        .await;
        ended.into_iter().flatten().next()
    }

    /// Executes the planned steps of a part of a phase concurrently.
    async fn execute_part(
        &self,
        response: &Response,
        steps: &mut [Step],
        session: &Result<Option<Arc<AccountSession>>, ActionError>,
        now: impl Fn(&Step) -> bool,
    ) -> Option<Interruption> {
        let Response { id, finding, resource, .. } = response;
        let steps = steps.iter_mut().filter(|step| now(step));
        let ended = join_all(steps.map(|step| async {
            match session {
                Ok(Some(account)) => {
                    let cache = ReadCache::default();
                    let account = account.with_urgency(urgency(step.phase));
                    // Verified with the session that all findings of the account share, so
                    // that they share its calls.
                    let reader = self.members.reading_session(resource).await;
                    let reader = reader.map(|it| it.with_urgency(urgency(step.phase)));
                    let context = |account| {
                        let id = id.as_str();
                        self.members.action_context(account, resource, id, finding, &cache)
                    };
                    let verifier = context(reader.as_ref().unwrap_or(&account));
                    execute_step((context(&account), verifier), step, &self.deadline).await
                }
                Ok(None) => {
                    step.state = StepState::Failed;
                    step.detail = format!("this version has no action `{}`", step.action);
                    Ok(())
                }
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

    /// Hands an interrupted response over: to the finding's next delivery, which may
    /// recover at once what failed, and to the sweep, which continues what needs time.
    async fn hand_over(
        &self,
        record: &Record,
        steps: Vec<Step>,
        interruption: &Interruption,
    ) -> Result<Execution, HubError> {
        let waiting = interruption.message();
        warn!(response.id = %record.response.id, "`{}` continues later: {waiting}", record.response.id);
        let handed_over = self.recorder.apply(record, Event::HandedOver { steps, waiting }).await?;
        Ok(Execution {
            record: handed_over.record,
            contained_after: None,
            outbox_items: handed_over.outbox,
        })
    }
}

/// Applies a step and verifies it, each with its context. After an error, which is transient, the step stays
/// planned for the next delivery.
async fn execute_step(
    contexts: (ActionContext<'_>, ActionContext<'_>),
    step: &mut Step,
    deadline: &Deadline,
) -> Result<(), Interruption> {
    match try_step(contexts, step, deadline).await {
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
    (context, reader): (ActionContext<'_>, ActionContext<'_>),
    step: &mut Step,
    deadline: &Deadline,
) -> Result<Verification, ActionError> {
    let action = find(&step.action)?;
    let Some(prior) = step.prior.captured() else {
        let why = format!("the state before {} could not be read", step.action);
        return Err(ActionError::new(ErrorKind::Transient, why));
    };
    if !step.changes.is_empty() {
        action.apply(context, &step.parameters, prior).await?;
    }
    let began = tokio::time::Instant::now();
    let mut tries = 1;
    loop {
        let verified = action.verify(reader, &step.parameters, prior).await?;
        let wait = match &verified {
            Verification::InEffect(_) => return Ok(verified),
            Verification::NotInEffect(_) if tries == VERIFICATIONS => return Ok(verified),
            Verification::NotInEffect(_) => VERIFICATION_INTERVAL,
            Verification::InProgress(_)
                if began.elapsed() >= MAX_WAIT || !deadline.allows(POLL_INTERVAL) =>
            {
                return Ok(verified);
            }
            Verification::InProgress(_) => POLL_INTERVAL,
        };
        if matches!(verified, Verification::NotInEffect(_)) {
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
