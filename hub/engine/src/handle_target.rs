//! Handles one target of a finding that has no response yet: assesses it, claims
//! it, and executes the plan if policy says so.

use std::collections::BTreeMap;
use std::time::Duration;

use firebreak_model::resource::AccountId;
use firebreak_spoke::registry;
use jiff::Timestamp;
use tracing::{Instrument, info, info_span, instrument, warn};

use super::Engine;
use super::assess::Assessment;
use super::dedup::{has_too_many_entries, initial_state, next_response, target_key};
use super::outcome::{BudgetLeft, Disposition, Run, TargetOutcome, outcome};
use super::undo::may_have_changed;
use firebreak_aws::error::HubError;
use firebreak_aws::store::{Counter, Written};
use firebreak_model::finding::{Finding, Target};
use firebreak_model::organization::Place;
use firebreak_policy::{Mode, Window};
use firebreak_response::audit_event::{AuditEvent, AuditKind};
use firebreak_response::notice::Notice;
use firebreak_response::outbox::{Channel, OutboxItem};
use firebreak_response::plan;
use firebreak_response::record::{
    Approval, FORMAT, FindingSummary, MAX_SIBLING_FINDINGS, Response, SiblingTargets, State, Step,
};
use firebreak_response::target::{TargetEntry, TargetState};

/// How many findings one response keeps at most: records have a size limit.
/// Further findings are not updated in Security Hub by this response.
const MAX_FINDINGS: usize = 500;

/// How old the reading of pauses may be when a response begins.
const MAX_AGE_OF_PAUSES: Duration = Duration::from_secs(2);

/// What a new response begins with.
pub(super) struct NewResponse {
    pub(super) state: State,
    pub(super) reason: String,
    pub(super) rule: String,
    pub(super) steps: Vec<Step>,
}

/// The target that is being handled, with its finding, place and state.
#[derive(Clone, Copy)]
pub(super) struct TargetContext<'a> {
    pub(super) finding: &'a Finding,
    pub(super) target: &'a Target,
    pub(super) place: &'a Place,
    pub(super) target_state: &'a TargetState,
    /// Under whose credentials.
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
}

impl Engine {
    /// Handles the target as policy says. `None` when another worker claimed it first.
    #[instrument(skip_all, fields(account.id = %target.resource.account))]
    pub(super) async fn handle_target(
        &self,
        finding: &Finding,
        target: &Target,
        target_state: &TargetState,
        run: Run,
        received: tokio::time::Instant,
    ) -> Result<Option<TargetOutcome>, HubError> {
        let account = &target.resource.account;
        let stored = target_state.place.as_ref().filter(|_| self.settings.share_places);
        let (place, by) =
            futures::join!(self.organization.place_stored(account, stored), self.identity());
        let (place, by) = (place?, by.as_str());
        let context = TargetContext { finding, target, place: &place, target_state, by };
        let (assessment, ()) = futures::join!(
            Box::pin(self.assess(finding, target, &place, target_state)),
            self.share_place(&target.resource.account, target_state, run)
        );
        let mut assessment = assessment?;
        let decision = &assessment.decision;
        let Some(rule) = target_key(decision, finding, target_state) else {
            return Box::pin(self.record_no_action(context, &assessment, run)).await.map(Some);
        };
        if let Some(why) = assessment.unconfirmed.clone() {
            return Box::pin(self.record_unconfirmed(context, &assessment, (&rule, &why), run))
                .await;
        }
        let steps = plan::steps(std::mem::take(&mut assessment.observed), registry::catalog());
        if run == Run::Act
            && decision.mode == Mode::Auto
            && assessment.not_covered.is_none()
            && let Some(entry) = target_state.entries.get(&rule)
            && matches!(entry.state, State::Failed | State::PartiallyContained)
            && let Some(again) =
                Box::pin(self.retry_failed(finding, target, entry.clone(), &steps, received))
                    .await?
        {
            return Ok(Some(again));
        }
        if let Some(entry) = target_state.entries.get(&rule)
            && entry.state == State::Failed
            && decision.acts()
            && self.is_half_changed(entry).await?
        {
            // A new plan would record our own half-made change as the original state.
            return self.join_existing(context, &assessment, (&rule, entry), run).await;
        }
        if let Some(entry) = target_state.entries.get(&rule)
            && (entry.state.may_have_changed_resource() || entry.state == State::AwaitingApproval)
            && decision.acts()
        {
            return Box::pin(self.join_existing(context, &assessment, (&rule, entry), run)).await;
        }
        let new_response = match &assessment.not_covered {
            Some(why) => Some((State::Refused, format!("not covered: {why}"))),
            None if has_too_many_entries(decision, finding, target_state) => {
                let why = "too many responses to single findings stand on this target already";
                Some((State::Refused, why.to_owned()))
            }
            None => initial_state(decision, &steps),
        };
        let Some((state, reason)) = new_response else {
            return Box::pin(self.record_no_action(context, &assessment, run)).await.map(Some);
        };
        if let Some(entry) = target_state.entries.get(&rule)
            && entry.state == state
            && matches!(state, State::Observed | State::Refused)
        {
            if entry.findings.contains_key(&finding.id) {
                let reason = format!("nothing new: {reason}");
                return Ok(Some(context.finished(&assessment, Disposition::Repeat, reason)));
            }
            // Another finding that says the same of the target.
            if entry.findings.len() < MAX_FINDINGS && assessment.not_covered.is_none() {
                return Box::pin(self.join_existing(context, &assessment, (&rule, entry), run))
                    .await;
            }
        }
        let response =
            self.new_record(context, &assessment, NewResponse { state, reason, rule, steps });
        if run == Run::Plan {
            let reason = response.reason.clone();
            let mut outcome = context.finished(&assessment, Disposition::Planned, reason);
            outcome.response = Some(response);
            return Ok(Some(outcome));
        }
        Box::pin(self.claim_and_execute(context, &assessment, response, received)).await
    }

