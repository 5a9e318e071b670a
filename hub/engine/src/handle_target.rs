//! Handles one target of a finding that has no response yet: assesses it, claims
//! it, and executes the plan if policy says so.

use std::sync::Arc;
use std::time::Duration;

use firebreak_aws::error::HubError;
use firebreak_aws::organization::Organization;
use firebreak_aws::store::{Counter, Written};
use firebreak_model::finding::{Finding, Target};
use firebreak_model::organization::Place;
use firebreak_policy::Mode;
use firebreak_response::audit_event::{AuditEvent, AuditKind};
use firebreak_response::dedup::{initial_state, next_epoch, target_key};
use firebreak_response::notice::Notice;
use firebreak_response::outbox::OutboxItem;
use firebreak_response::plan;
use firebreak_response::record::{Response, SiblingTargets, State, Step};
use firebreak_response::target::{
    Findings, KeySubject, TargetEntry, TargetKey, TargetState, Unanswered,
};
use firebreak_response::transition::{
    self, AddedFinding, Event, MAX_FINDINGS, Opening, Record, Transition,
};
use firebreak_spoke::registry;
use jiff::Timestamp;
use tracing::{Instrument, info, info_span, instrument};

use super::assess::{Assessment, Assessor, Unconfirmed};
use super::confirm::FetchedFinding;
use super::deliver::Deliverer;
use super::execute::Executor;
use super::outcome::{BudgetLeft, Disposition, Run, TargetOutcome, outcome};
use super::recorder::Recorder;
use super::recover::Recoverer;
use super::unconfirmed::UnconfirmedRecorder;

/// How long to wait while another process assesses the target.
const ANOTHER_ASSESSES: Duration = Duration::from_millis(300);

/// How old the reading of pauses may be when a response begins.
const MAX_AGE_OF_PAUSES: Duration = Duration::from_secs(2);

/// The inputs of a new response besides its target and assessment.
pub(super) struct NewResponse {
    pub(super) state: State,
    pub(super) reason: String,
    pub(super) key: TargetKey,
    pub(super) steps: Vec<Step>,
    pub(super) findings: Findings,
}

/// The target that is being handled, with its finding, place and state.
#[derive(Clone, Copy)]
pub(super) struct TargetContext<'a> {
    pub(super) finding: &'a Finding,
    pub(super) target: &'a Target,
    pub(super) place: &'a Place,
    pub(super) target_state: &'a TargetState,
    /// The ARN of the hub's own credentials.
    pub(super) by: &'a str,
}

impl TargetContext<'_> {
    pub(super) fn finished(
        &self,
        assessment: &Assessment,
        disposition: Disposition,
        reason: String,
    ) -> TargetOutcome {
        TargetOutcome {
            ou_path: Some(self.place.ou_path.clone()),
            decision: Some(assessment.decision.clone()),
            ..outcome(self.finding, Some(&self.target.resource), disposition, reason)
        }
    }

    /// A new response, as it is written before anything changes. Of `finding` it
    /// records a summary.
    pub(super) fn open(
        self,
        assessment: &Assessment,
        finding: &Finding,
        new_response: NewResponse,
        recorder: &Recorder,
    ) -> Transition {
        let NewResponse { state, reason, key, steps, findings } = new_response;
        let TargetContext { target, place, target_state, by, .. } = self;
        let opening = Opening {
            finding,
            target,
            place,
            decision: &assessment.decision,
            policy_version: assessment.policy_version,
            epoch: next_epoch(target_state, &key),
            key,
            state,
            reason,
            steps,
            cause: assessment.cause,
            findings,
            target_revision: target_state.revision,
        };
        transition::open(opening, &recorder.context(by))
    }

    /// The audit event of a decision that opens no response.
    fn decision_event(self, assessment: &Assessment, reason: &str, now: Timestamp) -> AuditEvent {
        let TargetContext { finding, target, by, .. } = self;
        let account = target.resource.account.as_str();
        AuditEvent {
            finding: Some(finding.id.clone()),
            finding_type: Some(finding.kind.clone()),
            finding_updated: finding.updated_at,
            target: Some(target.resource.arn()),
            rule: assessment.decision.rule_key(),
            policy_version: Some(assessment.policy_version),
            ..AuditEvent::new(AuditKind::Decided, account, by, reason, now)
        }
    }
}

