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

mod carry_out;
mod confirm;
mod hold;
mod known;
mod observe;
mod outcome;
mod undo;
mod write_back;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_config::SdkConfig;
use firebreak_spoke::resource::Resource;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tracing::info;

use self::known::{Known, entry_key, held_off, ignored, known, next_response, opening_state};
use self::observe::Reading;
use self::outcome::outcome;
pub use self::outcome::{Disposition, Outcome, Run};
use self::write_back::is_unsent;
use crate::aws::accounts::Accounts;
use crate::aws::config;
use crate::aws::error::HubError;
use crate::aws::guardduty::GuardDuty;
use crate::aws::ledger::{Entry, Ledger, TargetItem, Written};
use crate::aws::organization::Organization;
use crate::aws::policies::Policies;
use crate::aws::security_hub::SecurityHub;
use crate::finding::{Finding, Target};
use crate::organization::Place;
use crate::plan;
use crate::policy::{Decision, Mode, Window};
use crate::record::{FORMAT, FindingSummary, Response, ResponseId, State, Step};
use crate::settings::Settings;

/// The responder of one process.
#[derive(Debug)]
pub struct Responder {
    /// The table of responses.
    pub ledger: Ledger,
    /// The policy that is in force.
    pub policies: Policies,
    /// Places of accounts.
    pub organization: Organization,
    /// Findings and their status.
    pub security_hub: SecurityHub,
    /// GuardDuty, as its administrator sees it.
    pub guardduty: GuardDuty,
    accounts: Accounts,
    settings: Arc<Settings>,
    config: SdkConfig,
}

/// How a response is opened.
struct Opening {
    state: State,
    reason: String,
    rule: String,
    steps: Vec<Step>,
}

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
            guardduty: GuardDuty::new(config, &settings),
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
                Known::New => {
                    if let Some(reason) = held_off(&seen, finding, self.now()) {
                        let resource = Some(&target.resource);
                        return Ok(outcome(finding, resource, Disposition::HeldOff, reason));
                    }
                }
                Known::Handled { rule, entry } => {
                    return self.repeat(finding, target, &rule, entry).await;
                }
                Known::UnderWay { response } => {
                    return Err(HubError::Transient(format!(
                        "response `{response}` is under way on this target"
                    )));
                }
                Known::Abandoned { rule, entry } if run == Run::Act => {
                    let answered = entry.findings.contains_key(&finding.id);
                    let outcome = self.resume(finding, target, &rule, entry, received).await?;
                    if answered {
                        return Ok(outcome);
                    }
                    // That was another finding's: this one is decided now.
                    continue;
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
        let Reading { decision, observed, unconfirmed } =
            self.decision(finding, target, &place, seen).await?;
        let finished = |disposition, reason: String| Outcome {
            ou_path: Some(place.ou_path.clone()),
            decision: Some(decision.clone()),
            ..outcome(finding, Some(resource), disposition, reason)
        };
        let Some(rule) = entry_key(&decision, finding, seen) else {
            return Ok(Some(finished(Disposition::Nothing, decision.reason())));
        };
        if let Some(why) = unconfirmed {
            let (it, at, by) = ((finding, target), (seen, &place), (&decision, rule.as_str()));
            return Box::pin(self.refuse_unconfirmed(it, at, by, &why, run)).await;
        }
        let steps = plan::steps(observed);
        if run == Run::Act
            && decision.mode == Mode::Auto
            && let Some(entry) = seen.entries.get(&rule)
            && matches!(entry.state, State::Failed | State::PartiallyContained)
            && let Some(again) =
                self.retry(finding, target, entry.clone(), &steps, received).await?
        {
            return Ok(Some(again));
        }
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

        let response = self.opened(
            finding,
            (resource, &place),
            seen,
            &decision,
            Opening { state, reason, rule, steps },
        );
        if run == Run::Plan {
            let mut outcome = finished(Disposition::Planned, response.reason.clone());
            outcome.response = Some(response);
            return Ok(Some(outcome));
        }
        let mut entry = Entry {
            response: response.id.clone(),
            epoch: response.epoch,
            state: response.state,
            lease_until: response.lease_until,
            findings: BTreeMap::from([(finding.id.clone(), finding.updated_at)]),
            unsent: is_unsent(&response),
            expired: false,
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
            "{} `{}`: {}", response.state, resource.arn(), response.reason
        );
        outcome.written_back = self.write_back(&response, &mut entry).await?;
        outcome.response = Some(response);
        Ok(Some(outcome))
    }

    /// The record of a new response, as it is written before anything changes.
    fn opened(
        &self,
        finding: &Finding,
        (resource, place): (&Resource, &Place),
        seen: &TargetItem,
        decision: &Decision,
        Opening { state, reason, rule, steps }: Opening,
    ) -> Response {
        let now = self.now();
        let (id, epoch) = next_response(seen, resource, &rule);
        Response {
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
            expires: decision.expires.map(Window::duration),
            due: None,
            undo: None,
        }
    }

    async fn load(&self, id: &ResponseId) -> Result<Response, HubError> {
        self.ledger
            .response(id)
            .await?
            .ok_or_else(|| HubError::Failed(format!("there is no response `{id}`")))
    }

    /// How long an undone target is left alone unless somebody says otherwise.
    pub fn hold_after_undo(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::try_from(self.settings.hold.as_secs()).unwrap_or(i64::MAX))
    }

    /// Who the hub's credentials belong to, as GetCallerIdentity names it.
    pub async fn caller(&self) -> Result<String, HubError> {
        self.accounts.caller().await
    }

    /// The present time by the configuration's clock.
    pub fn now(&self) -> Timestamp {
        config::now(&self.config)
    }
}