    /// Whether a response that failed may have left half a change behind.
    async fn is_half_changed(&self, entry: &TargetEntry) -> Result<bool, HubError> {
        let response = self.load(&entry.response).await?;
        Ok(response.undo.is_none() && response.steps.iter().any(may_have_changed))
    }

    /// Stores where an account is, for the hub's other processes.
    async fn share_place(&self, account: &AccountId, target_state: &TargetState, run: Run) {
        let now = self.now();
        let is_known = target_state.place.as_ref().is_some_and(|place| place.until > now);
        if is_known || run == Run::Plan {
            return;
        }
        let Some(place) = self.organization.to_store(account).await else { return };
        if let Err(error) = self.store.remember_place(account, &place).await {
            // They ask by themselves.
            warn!("the place of {account} is not kept: {error}");
        }
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
            self.store.write_event(&self.decision_event(context, assessment, &reason)).await?;
        }
        Ok(context.finished(assessment, Disposition::Nothing, reason))
    }

    /// Adds another finding of the target to the existing response of the same rule.
    async fn join_existing(
        &self,
        context: TargetContext<'_>,
        assessment: &Assessment,
        (rule, entry): (&str, &TargetEntry),
        run: Run,
    ) -> Result<Option<TargetOutcome>, HubError> {
        let finding = context.finding;
        let reason = format!("response `{}` is {} already", entry.response, entry.state);
        let mut outcome =
            context.finished(assessment, Disposition::ExistingResponse, reason.clone());
        if run == Run::Plan {
            return Ok(Some(outcome));
        }
        let mut entry = entry.clone();
        if entry.findings.len() >= MAX_FINDINGS {
            // If the oldest is ever delivered again, it is decided again and joins this
            // response.
            let oldest = entry.findings.iter().min_by_key(|(_, updated)| **updated);
            let oldest = oldest.map(|(id, _)| id.clone());
            entry.findings.retain(|id, _| Some(id) != oldest.as_ref());
        }
        entry.findings.insert(finding.id.clone(), finding.updated_at);
        let mut response = self.load(&entry.response).await?;
        let new = finding.security_hub.clone();
        let new = new.filter(|id| response.security_hub_ids().all(|known| known != id));
        let new = new.filter(|_| response.further_findings.len() < MAX_FINDINGS);
        // Without its other targets on record it could be marked resolved too early.
        let beside = SiblingTargets::of(finding, context.target);
        let new =
            new.filter(|_| beside.is_none() || response.siblings.len() < MAX_SIBLING_FINDINGS);
        let now = self.now();
        let commit =
            self.store.commit(now).event(&self.decision_event(context, assessment, &reason))?;
        let (commit, outbox_items) = if let Some(id) = new {
            response.further_findings.push(id);
            response.siblings.extend(beside);
            response.revision += 1;
            response.updated = now;
            // Security Hub gets one more finding; people have had the notice already.
            let outbox_items = OutboxItem::of(&response, &[Channel::SecurityHub], now);
            let arn = context.target.resource.arn();
            let commit =
                commit.note(context.target_state, &arn, rule, &entry)?.record(&response)?;
            (commit.send(&outbox_items)?, outbox_items)
        } else {
            let arn = context.target.resource.arn();
            (commit.note(context.target_state, &arn, rule, &entry)?, Vec::new())
        };
        if commit.write().await? != Written::Yes {
            return Ok(None);
        }
        (outcome.written_back, outcome.undelivered) =
            Box::pin(self.deliver_outbox(&response, outbox_items)).await;
        outcome.response = Some(response);
        Ok(Some(outcome))
    }

    /// Claims the target for the response, and executes it if its state is running.
    async fn claim_and_execute(
        &self,
        context: TargetContext<'_>,
        assessment: &Assessment,
        response: Response,
        received: tokio::time::Instant,
    ) -> Result<Option<TargetOutcome>, HubError> {
        let (finding, resource) = (context.finding, &context.target.resource);
        let mut entry = TargetEntry {
            response: response.id.clone(),
            epoch: response.epoch,
            state: response.state,
            lease_until: response.lease_until,
            waiting: false,
            findings: BTreeMap::from([(finding.id.clone(), finding.updated_at)]),
        };
        let now = self.now();
        let event = AuditEvent {
            finding_updated: finding.updated_at,
            ..AuditEvent::of(AuditKind::Decided, &response, context.by, &response.reason)
        };
        let outbox_items = OutboxItem::of(&response, &self.channels, now);
        let mut commit = self
            .store
            .commit(now)
            .claim(context.target_state, &response, &entry)?
            .event(&event)?
            .send(&outbox_items)?;
        if response.state == State::Running {
            commit = commit.draw(&assessment.counters)?;
        }
        let mut tripped = Vec::new();
        if let Some(spent) = assessment.spent.as_ref().filter(|spent| !spent.is_told(now)) {
            let (budget, key) = (&spent.draw.budget, spent.draw.key.as_str());
            let notice = Notice::budget_spent(budget, key, spent.frees_at(now), &response);
            tripped = OutboxItem::notices(&response, &notice, &self.channels, now);
            commit = commit.trip(spent, &tripped)?;
        }
        let span = info_span!("claim", response.id = %response.id);
        let claim = commit.write().instrument(span);
        // A pause that began during the assessment counts.
        if response.state == State::Running
            && received.elapsed() > MAX_AGE_OF_PAUSES
            && self.is_paused(&response).await?
        {
            return Ok(None);
        }
        // The session is opened concurrently with the claim; if the claim is lost it is
        // not used.
        let (claimed, session) = if response.state == State::Running {
            futures::join!(claim, self.changing_session(&response))
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
        let (response, outbox_items) = if response.state == State::Running {
            let execution = Box::pin(self.execute(response, &mut entry, session, received)).await?;
            outcome.contained_after = execution.contained_after;
            outcome.reason.clone_from(&execution.response.reason);
            (execution.response, execution.outbox_items)
        } else {
            (response, outbox_items)
        };
        info!(
            response.id = %response.id, finding.id = %finding.id, account.id = %resource.account,
            "{} `{}`: {}", response.state, resource.arn(), response.reason
        );
        (outcome.written_back, outcome.undelivered) =
            Box::pin(self.deliver_outbox(&response, outbox_items)).await;
        Box::pin(self.deliver_if_written(&response, &tripped)).await;
        outcome.budgets = budgets_left(assessment, &response, now);
        outcome.response = Some(response);
        Ok(Some(outcome))
    }

    /// The record of a new response, as it is written before anything changes.
    pub(super) fn new_record(
        &self,
        context: TargetContext<'_>,
        assessment: &Assessment,
        new_response: NewResponse,
    ) -> Response {
        let NewResponse { state, reason, rule, steps } = new_response;
        let TargetContext { finding, target, place, target_state, .. } = context;
        let decision = &assessment.decision;
        let now = self.now();
        let (id, epoch) = next_response(target_state, &target.resource, &rule);
        let approval = (state == State::AwaitingApproval).then(|| Approval {
            cause: assessment.cause,
            within: decision.approve.within.map(Window::duration),
            otherwise: decision.approve.otherwise,
            approvers: decision.approve.approvers.clone(),
            draws: decision.draws(place),
            answer: None,
        });
        let lease_until = (state == State::Running).then(|| now + self.settings.lease);
        let within = approval.as_ref().and_then(|approval| approval.within);
        Response {
            format: FORMAT,
            id,
            revision: 1,
            state,
            reason,
            resource: target.resource.clone(),
            ou_path: place.ou_path.clone(),
            finding: FindingSummary::of(finding),
            rule,
            epoch,
            steps,
            created: now,
            updated: now,
            lease_until,
            expires: decision.expires.map(Window::duration),
            ends: None,
            due: lease_until.or(within.map(|within| now + within)),
            waiting: None,
            tries: 0,
            began: (state == State::Running).then_some(now),
            containment_reported: false,
            policy_version: Some(assessment.policy_version),
            further_findings: Vec::new(),
            siblings: SiblingTargets::of(finding, target).into_iter().collect(),
            approval,
            undo: None,
        }
    }

    /// A decision that opens no response, for the record.
    fn decision_event(
        &self,
        context: TargetContext<'_>,
        assessment: &Assessment,
        reason: &str,
    ) -> AuditEvent {
        let TargetContext { finding, target, by, .. } = context;
        let account = target.resource.account.as_str();
        AuditEvent {
            finding: Some(finding.id.clone()),
            finding_type: Some(finding.kind.clone()),
            finding_updated: finding.updated_at,
            target: Some(target.resource.arn()),
            rule: assessment.decision.rule_key(),
            policy_version: Some(assessment.policy_version),
            ..AuditEvent::new(AuditKind::Decided, account, by, reason, self.now())
        }
    }
}

/// What the budgets have left that an automatic response drew on, or found spent.
fn budgets_left(assessment: &Assessment, response: &Response, now: Timestamp) -> Vec<BudgetLeft> {
    let drawn = response.approval.is_none();
    let left = |counter: &Counter| {
        let draw = if drawn { u64::from(counter.draw.actions) } else { 0 };
        let left = counter.left(now).saturating_sub(draw);
        BudgetLeft { budget: counter.draw.budget.clone(), left }
    };
    assessment.counters.iter().map(left).collect()
}
