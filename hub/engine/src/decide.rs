//! One target of a finding that nobody has answered yet: judged, claimed, and
//! carried out where policy says so.

use std::collections::BTreeMap;
use std::time::Duration;

use firebreak_model::resource::AccountId;
use firebreak_spoke::actions;
use jiff::Timestamp;
use tracing::{Instrument, info, info_span, instrument, warn};

use super::Responder;
use super::judge::Judged;
use super::known::{entry_key, is_crowded, next_response, opening_state};
use super::outcome::{BudgetLeft, Disposition, Outcome, Run, outcome};
use super::undo::may_have_changed;
use firebreak_aws::error::HubError;
use firebreak_aws::ledger::{Counter, Written};
use firebreak_model::finding::{Finding, Target};
use firebreak_model::organization::Place;
use firebreak_policy::{Mode, Window};
use firebreak_response::audit_event::{Event, What};
use firebreak_response::notice::Notice;
use firebreak_response::outbox::{Channel, Outgoing};
use firebreak_response::plan;
use firebreak_response::record::{
    Approval, BESIDE_AT_MOST, Beside, FORMAT, FindingSummary, Response, State, Step,
};
use firebreak_response::target::{Entry, TargetItem};

/// How many findings one response answers at most: records have a limit, and
/// what comes after is told of the next one, or not at all by itself.
const FINDINGS_AT_MOST: usize = 500;

/// How old what is paused may be when something begins.
const PAUSES_HOLD_AFTER: Duration = Duration::from_secs(2);

/// How a response is opened.
pub(super) struct Opening {
    pub(super) state: State,
    pub(super) reason: String,
    pub(super) rule: String,
    pub(super) steps: Vec<Step>,
}

/// What is decided about.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) finding: &'a Finding,
    pub(super) target: &'a Target,
    pub(super) place: &'a Place,
    pub(super) seen: &'a TargetItem,
    /// Under whose credentials.
    pub(super) by: &'a str,
}

impl About<'_> {
    pub(super) fn finished(
        &self,
        judged: &Judged,
        disposition: Disposition,
        reason: String,
    ) -> Outcome {
        Outcome {
            ou_path: Some(self.place.ou_path.clone()),
            decision: Some(judged.decision.clone()),
            ..outcome(self.finding, Some(&self.target.resource), disposition, reason)
        }
    }
}

impl Responder {
    /// Decides and, if policy says so, responds. `None` when the claim was lost.
    #[instrument(skip_all, fields(account.id = %target.resource.account))]
    pub(super) async fn decide(
        &self,
        finding: &Finding,
        target: &Target,
        seen: &TargetItem,
        run: Run,
        received: tokio::time::Instant,
    ) -> Result<Option<Outcome>, HubError> {
        let account = &target.resource.account;
        let stored = seen.place.as_ref().filter(|_| self.settings.share_places);
        let (place, by) =
            futures::join!(self.organization.place_stored(account, stored), self.identity());
        let (place, by) = (place?, by.as_str());
        let about = About { finding, target, place: &place, seen, by };
        let (judged, ()) = futures::join!(
            Box::pin(self.judge(finding, target, &place, seen)),
            self.share_place(&target.resource.account, seen, run)
        );
        let mut judged = judged?;
        let decision = &judged.decision;
        let Some(rule) = entry_key(decision, finding, seen) else {
            return Box::pin(self.nothing(about, &judged, run)).await.map(Some);
        };
        if let Some(why) = judged.unconfirmed.clone() {
            return Box::pin(self.refuse_unconfirmed(about, &judged, (&rule, &why), run)).await;
        }
        let steps = plan::steps(std::mem::take(&mut judged.observed), actions::catalog());
        if run == Run::Act
            && decision.mode == Mode::Auto
            && judged.not_covered.is_none()
            && let Some(entry) = seen.entries.get(&rule)
            && matches!(entry.state, State::Failed | State::PartiallyContained)
            && let Some(again) =
                Box::pin(self.retry(finding, target, entry.clone(), &steps, received)).await?
        {
            return Ok(Some(again));
        }
        if let Some(entry) = seen.entries.get(&rule)
            && entry.state == State::Failed
            && decision.acts()
            && self.is_half_changed(entry).await?
        {
            // A new plan would take our own half of a change for the original.
            return self.held_already(about, &judged, (&rule, entry), run).await;
        }
        if let Some(entry) = seen.entries.get(&rule)
            && (entry.state.holds_resource() || entry.state == State::AwaitingApproval)
            && decision.acts()
        {
            return Box::pin(self.held_already(about, &judged, (&rule, entry), run)).await;
        }
        let opening = match &judged.not_covered {
            Some(why) => Some((State::Refused, format!("not covered: {why}"))),
            None if is_crowded(decision, finding, seen) => {
                let why = "too many responses to single findings stand on this target already";
                Some((State::Refused, why.to_owned()))
            }
            None => opening_state(decision, &steps),
        };
        let Some((state, reason)) = opening else {
            return Box::pin(self.nothing(about, &judged, run)).await.map(Some);
        };
        if let Some(entry) = seen.entries.get(&rule)
            && entry.state == state
            && matches!(state, State::Observed | State::Refused)
        {
            if entry.findings.contains_key(&finding.id) {
                let reason = format!("nothing new: {reason}");
                return Ok(Some(about.finished(&judged, Disposition::Repeat, reason)));
            }
            // Another finding that says the same of the target.
            if entry.findings.len() < FINDINGS_AT_MOST && judged.not_covered.is_none() {
                return Box::pin(self.held_already(about, &judged, (&rule, entry), run)).await;
            }
        }
        let response = self.opened(about, &judged, Opening { state, reason, rule, steps });
        if run == Run::Plan {
            let reason = response.reason.clone();
            let mut outcome = about.finished(&judged, Disposition::Planned, reason);
            outcome.response = Some(response);
            return Ok(Some(outcome));
        }
        Box::pin(self.open(about, &judged, response, received)).await
    }

