//! The one loop in which effects are ordered: a finding in, an outcome for each
//! of its targets out.
//!
//! # Guarantees
//!
//! - Nothing is changed before the whole plan with all prior state is recorded,
//!   and nothing by anyone but the holder of the claim.
//! - A finding that was handled costs one read.
//! - A crash anywhere resumes from the record when the finding is delivered
//!   again and the lease has run out.
//! - `contained` is recorded only after reading back.
//!
//! # What it assumes
//!
//! The caller delivers a finding again when an error is returned (SQS does).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use firebreak_spoke::account::Account;
use firebreak_spoke::actions::{self, Phase, Scope, Verdict};
use firebreak_spoke::error::{ActionError, Kind};
use firebreak_spoke::resource::Resource;
use firebreak_spoke::tags;
use futures::future::join_all;
use jiff::Timestamp;
use serde::Serialize;
use tracing::{info, warn};

use crate::aws::accounts::{Accounts, Purpose};
use crate::aws::config;
use crate::aws::error::HubError;
use crate::aws::ledger::{Entry, Ledger, TargetItem, Written};
use crate::aws::organization::Organization;
use crate::aws::policies::Policies;
use crate::aws::security_hub::SecurityHub;
use crate::finding::{Finding, Target};
use crate::organization::{OuPath, Place};
use crate::plan;
use crate::policy::{Decision, Mode, Policy, Tags};
use crate::record::{FORMAT, FindingSummary, Response, ResponseId, State, Step, StepState};
use crate::settings::Settings;
use crate::status;

/// What became of one target of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disposition {
    /// Not for acting on: a sample, archived, in somebody's hands, or no rule asks for anything.
    Nothing,
    /// Handled before; nothing was changed.
    Repeat,
    /// Another finding's response of the same rule holds the target, or waits
    /// for approval, already.
    AlreadyHeld,
    /// A response ended, or waits; its state says how.
    Responded,
    /// `--plan`: what would be done; nothing was recorded or changed.
    Planned,
}

/// What became of one target of a finding, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The finding.
    pub finding: FindingSummary,
    /// The target; `None` for a finding that names none.
    pub resource: Option<Resource>,
    /// The OUs above the target's account, where they had to be known.
    pub ou_path: Option<OuPath>,
    /// What became of it.
    pub disposition: Disposition,
    /// Why, in a sentence.
    pub reason: String,
    /// What policy said, where it was asked.
    pub decision: Option<Decision>,
    /// The record, where there is one; for `--plan` what would be recorded.
    pub response: Option<Response>,
    /// From receipt to the containing steps being verified.
    pub contained_after: Option<Duration>,
    /// Whether Security Hub took the status: the workflow status written, if any.
    pub written_back: Option<String>,
}

/// Whether to act or only to say what would be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// Act.
    Act,
    /// Read, decide and plan; record and change nothing.
    Plan,
}

/// The responder of one process.
#[derive(Debug)]
pub struct Responder {
    /// The table of responses.
    pub ledger: Ledger,
    /// The policy that is in force.
    pub policies: Policies,
    /// Places of accounts.
    pub organization: Organization,
    accounts: Accounts,
    security_hub: SecurityHub,
    settings: Arc<Settings>,
    config: SdkConfig,
}

/// What is known of a finding at its target.
enum Known {
    /// Nothing that keeps it from being decided.
    New,
    /// It was handled, under this rule.
    Handled { rule: String, entry: Entry },
    /// A worker is at this target.
    UnderWay { response: ResponseId },
    /// A worker was at it, and its lease has run out.
    Abandoned { rule: String, entry: Entry },
}

/// How often a verification is read before it counts as broken: IAM and EC2
/// are eventually consistent.
const VERIFICATIONS: u32 = 4;
const BETWEEN_VERIFICATIONS: Duration = Duration::from_millis(1_500);

impl Responder {
    /// A responder under the hub's credentials in `config`.
    pub fn new(config: &SdkConfig, settings: Settings) -> Self {
        let settings = Arc::new(settings);
        Self {
            ledger: Ledger::new(config, &settings),
            policies: Policies::new(config, &settings),
            organization: Organization::new(config, &settings),
            accounts: Accounts::new(config, settings.clone()),
            security_hub: SecurityHub::new(config, &settings),
            settings,
            config: config.clone(),
        }
    }

