//! The response engine, the one place in which effects are ordered: it takes a finding
//! and returns an outcome for each of its targets.
//!
//! # Guarantees
//!
//! - Nothing is changed before the whole plan with all prior state is recorded,
//!   and nothing by anyone but the holder of the claim.
//! - A finding that was handled costs one read.
//! - After a crash the response is recovered from its record when the finding is
//!   delivered again and the lease has expired.
//! - `contained` is recorded only after reading back.
//!
//! # What it assumes
//!
//! The caller delivers a finding again when an error is returned (SQS does).

mod approve;
mod assess;
mod capture;
mod commit;
mod confirm;
mod deliver;
mod execute;
mod handle_target;
mod outcome;
mod pause;
mod recover;
mod sibling_targets;
mod suppress;
mod sweep;
mod undo;

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use firebreak_spoke::account::AccountSession;
use firebreak_spoke::registry;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::OnceCell;
use tracing::{info, instrument, warn};

pub use self::deliver::Delivery;
use self::outcome::outcome;
pub use self::outcome::{BudgetLeft, Disposition, Run, TargetOutcome};
pub use self::sweep::SweepReport;
use firebreak_aws::config;
use firebreak_aws::deadline::{Counts, Deadline, DeadlineClients};
use firebreak_aws::error::HubError;
use firebreak_aws::guardduty::GuardDuty;
use firebreak_aws::intake::Intake;
use firebreak_aws::notices::Notices;
use firebreak_aws::organization::Organization;
use firebreak_aws::policies::Policies;
use firebreak_aws::queue::Queue;
use firebreak_aws::security_hub::SecurityHub;
use firebreak_aws::sessions::Sessions;
use firebreak_aws::settings::Settings;
use firebreak_aws::store::Store;
use firebreak_model::finding::{Finding, Target};
use firebreak_response::dedup::{PriorResponse, prior_response, skip_reason, suppressed_until};
use firebreak_response::outbox::Channel;
use firebreak_response::record::{Response, ResponseId};

/// How often a target is read again after somebody else claimed it.
const CLAIMS: u32 = 8;

/// The engine of one process.
#[derive(Debug)]
pub struct Engine {
    /// The table of responses.
    pub store: Store,
    /// The policy that is in force.
    pub policies: Policies,
    /// Places of accounts.
    pub organization: Organization,
    /// Findings and their status.
    pub security_hub: SecurityHub,
    /// GuardDuty, as its administrator sees it.
    pub guardduty: GuardDuty,
    /// When the present invocation ends; set at each invocation.
    pub deadline: Deadline,
    /// The AWS calls by service.
    pub counts: Counts,
    /// The intake queue, if configured.
    pub intake: Option<Intake>,
    accounts: Sessions<AccountSession>,
    queue: Option<Queue>,
    notices: Notices,
    channels: Vec<Channel>,
    identity: OnceCell<String>,
    settings: Arc<Settings>,
    config: SdkConfig,
}

impl Engine {
    /// An engine with the hub's credentials in `config`. It has no deadline until one
    /// is set.
    pub fn new(config: &SdkConfig, settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let calls = DeadlineClients::new(config);
        let DeadlineClients { deadline, counts, .. } = calls.clone();
        let accounts = Sessions::new(config, settings.clone(), calls.clone(), AccountSession::new);
        // Every client below uses this configuration, so that the deadline applies to
        // every call.
        let config = &calls.of_hub(config);
        Self {
            deadline,
            counts,
            accounts,
            store: Store::new(config, &settings),
            policies: Policies::new(config, &settings, registry::catalog()),
            organization: Organization::new(config, &settings),
            security_hub: SecurityHub::new(config, &settings),
            guardduty: GuardDuty::new(config, &settings),
            intake: Intake::new(config, &settings),
            queue: Queue::new(config, &settings),
            channels: channels(&settings),
            notices: Notices::new(config, &settings),
            identity: OnceCell::new(),
            settings,
            config: config.clone(),
        }
    }