    /// Whether a response that failed may have left half a change behind.
    async fn is_half_changed(&self, entry: &Entry) -> Result<bool, HubError> {
        let response = self.load(&entry.response).await?;
        Ok(response.undo.is_none() && response.steps.iter().any(may_have_changed))
    }

    /// Tells the other processes where an account is, where none did.
    async fn share_place(&self, account: &AccountId, seen: &TargetItem, run: Run) {
        let now = self.now();
        let known = seen.place.as_ref().is_some_and(|place| place.until > now);
        if known || run == Run::Plan {
            return;
        }
        let Some(place) = self.organization.to_store(account).await else { return };
        if let Err(error) = self.ledger.remember_place(account, &place).await {
            // They ask by themselves.
            warn!("the place of {account} is not kept: {error}");
        }
    }

    /// Nothing is to be done, which is recorded all the same.
    async fn nothing(
        &self,
        about: About<'_>,
        judged: &Judged,
        run: Run,
    ) -> Result<Outcome, HubError> {
        let reason = judged.decision.reason();
        if run == Run::Act {
            self.ledger.write_event(&self.decided(about, judged, &reason)).await?;
        }
        Ok(about.finished(judged, Disposition::Nothing, reason))
    }

    /// Another finding of a target that a response of the same rule holds: it is
    /// answered by that response, and told so.
    async fn held_already(
        &self,
        about: About<'_>,
        judged: &Judged,
        (rule, entry): (&str, &Entry),
        run: Run,
    ) -> Result<Option<Outcome>, HubError> {
        let finding = about.finding;
        let reason = format!("response `{}` is {} already", entry.response, entry.state);
        let mut outcome = about.finished(judged, Disposition::AlreadyHeld, reason.clone());
        if run == Run::Plan {
            return Ok(Some(outcome));
        }
        let mut entry = entry.clone();
        if entry.findings.len() >= FINDINGS_AT_MOST {
            // The oldest is decided again if it is ever seen again, which finds
            // the target held.
            let oldest = entry.findings.iter().min_by_key(|(_, updated)| **updated);
            let oldest = oldest.map(|(id, _)| id.clone());
            entry.findings.retain(|id, _| Some(id) != oldest.as_ref());
        }
        entry.findings.insert(finding.id.clone(), finding.updated_at);
        let mut response = self.load(&entry.response).await?;
        let new = finding.security_hub.clone();
        let new = new.filter(|id| response.security_hub_ids().all(|known| known != id));
        let new = new.filter(|_| response.further_findings.len() < FINDINGS_AT_MOST);
        // Without its other targets on record it could be told as resolved too early.
        let beside = Beside::of(finding, about.target);
        let new = new.filter(|_| beside.is_none() || response.beside.len() < BESIDE_AT_MOST);
        let now = self.now();
        let commit = self.ledger.commit(now).event(&self.decided(about, judged, &reason))?;
        let (commit, outgoing) = if let Some(id) = new {
            response.further_findings.push(id);
            response.beside.extend(beside);
            response.revision += 1;
            response.updated = now;
            // Security Hub is told of one more finding; people know already.
            let outgoing = Outgoing::of(&response, &[Channel::SecurityHub], now);
            let arn = about.target.resource.arn();
            let commit = commit.note(about.seen, &arn, rule, &entry)?.record(&response)?;
            (commit.send(&outgoing)?, outgoing)
        } else {
            let arn = about.target.resource.arn();
            (commit.note(about.seen, &arn, rule, &entry)?, Vec::new())
        };
        if commit.write().await? != Written::Yes {
            return Ok(None);
        }
        (outcome.written_back, outcome.untold) = Box::pin(self.tell(&response, outgoing)).await;
        outcome.response = Some(response);
        Ok(Some(outcome))
    }