    /// Handles every target of a finding; each is decided on its own, and one
    /// that fails keeps none of the others from being contained.
    pub async fn respond(&self, finding: &Finding, run: Run) -> Vec<Result<Outcome, HubError>> {
        let received = tokio::time::Instant::now();
        if let Some(reason) = ignored(finding) {
            return vec![Ok(outcome(finding, None, Disposition::Nothing, reason))];
        }
        if finding.targets.is_empty() {
            let reason = format!("`{}` names no resource", finding.kind);
            return vec![Ok(outcome(finding, None, Disposition::Nothing, reason))];
        }
        let targets = finding.targets.iter().map(|target| async move {
            let arn = target.resource.arn();
            self.respond_target(finding, target, run, received).await.map_err(|error| {
                error.context(format_args!("finding `{}`, target `{arn}`", finding.id))
            })
        });
        join_all(targets).await
    }

    async fn respond_target(
        &self,
        finding: &Finding,
        target: &Target,
        run: Run,
        received: tokio::time::Instant,
    ) -> Result<Outcome, HubError> {
        // Whoever loses a claim reads again and finds the winner's entry.
        for _ in 0..3 {
            let seen = self.ledger.target(&target.resource.arn()).await?;
            match known(&seen, finding, self.now()) {
                Known::New => {}
                Known::Handled { rule, entry } => {
                    return self.repeat(finding, target, &rule, entry).await;
                }
                Known::UnderWay { response } => {
                    return Err(HubError::Transient(format!(
                        "response `{response}` is under way on this target"
                    )));
                }
                Known::Abandoned { rule, entry } if run == Run::Act => {
                    return self.resume(finding, target, &rule, entry, received).await;
                }
                Known::Abandoned { entry, .. } => {
                    let reason = format!("response `{}` would be resumed", entry.response);
                    let resource = Some(&target.resource);
                    return Ok(outcome(finding, resource, Disposition::Planned, reason));
                }
            }
            if let Some(outcome) = self.decide(finding, target, &seen, run, received).await? {
                return Ok(outcome);
            }
        }
        Err(HubError::Transient("others claimed this target three times in a row".to_owned()))
    }

    /// Decides and, if policy says so, responds. `None` when the claim was lost.
    async fn decide(
        &self,
        finding: &Finding,
        target: &Target,
        seen: &TargetItem,
        run: Run,
        received: tokio::time::Instant,
    ) -> Result<Option<Outcome>, HubError> {
        let resource = &target.resource;
        let place = self.organization.place(&resource.account).await?;
        let (decision, observed) = self.decision(finding, target, &place, seen).await?;
        let finished = |disposition, reason: String| Outcome {
            ou_path: Some(place.ou_path.clone()),
            decision: Some(decision.clone()),
            ..outcome(finding, Some(resource), disposition, reason)
        };
        let Some(rule) = decision.rule_key() else {
            return Ok(Some(finished(Disposition::Nothing, decision.reason())));
        };
        if let Some(entry) = seen.entries.get(&rule)
            && (entry.state.holds_resource() || entry.state == State::AwaitingApproval)
            && decision.acts()
        {
            let reason = format!("response `{}` is {} already", entry.response, entry.state);
            if run == Run::Act {
                let mut entry = entry.clone();
                entry.findings.insert(finding.id.clone(), finding.updated_at);
                if self.ledger.note(seen, &resource.arn(), &rule, &entry).await? == Written::Lost {
                    return Ok(None);
                }
            }
            return Ok(Some(finished(Disposition::AlreadyHeld, reason)));
        }
        let steps = plan::steps(observed);
        let Some((state, reason)) = opening_state(&decision, &steps) else {
            return Ok(Some(finished(Disposition::Nothing, decision.reason())));
        };
        if let Some(entry) = seen.entries.get(&rule)
            && entry.state == state
            && matches!(state, State::Observed | State::Refused)
            && entry.findings.contains_key(&finding.id)
        {
            let reason = format!("nothing new: {reason}");
            return Ok(Some(finished(Disposition::Repeat, reason)));
        }

        let now = self.now();
        let (id, epoch) = next_response(seen, resource, &rule);
        let arn = resource.arn();
        let response = Response {
            format: FORMAT,
            id,
            revision: 1,
            state,
            reason,
            resource: resource.clone(),
            ou_path: place.ou_path.clone(),
            finding: FindingSummary::of(finding),
            rule,
            epoch,
            steps,
            created: now,
            updated: now,
            lease_until: (state == State::Running).then(|| now + self.settings.lease),
        };
        if run == Run::Plan {
            let mut outcome = finished(Disposition::Planned, response.reason.clone());
            outcome.response = Some(response);
            return Ok(Some(outcome));
        }
        let mut entry = Entry {
            response: response.id.clone(),
            epoch,
            state,
            lease_until: response.lease_until,
            findings: BTreeMap::from([(finding.id.clone(), finding.updated_at)]),
            unsent: is_unsent(&response),
        };
        // The session is opened beside the claim; without the claim it is not used.
        let (claimed, session) = if state == State::Running {
            let session = self.changing_session(&response);
            futures::join!(self.ledger.claim(seen, &response, &entry), session)
        } else {
            (self.ledger.claim(seen, &response, &entry).await, Ok(None))
        };
        if claimed? == Written::Lost {
            return Ok(None);
        }
        let mut outcome = finished(Disposition::Responded, response.reason.clone());
        let response = if state == State::Running {
            let (response, contained_after) =
                self.carry_out(response, &mut entry, session, received).await?;
            outcome.contained_after = contained_after;
            outcome.reason.clone_from(&response.reason);
            response
        } else {
            response
        };
        info!(
            response.id = %response.id, finding.id = %finding.id, account.id = %resource.account,
            "{} `{arn}`: {}", response.state, response.reason
        );
        outcome.written_back = self.write_back(&response, &mut entry).await?;
        outcome.response = Some(response);
        Ok(Some(outcome))
    }