/// One attempt to handle a target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt<'a> {
    /// When the finding was received.
    pub(super) received: tokio::time::Instant,
    /// Whether to wait while another process assesses the target.
    pub(super) in_turn: bool,
    /// The finding as its service has it.
    pub(super) fetched: &'a FetchedFinding,
}

/// Why a target was not handled in an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotHandled {
    /// Another process assesses it, and was waited for.
    AnotherAssesses,
    /// Another worker claimed it first.
    Lost,
    /// The finding's service has a newer update, which says other things.
    Superseded,
}

/// Handles targets that have no response yet.
#[derive(Clone, Debug)]
pub(super) struct TargetHandler {
    pub(super) assessor: Assessor,
    pub(super) recorder: Recorder,
    pub(super) organization: Arc<Organization>,
    pub(super) executor: Executor,
    pub(super) recoverer: Recoverer,
    pub(super) unconfirmed: UnconfirmedRecorder,
    pub(super) deliverer: Deliverer,
    /// Whether the hub's processes share the places of accounts in the table.
    pub(super) share_places: bool,
}

impl TargetHandler {
    /// Handles the target as policy says.
    #[instrument(name = "handle-target", skip_all, fields(account.id = %target.resource.account))]
    pub(super) async fn handle_target(
        &self,
        finding: &Finding,
        target: &Target,
        target_state: &TargetState,
        run: Run,
        attempt: Attempt<'_>,
    ) -> Result<Result<TargetOutcome, NotHandled>, HubError> {
        let Attempt { received, in_turn, fetched } = attempt;
        let account = &target.resource.account;
        let stored = target_state.place.as_ref().filter(|_| self.share_places);
        // The policy is read meanwhile, if it is not cached; a failure is found by `assess`.
        let (place, by, _) = futures::join!(
            self.organization.place_stored(account, stored),
            self.recorder.caller.arn_or_unknown(),
            self.assessor.policies.in_force()
        );
        let (place, by) = (place?, by.as_str());
        let context = TargetContext { finding, target, place: &place, target_state, by };
        let attempt = (in_turn, fetched);
        let assessment = self.assessor.assess(finding, target, &place, target_state, run, attempt);
        let Some(assessment) = Box::pin(assessment).await? else {
            self.recorder.clock.next(ANOTHER_ASSESSES).await;
            return Ok(Err(NotHandled::AnotherAssesses));
        };
        if assessment.unconfirmed == Some(Unconfirmed::Superseded) {
            return Ok(Err(NotHandled::Superseded));
        }
        let handled = Box::pin(self.handle_assessed(context, assessment, run, received)).await?;
        Ok(handled.ok_or(NotHandled::Lost))
    }