    /// Handles every target of a finding. Each is decided on its own, and a failure of
    /// one does not affect the others.
    #[instrument(skip_all, fields(finding.id = %finding.id, account.id = %finding.account))]
    pub async fn respond(
        &self,
        finding: &Finding,
        run: Run,
    ) -> Vec<Result<TargetOutcome, HubError>> {
        let received = tokio::time::Instant::now();
        if let Some(reason) = skip_reason(finding) {
            return vec![Ok(outcome(finding, None, Disposition::Nothing, reason))];
        }
        if finding.targets.is_empty() {
            let reason = format!("`{}` names no resource", finding.kind);
            return vec![Ok(outcome(finding, None, Disposition::Nothing, reason))];
        }
        let targets = finding.targets.iter().map(|target| async move {
            let arn = target.resource.arn();
            Box::pin(self.respond_target(finding, target, run, received)).await.map_err(|error| {
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
    ) -> Result<TargetOutcome, HubError> {
        // A resource with impossible ids is refused before any call, even to the store,
        // where its ids would become keys.
        target.resource.check_form().map_err(|error| HubError::refused(error.to_string()))?;
        // A worker that loses a claim reads the target again and finds the winner's
        // entry. Each waits for a random time, longer each time, so that many do not
        // lose in step.
        for lost in 0..CLAIMS {
            if lost > 0 {
                let wait = Duration::from_millis(10 << lost);
                tokio::time::sleep(wait.mul_f64(fastrand::f64())).await;
            }
            let resource = &target.resource;
            let target_state = self.store.target(&resource.arn(), &resource.account).await?;
            match prior_response(&target_state, finding, self.now()) {
                PriorResponse::New => {
                    if let Some(reason) = suppressed_until(&target_state, finding, self.now()) {
                        let resource = Some(&target.resource);
                        return Ok(outcome(finding, resource, Disposition::Suppressed, reason));
                    }
                }
                PriorResponse::Handled { key, entry } => {
                    let reason = format!(
                        "handled before: response `{}` of rule `{key}` is {}",
                        entry.response, entry.state
                    );
                    let resource = Some(&target.resource);
                    return Ok(outcome(finding, resource, Disposition::Repeat, reason));
                }
                PriorResponse::UnderWay { response } => {
                    return Err(HubError::transient(format!(
                        "response `{response}` is running on this target"
                    )));
                }
                PriorResponse::Abandoned { key, entry } if run == Run::Act => {
                    let answered = entry.findings.contains_key(&finding.id);
                    info!(response.id = %entry.response, "the worker of `{key}` stopped");
                    let outcome =
                        Box::pin(self.recover_for_finding(finding, target, entry, received))
                            .await?;
                    if answered {
                        return Ok(outcome);
                    }
                    // That response covered another finding: this one is decided now.
                    continue;
                }
                PriorResponse::Abandoned { entry, .. } => {
                    let reason = format!("response `{}` would be recovered", entry.response);
                    let resource = Some(&target.resource);
                    return Ok(outcome(finding, resource, Disposition::Planned, reason));
                }
            }
            if let Some(outcome) =
                Box::pin(self.handle_target(finding, target, &target_state, run, received)).await?
            {
                return Ok(outcome);
            }
        }
        Err(HubError::transient("other workers claimed this target each time".to_owned()))
    }

    /// The record of a response; `Refused` if there is none.
    pub async fn load(&self, id: &ResponseId) -> Result<Response, HubError> {
        self.store.response(id).await?.ok_or_else(|| {
            HubError::refused(format!(
                "there is no response `{id}`\nhelp: `firebreak responses list` shows the latest"
            ))
        })
    }

    /// How long findings are suppressed on a target after an undo, by default.
    pub fn suppression_after_undo(&self) -> SignedDuration {
        SignedDuration::from_secs(
            i64::try_from(self.settings.suppress_after_undo.as_secs()).unwrap_or(i64::MAX),
        )
    }

    /// The ARN of the hub's credentials, from GetCallerIdentity.
    pub async fn caller(&self) -> Result<String, HubError> {
        self.identity.get_or_try_init(|| self.accounts.caller()).await.cloned()
    }

    /// The same for audit events of what policy does; an unknown ARN does not stop a
    /// response.
    async fn identity(&self) -> String {
        match self.caller().await {
            Ok(caller) => caller,
            Err(error) => {
                warn!("the record will not say under whose credentials this was: {error}");
                "unknown".to_owned()
            }
        }
    }

    /// The present time by the configuration's clock.
    pub fn now(&self) -> Timestamp {
        config::now(&self.config)
    }
}

/// The channels that these settings enable.
fn channels(settings: &Settings) -> Vec<Channel> {
    let mut channels = vec![Channel::SecurityHub];
    channels.extend(settings.archive_resolved.then_some(Channel::Archive));
    channels.extend(settings.topic.as_ref().map(|_| Channel::Topic));
    channels.extend(settings.event_bus.as_ref().map(|_| Channel::Bus));
    channels
}