    /// What policy says in the light of the target's present tags, and the
    /// prior state for the actions that it leads to.
    async fn decision(
        &self,
        finding: &Finding,
        target: &Target,
        place: &Place,
        seen: &TargetItem,
    ) -> Result<(Decision, Vec<plan::Observed>), HubError> {
        let resource = &target.resource;
        let policy = self.policies.current().await?;
        let with = |tags: &Tags| policy.decide(finding, target, place, tags);

        // A decision that no tag can change needs no look-up of tags.
        let without_tags = with(&Tags::Unknown { reason: "not looked up yet".to_owned() });
        if !without_tags.depends_on_tags() && !without_tags.acts() {
            return Ok((without_tags, Vec::new()));
        }
        // The prior state is read beside the tags, for what the finding's own
        // copy of the tags leads to: nearly always the final decision.
        let expected = with(&Tags::Known(target.tags.clone()));
        let (tags, observed) = futures::join!(
            self.tags(resource),
            self.observe(finding, resource, seen, &expected, (&policy, place))
        );
        let decision = with(&tags?);
        if decision.actions == expected.actions && decision.rule == expected.rule {
            return Ok((decision, observed));
        }
        let observed = self.observe(finding, resource, seen, &decision, (&policy, place)).await;
        Ok((decision, observed))
    }

    async fn tags(&self, resource: &Resource) -> Result<Tags, HubError> {
        let read = async {
            let account = self.reading_session(resource).await?;
            tags::current(&account, resource).await
        };
        match read.await {
            Ok(Some(tags)) => Ok(Tags::Known(tags)),
            Ok(None) => Ok(Tags::None),
            // Nothing is left to protect; the actions report the loss.
            Err(error) if error.kind == Kind::Gone => Ok(Tags::Known(BTreeMap::new())),
            Err(error) if error.kind == Kind::Transient => Err(HubError::from(error)),
            Err(error) => Ok(Tags::Unknown { reason: error.to_string() }),
        }
    }

    /// Reads the prior state for every action, side by side.
    async fn observe(
        &self,
        finding: &Finding,
        resource: &Resource,
        seen: &TargetItem,
        decision: &Decision,
        (policy, place): (&Policy, &Place),
    ) -> Vec<plan::Observed> {
        let Some(rule) = decision.rule_key().filter(|_| decision.acts()) else {
            return Vec::new();
        };
        let (id, _) = next_response(seen, resource, &rule);
        let id = id.as_str();
        let each = decision.actions.iter().map(|call| async move {
            let observation = async {
                let account = self.reading_session(resource).await?;
                let scope = self.scope(&account, resource, id, &finding.id);
                let action = find(&call.name)?;
                let observation = action.observe(scope, &call.parameters).await?;
                // Whom the action changes besides the target is known only now.
                for arn in action.touches(scope, &observation.prior)? {
                    if let Some(why) = policy.protects(&arn, place) {
                        let message = format!("{} is refused: {why}", call.name);
                        return Err(ActionError::new(Kind::Refused, message));
                    }
                }
                Ok(observation)
            };
            (call.clone(), observation.await)
        });
        join_all(each).await
    }