    /// Carries out or records what was assessed. `None` when another worker claimed the
    /// target first.
    async fn handle_assessed(
        &self,
        context: TargetContext<'_>,
        mut assessment: Assessment,
        run: Run,
        received: tokio::time::Instant,
    ) -> Result<Option<TargetOutcome>, HubError> {
        let TargetContext { finding, target, target_state, .. } = context;
        let decision = &assessment.decision;
        let Some(key) = target_key(decision, finding, target_state, registry::catalog()) else {
            return Box::pin(self.record_no_action(context, &assessment, run)).await.map(Some);
        };
        if let Some(Unconfirmed::Refused(why)) = assessment.unconfirmed.clone() {
            return Box::pin(self.unconfirmed.record(context, &assessment, (&key, &why), run))
                .await;
        }
        let captured = std::mem::take(&mut assessment.captured);
        let mut steps = plan::steps(captured, registry::catalog());
        plan::defer_conditional(&mut steps);
        if run == Run::Act
            && decision.mode == Mode::Auto
            && assessment.not_covered.is_none()
            && let Some(entry) = target_state.entries.get(&key)
            && matches!(entry.state, State::Failed | State::PartiallyContained)
            && let Some(again) = Box::pin(self.recoverer.retry_failed(
                finding,
                target,
                entry.clone(),
                &steps,
                received,
            ))
            .await?
        {
            return Ok(Some(again));
        }
        if let Some(entry) = target_state.entries.get(&key)
            && entry.state == State::Failed
            && decision.acts()
            && self.is_half_changed(entry).await?
        {
            // A new plan would record our own half-made change as the original state.
            return self.join_existing(context, &assessment, entry, run).await;
        }
        if let Some(entry) = target_state.entries.get(&key)
            && (entry.state.may_have_changed_resource() || entry.state == State::AwaitingApproval)
            && decision.acts()
        {
            return Box::pin(self.join_existing(context, &assessment, entry, run)).await;
        }
        let new_response = match &assessment.not_covered {
            Some(why) => Some((State::Refused, format!("not covered: {why}"))),
            None if key.subject == KeySubject::TooMany => {
                let why = "this target already has too many responses to single findings";
                Some((State::Refused, why.to_owned()))
            }
            None => initial_state(decision, &steps),
        };
        let Some((state, reason)) = new_response else {
            return Box::pin(self.record_no_action(context, &assessment, run)).await.map(Some);
        };
        if let Some(entry) = target_state.entries.get(&key)
            && entry.state == state
            && matches!(state, State::Observed | State::Refused)
        {
            if entry.findings.contains_key(&finding.id) {
                let reason = format!("nothing new: {reason}");
                return Ok(Some(context.finished(&assessment, Disposition::Repeat, reason)));
            }
            // Another finding of the same rule on this target.
            if entry.findings.len() < MAX_FINDINGS && assessment.not_covered.is_none() {
                return Box::pin(self.join_existing(context, &assessment, entry, run)).await;
            }
        }
        let findings = Findings::from([(finding.id.clone(), finding.updated_at)]);
        let new_response = NewResponse { state, reason, key, steps, findings };
        let opened = context.open(&assessment, finding, new_response, &self.recorder);
        if run == Run::Plan {
            let response = opened.record.response;
            let reason = response.reason.clone();
            let mut outcome = context.finished(&assessment, Disposition::Planned, reason);
            outcome.response = Some(response);
            return Ok(Some(outcome));
        }
        Box::pin(self.claim_and_execute(context, &assessment, opened, received)).await
    }

    /// Whether a response that failed may have left half a change behind.
    async fn is_half_changed(&self, entry: &TargetEntry) -> Result<bool, HubError> {
        let response = self.recorder.load(&entry.response).await?;
        Ok(response.undo.is_none() && response.steps.iter().any(Step::may_have_changed))
    }

    /// Records a decision that needs no action.
    async fn record_no_action(
        &self,
        context: TargetContext<'_>,
        assessment: &Assessment,
        run: Run,
    ) -> Result<TargetOutcome, HubError> {
        let reason = assessment.decision.reason();
        if run == Run::Act {
            let (store, now) = (&self.recorder.store, self.recorder.now());
            let event = context.decision_event(assessment, &reason, now);
            let TargetContext { finding, target, .. } = context;
            let no_rule = assessment.is_final && assessment.decision.rule.is_none();
            if finding.targets.len() > 1 && no_rule {
                let (updated_at, policy_version) = (finding.updated_at, assessment.policy_version);
                let unanswered = Unanswered { updated_at, policy_version };
                let commit = store.commit(now).audited(&event, &[])?;
                let commit = commit.unanswered(&target.resource.arn(), finding, unanswered)?;
                if commit.write().await? != Written::Yes {
                    return Err(HubError::transient("the decision was not recorded".to_owned()));
                }
            } else {
                store.write_event(&event).await?;
            }
        }
        Ok(context.finished(assessment, Disposition::Nothing, reason))
    }