    /// Claims the target with the response, and carries it out if it is to run.
    async fn open(
        &self,
        about: About<'_>,
        judged: &Judged,
        response: Response,
        received: tokio::time::Instant,
    ) -> Result<Option<Outcome>, HubError> {
        let (finding, resource) = (about.finding, &about.target.resource);
        let mut entry = Entry {
            response: response.id.clone(),
            epoch: response.epoch,
            state: response.state,
            lease_until: response.lease_until,
            waiting: false,
            findings: BTreeMap::from([(finding.id.clone(), finding.updated_at)]),
        };
        let now = self.now();
        let event = Event {
            finding_updated: finding.updated_at,
            ..Event::of(What::Decided, &response, about.by, &response.reason)
        };
        let outgoing = Outgoing::of(&response, &self.channels, now);
        let mut commit = self
            .ledger
            .commit(now)
            .claim(about.seen, &response, &entry)?
            .event(&event)?
            .send(&outgoing)?;
        if response.state == State::Running {
            commit = commit.draw(&judged.counters)?;
        }
        let mut tripped = Vec::new();
        if let Some(spent) = judged.spent.as_ref().filter(|spent| !spent.is_told(now)) {
            let (budget, key) = (&spent.draw.budget, spent.draw.key.as_str());
            let notice = Notice::budget_spent(budget, key, spent.frees_at(now), &response);
            tripped = Outgoing::notices(&response, &notice, &self.channels, now);
            commit = commit.trip(spent, &tripped)?;
        }
        let span = info_span!("claim", response.id = %response.id);
        let claim = commit.write().instrument(span);
        // What was paused while this was judged is paused.
        if response.state == State::Running
            && received.elapsed() > PAUSES_HOLD_AFTER
            && self.is_paused(&response).await?
        {
            return Ok(None);
        }
        // The session is opened beside the claim; without the claim it is not used.
        let (claimed, session) = if response.state == State::Running {
            futures::join!(claim, self.changing_session(&response))
        } else {
            (claim.await, Ok(None))
        };
        match claimed? {
            Written::Yes => {}
            Written::Lost | Written::Spent => return Ok(None),
        }
        let disposition = match &judged.not_covered {
            Some(_) => Disposition::NotCovered,
            None => Disposition::Responded,
        };
        let mut outcome = about.finished(judged, disposition, response.reason.clone());
        let (response, outgoing) = if response.state == State::Running {
            let carried = Box::pin(self.carry_out(response, &mut entry, session, received)).await?;
            outcome.contained_after = carried.contained_after;
            outcome.reason.clone_from(&carried.response.reason);
            (carried.response, carried.outgoing)
        } else {
            (response, outgoing)
        };
        info!(
            response.id = %response.id, finding.id = %finding.id, account.id = %resource.account,
            "{} `{}`: {}", response.state, resource.arn(), response.reason
        );
        (outcome.written_back, outcome.untold) = Box::pin(self.tell(&response, outgoing)).await;
        Box::pin(self.tell_if_written(&response, &tripped)).await;
        outcome.budgets = budgets_left(judged, &response, now);
        outcome.response = Some(response);
        Ok(Some(outcome))
    }

    /// The record of a new response, as it is written before anything changes.
    pub(super) fn opened(&self, about: About<'_>, judged: &Judged, opening: Opening) -> Response {
        let Opening { state, reason, rule, steps } = opening;
        let About { finding, target, place, seen, .. } = about;
        let decision = &judged.decision;
        let now = self.now();
        let (id, epoch) = next_response(seen, &target.resource, &rule);
        let approval = (state == State::AwaitingApproval).then(|| Approval {
            because: judged.because,
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
            told_cut_off: false,
            policy_version: Some(judged.policy_version),
            further_findings: Vec::new(),
            beside: Beside::of(finding, target).into_iter().collect(),
            approval,
            undo: None,
        }
    }

    /// A decision that opens no response, for the record.
    fn decided(&self, about: About<'_>, judged: &Judged, reason: &str) -> Event {
        let About { finding, target, by, .. } = about;
        let account = target.resource.account.as_str();
        Event {
            finding: Some(finding.id.clone()),
            finding_type: Some(finding.kind.clone()),
            finding_updated: finding.updated_at,
            target: Some(target.resource.arn()),
            rule: judged.decision.rule_key(),
            policy_version: Some(judged.policy_version),
            ..Event::new(What::Decided, account, by, reason, self.now())
        }
    }
}

/// What the budgets have left that an automatic response drew on, or found spent.
fn budgets_left(judged: &Judged, response: &Response, now: Timestamp) -> Vec<BudgetLeft> {
    let drawn = response.approval.is_none();
    let left = |counter: &Counter| {
        let draw = if drawn { u64::from(counter.draw.actions) } else { 0 };
        let left = counter.left(now).saturating_sub(draw);
        BudgetLeft { budget: counter.draw.budget.clone(), left }
    };
    judged.counters.iter().map(left).collect()
}