    fn scope<'a>(
        &'a self,
        account: &'a Account,
        resource: &'a Resource,
        response: &'a str,
        finding: &'a str,
    ) -> Scope<'a> {
        let spoke_role = &self.settings.spoke_role;
        Scope { account, resource, response, finding, now: self.now(), spoke_role }
    }

    /// The session that every finding of an account shares, which only reads.
    async fn reading_session(&self, resource: &Resource) -> Result<Arc<Account>, ActionError> {
        let kind = resource.type_name();
        let reads: Vec<&str> = actions::all()
            .iter()
            .filter(|entry| entry.about.resource_types.contains(&kind))
            .flat_map(|entry| entry.about.reads)
            .chain(tags::READS)
            .copied()
            .collect();
        self.accounts.open(resource, &reads, Purpose::Observe).await
    }

    /// The session of one response: what its steps need and nothing more.
    /// `None` when no step changes anything.
    async fn changing_session(
        &self,
        response: &Response,
    ) -> Result<Option<Arc<Account>>, ActionError> {
        let needed: Vec<&str> = response
            .steps
            .iter()
            .filter(|step| !matches!(step.state, StepState::Skipped))
            .filter_map(|step| actions::find(&step.action))
            .flat_map(|entry| entry.about.reads.iter().chain(entry.about.writes))
            .copied()
            .collect();
        if needed.is_empty() {
            return Ok(None);
        }
        let purpose =
            Purpose::Change { response: response.id.clone(), finding: response.finding.id.clone() };
        self.accounts.open(&response.resource, &needed, purpose).await.map(Some)
    }

    /// Carries out what is planned, phase by phase, and records how each ended.
    async fn carry_out(
        &self,
        mut response: Response,
        entry: &mut Entry,
        session: Result<Option<Arc<Account>>, ActionError>,
        received: tokio::time::Instant,
    ) -> Result<(Response, Option<Duration>), HubError> {
        let mut contained_after = None;
        let mut interrupted = None;
        for phase in [Phase::Contain, Phase::Protect, Phase::Collect] {
            let in_phase =
                |step: &&mut Step| step.phase == phase && step.state == StepState::Planned;
            let (id, finding) = (response.id.clone(), response.finding.id.clone());
            let resource = response.resource.clone();
            let steps: Vec<&mut Step> = response.steps.iter_mut().filter(in_phase).collect();
            if steps.is_empty() {
                continue;
            }
            let ended = join_all(steps.into_iter().map(|step| async {
                match &session {
                    Ok(Some(account)) => {
                        let scope = self.scope(account, &resource, id.as_str(), &finding);
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
            let contained = response
                .steps
                .iter()
                .any(|step| step.phase == Phase::Contain && step.state == StepState::Done);
            if phase == Phase::Contain && contained && interrupted.is_none() {
                contained_after = Some(received.elapsed());
            }
            let more = response
                .steps
                .iter()
                .any(|step| step.phase > phase && step.state == StepState::Planned);
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
        self.end(&mut response, entry, state, reason).await?;
        Ok((response, contained_after))
    }

    async fn end(
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
    async fn resume(
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

    async fn take_lease(&self, response: &mut Response, entry: &mut Entry) -> Result<(), HubError> {
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

    async fn repeat(
        &self,
        finding: &Finding,
        target: &Target,
        rule: &str,
        mut entry: Entry,
    ) -> Result<Outcome, HubError> {
        let reason = format!(
            "handled before: response `{}` of rule `{rule}` is {}",
            entry.response, entry.state
        );
        let mut outcome = outcome(finding, Some(&target.resource), Disposition::Repeat, reason);
        if entry.unsent {
            let response = self.load(&entry.response).await?;
            outcome.written_back = self.write_back(&response, &mut entry).await?;
            outcome.response = Some(response);
        }
        Ok(outcome)
    }

    /// Tells Security Hub how a response stands, and records that it knows.
    /// Returns the workflow status that was written.
    async fn write_back(
        &self,
        response: &Response,
        entry: &mut Entry,
    ) -> Result<Option<String>, HubError> {
        let (Some(update), Some(id)) = (status::of(response), &response.finding.security_hub)
        else {
            return Ok(None);
        };
        let findings = std::slice::from_ref(id);
        self.security_hub.update(&response.finding.region, findings, &update).await.map_err(
            |error| {
                error.context(format_args!(
                    "`{}` is {}, but Security Hub was not told",
                    response.id, response.state
                ))
            },
        )?;
        entry.unsent = false;
        let arn = response.resource.arn();
        let seen = self.ledger.target(&arn).await?;
        // Losing here means that somebody wrote a newer entry; theirs stands,
        // and at worst the same status is written once more.
        if self.ledger.note(&seen, &arn, &response.rule, entry).await? == Written::Lost {
            warn!(response.id = %response.id, "the target's entry changed during write-back");
        }
        Ok(Some(update.workflow.map_or("unchanged", status::Workflow::name).to_owned()))
    }

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

    async fn undo_claimed(
        &self,
        mut response: Response,
        mut entry: Entry,
    ) -> Result<Response, HubError> {
        let session = self.changing_session(&response).await;
        let (id, finding) = (response.id.clone(), response.finding.id.clone());
        let resource = response.resource.clone();
        let mut failures = Vec::new();
        let mut drift = Vec::new();
        // One after another and backwards: a later step may rest on an earlier.
        for step in response.steps.iter_mut().rev().filter(|step| may_have_changed(step)) {
            let undone = match &session {
                Ok(Some(account)) => {
                    let scope = self.scope(account, &resource, id.as_str(), &finding);
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

    async fn load(&self, id: &ResponseId) -> Result<Response, HubError> {
        self.ledger
            .response(id)
            .await?
            .ok_or_else(|| HubError::Failed(format!("there is no response `{id}`")))
    }

    /// The present time by the configuration's clock.
    pub fn now(&self) -> Timestamp {
        config::now(&self.config)
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
    let mut tries = 1;
    loop {
        let verdict = action.verify(scope, &step.parameters, &step.prior).await?;
        if matches!(verdict, Verdict::Holds(_)) || tries == VERIFICATIONS {
            return Ok(verdict);
        }
        tries += 1;
        tokio::time::sleep(BETWEEN_VERIFICATIONS).await;
    }
}

fn find(name: &str) -> Result<&'static actions::Entry, ActionError> {
    actions::find(name).ok_or_else(|| {
        ActionError::new(Kind::Failed, format!("this version has no action `{name}`"))
    })
}

/// What the finding itself says against acting on it, before any call.
fn ignored(finding: &Finding) -> Option<String> {
    if finding.sample {
        return Some("a sample finding is never acted on".to_owned());
    }
    if finding.archived {
        return Some("an archived or suppressed finding is never acted on".to_owned());
    }
    // Our own updates come back as events with another status than NEW; so do
    // an analyst's.
    finding
        .workflow_status
        .as_deref()
        .filter(|status| *status != "NEW")
        .map(|status| format!("its workflow status is {status}: somebody is at it already"))
}

fn known(seen: &TargetItem, finding: &Finding, now: Timestamp) -> Known {
    for (rule, entry) in &seen.entries {
        if matches!(entry.state, State::Running | State::Undoing) {
            if entry.lease_until.is_some_and(|until| until > now) {
                return Known::UnderWay { response: entry.response.clone() };
            }
            return Known::Abandoned { rule: rule.clone(), entry: entry.clone() };
        }
    }
    for (rule, entry) in &seen.entries {
        let Some(handled) = entry.findings.get(&finding.id) else { continue };
        let settled = match entry.state {
            // What was not contained is decided anew when the finding is seen
            // again: somebody may have mended what stood in the way.
            State::Observed | State::Refused | State::Failed => *handled >= finding.updated_at,
            // After an undo the same finding is held off for good.
            State::AwaitingApproval
            | State::Running
            | State::Contained
            | State::Completed
            | State::PartiallyContained
            | State::Undoing
            | State::Undone => true,
        };
        if settled {
            return Known::Handled { rule: rule.clone(), entry: entry.clone() };
        }
    }
    Known::New
}

/// The id and epoch that the next response of this rule on this target has.
fn next_response(seen: &TargetItem, resource: &Resource, rule: &str) -> (ResponseId, u64) {
    let epoch = seen.entries.get(rule).map_or(1, |entry| entry.epoch + 1);
    (ResponseId::of(&resource.arn(), rule, epoch), epoch)
}

/// In which state a decision is recorded first; `None` for one that is not.
fn opening_state(decision: &Decision, steps: &[Step]) -> Option<(State, String)> {
    if decision.is_refused() {
        return Some((State::Refused, decision.reason()));
    }
    match decision.mode {
        Mode::Off => None,
        Mode::Observe => Some((State::Observed, decision.reason())),
        Mode::Approve => Some((State::AwaitingApproval, decision.reason())),
        Mode::Auto if steps.is_empty() => None,
        Mode::Auto => Some((State::Running, decision.reason())),
    }
}

fn is_unsent(response: &Response) -> bool {
    response.finding.security_hub.is_some() && status::of(response).is_some()
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

fn outcome(
    finding: &Finding,
    resource: Option<&Resource>,
    disposition: Disposition,
    reason: String,
) -> Outcome {
    Outcome {
        finding: FindingSummary::of(finding),
        resource: resource.cloned(),
        ou_path: None,
        disposition,
        reason,
        decision: None,
        response: None,
        contained_after: None,
        written_back: None,
    }
}

fn fenced(response: &Response) -> HubError {
    HubError::Transient(format!("another worker took response `{}` over", response.id))
}