    /// Adds another finding of the target to the existing response of the same rule.
    async fn join_existing(
        &self,
        context: TargetContext<'_>,
        assessment: &Assessment,
        entry: &TargetEntry,
        run: Run,
    ) -> Result<Option<TargetOutcome>, HubError> {
        let finding = context.finding;
        let reason = format!("response `{}` is {} already", entry.response, entry.state);
        let mut outcome =
            context.finished(assessment, Disposition::ExistingResponse, reason.clone());
        if run == Run::Plan {
            return Ok(Some(outcome));
        }
        let response = self.recorder.load(&entry.response).await?;
        let record = Record { response, findings: entry.findings.clone() };
        let event = Event::FindingAdded(Box::new(AddedFinding {
            id: finding.id.clone(),
            updated_at: finding.updated_at,
            security_hub: finding.security_hub.clone(),
            siblings: SiblingTargets::of(finding, context.target),
            decided: context.decision_event(assessment, &reason, self.recorder.now()),
            target_revision: context.target_state.revision,
        }));
        let Some(added) = self.recorder.try_apply(&record, event).await? else { return Ok(None) };
        let response = added.record.response;
        (outcome.written_back, outcome.undelivered) =
            Box::pin(self.deliverer.deliver_outbox(&response, added.outbox)).await;
        outcome.response = Some(response);
        Ok(Some(outcome))
    }

    /// Claims the target for the response, and executes it if its state is running.
    async fn claim_and_execute(
        &self,
        context: TargetContext<'_>,
        assessment: &Assessment,
        opened: Transition,
        received: tokio::time::Instant,
    ) -> Result<Option<TargetOutcome>, HubError> {
        let (finding, resource) = (context.finding, &context.target.resource);
        let response = &opened.record.response;
        let now = response.created;
        let mut commit = self.recorder.store.commit(now).transition(&opened)?;
        if response.state == State::Running {
            commit = commit.draw(&assessment.counters)?;
        }
        let mut tripped = Vec::new();
        if let Some(spent) = assessment.spent.as_ref().filter(|spent| !spent.is_announced(now)) {
            let (budget, key) = (&spent.draw.budget, spent.draw.key.as_str());
            let notice = Notice::budget_spent(budget, key, spent.frees_at(now), response);
            tripped = OutboxItem::notices(response, &notice, &self.recorder.channels, now);
            commit = commit.trip(spent, &tripped)?;
        }
        let span = info_span!("claim", response.id = %response.id);
        let claim = commit.write().instrument(span);
        // A pause that began during the assessment counts.
        if response.state == State::Running
            && received.elapsed() > MAX_AGE_OF_PAUSES
            && self.recorder.is_paused(response).await?
        {
            return Ok(None);
        }
        // The session is opened concurrently with the claim; if the claim is lost it is
        // not used.
        let (claimed, session) = if response.state == State::Running {
            futures::join!(claim, self.executor.members.changing_session(response))
        } else {
            (claim.await, Ok(None))
        };
        match claimed? {
            Written::Yes => {}
            Written::Lost | Written::Spent => return Ok(None),
        }
        let disposition = match &assessment.not_covered {
            Some(_) => Disposition::NotCovered,
            None => Disposition::Responded,
        };
        let mut outcome = context.finished(assessment, disposition, response.reason.clone());
        let Transition { record, outbox, .. } = opened;
        let (response, outbox_items) = if record.response.state == State::Running {
            let execution =
                Box::pin(self.executor.execute(record, session, received, &assessment.cache))
                    .await?;
            outcome.contained_after = execution.contained_after;
            outcome.reason.clone_from(&execution.response().reason);
            (execution.record.response, execution.outbox_items)
        } else {
            (record.response, outbox)
        };
        info!(
            response.id = %response.id, finding.id = %finding.id, account.id = %resource.account,
            "{} `{}`: {}", response.state, resource.arn(), response.reason
        );
        (outcome.written_back, outcome.undelivered) =
            Box::pin(self.deliverer.deliver_outbox(&response, outbox_items)).await;
        Box::pin(self.deliverer.deliver_if_written(&response, &tripped)).await;
        outcome.budgets = budgets_left(assessment, &response, now);
        outcome.response = Some(response);
        Ok(Some(outcome))
    }
}

/// What is left of the budgets that an automatic response drew on, or that were spent.
fn budgets_left(assessment: &Assessment, response: &Response, now: Timestamp) -> Vec<BudgetLeft> {
    let drawn = response.approval.is_none();
    let left = |counter: &Counter| {
        let draw = if drawn { u64::from(counter.draw.actions) } else { 0 };
        let left = counter.left(now).saturating_sub(draw);
        BudgetLeft { budget: counter.draw.budget.clone(), left }
    };
    assessment.counters.iter().map(left).collect()
}
