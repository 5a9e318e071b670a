//! The response engine, the one place in which effects are ordered: it takes a finding
//! and returns an outcome for each of its targets.
//!
//! # Guarantees
//!
//! - No resource is changed before the plan is recorded, and no step is executed before
//!   its own prior state is. Only the worker that holds the lease changes anything.
//! - A finding that was handled before costs one read of the store.
//! - After a crash the response is recovered from its record once its lease has expired:
//!   at the next finding for the target, or by the sweep.
//! - `contained` is recorded only after reading back.
//!
//! # What it assumes
//!
//! The caller delivers a finding again when an error is returned (SQS does).

// The futures hold outputs of the SDKs, whose types are deeply nested, and the compiler
// checks `Send` for each. Outside this crate they are boxed.
#![recursion_limit = "256"]

mod approve;
mod assess;
mod caller;
mod clock;
mod confirm;
mod deliver;
mod execute;
mod handle_target;
mod member_accounts;
mod outcome;
mod pause;
mod recorder;
mod recover;
mod respond;
mod sibling_targets;
mod stages;
mod suppress;
mod sweep;
mod unconfirmed;
mod undo;

use std::sync::Arc;

use aws_config::SdkConfig;
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
use firebreak_aws::store::{SharedTokens, Store};
use firebreak_client::rate_limit::RateLimits;
use firebreak_model::finding::Finding;
use firebreak_response::outbox::{Channel, OutboxKey};
use firebreak_response::pauses::{Pause, PauseScope};
use firebreak_response::record::{Response, ResponseId, Undo};
use firebreak_spoke::account::AccountSession;
use firebreak_spoke::registry;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use self::approve::Approvals;
use self::caller::Caller;
use self::clock::Clock;
use self::confirm::Confirmer;
use self::deliver::Deliverer;
pub use self::deliver::Delivery;
use self::member_accounts::MemberAccounts;
pub use self::outcome::{BudgetLeft, Disposition, Run, TargetOutcome};
use self::pause::Pauser;
use self::recorder::Recorder;
use self::respond::Responder;
use self::stages::Stages;
use self::suppress::Suppressor;
pub use self::sweep::SweepReport;
use self::sweep::Sweeper;
use self::undo::Undoer;

/// The engine of one process: the public interface to its stages.
#[derive(Debug)]
pub struct Engine {
    /// The hub's DynamoDB table.
    pub store: Arc<Store>,
    /// The policy that is in force.
    pub policies: Arc<Policies>,
    /// Looks up the places of accounts.
    pub organization: Arc<Organization>,
    /// Findings and their status.
    pub security_hub: Arc<SecurityHub>,
    /// GuardDuty, called as its delegated administrator.
    pub guardduty: Arc<GuardDuty>,
    /// When the current invocation ends; set at each invocation.
    pub deadline: Deadline,
    /// The number of AWS calls, by service.
    pub counts: Counts,
    /// The intake queue, if configured.
    pub intake: Option<Intake>,
    settings: Arc<Settings>,
    clock: Clock,
    caller: Caller,
    responder: Responder,
    approvals: Approvals,
    undoer: Undoer,
    suppressor: Suppressor,
    pauser: Pauser,
    deliverer: Deliverer,
    sweeper: Sweeper,
}

impl Engine {
    /// An engine with the hub's credentials in `config`. It has no deadline until one
    /// is set.
    pub fn new(config: &SdkConfig, settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let calls = DeadlineClients::new(config);
        let DeadlineClients { deadline, counts, .. } = calls.clone();
        let members_config = config;
        // Every client below uses this configuration, so that the deadline applies to
        // every call.
        let config = &calls.of_hub(config);
        let clock = Clock::new(config.clone());
        let store = Arc::new(Store::new(config, &settings));
        let rate_limits = if settings.share_rates {
            let tokens = SharedTokens::new(config, Store::clone(&store));
            RateLimits::new(Arc::new(tokens), settings.rate_share)
        } else {
            RateLimits::local(settings.rate_share)
        };
        let sessions = Arc::new(Sessions::new(
            members_config,
            settings.clone(),
            calls,
            rate_limits.clone(),
            AccountSession::new,
        ));
        let policies = Arc::new(Policies::new(config, &settings, registry::catalog()));
        let organization = Arc::new(Organization::new(config, &settings, &rate_limits));
        let security_hub = Arc::new(SecurityHub::new(config, &settings, &rate_limits));
        let guardduty = Arc::new(GuardDuty::new(config, &rate_limits));
        let caller = Caller::new(sessions.clone());

        let recorder = Recorder {
            store: store.clone(),
            caller: caller.clone(),
            clock: clock.clone(),
            channels: channels(&settings).into(),
            lease: SignedDuration::try_from(settings.lease).unwrap_or(SignedDuration::MAX),
        };
        let stages = Stages {
            members: MemberAccounts {
                sessions,
                rate_limits,
                settings: settings.clone(),
                clock: clock.clone(),
            },
            confirmer: Confirmer {
                guardduty: guardduty.clone(),
                security_hub: security_hub.clone(),
                clock: clock.clone(),
            },
            deliverer: Deliverer {
                recorder: recorder.clone(),
                security_hub: security_hub.clone(),
                guardduty: guardduty.clone(),
                notices: Arc::new(Notices::new(config, &settings)),
                queue: Queue::new(config, &settings),
            },
            recorder,
            policies,
            organization,
            deadline,
            share_places: settings.share_places,
        };
        Self {
            intake: Intake::new(config, &settings),
            responder: stages.responder(),
            approvals: stages.approvals(),
            undoer: stages.undoer(),
            suppressor: stages.suppressor(),
            pauser: stages.pauser(),
            sweeper: stages.sweeper(),
            deliverer: stages.deliverer,
            policies: stages.policies,
            organization: stages.organization,
            deadline: stages.deadline,
            store,
            security_hub,
            guardduty,
            counts,
            settings,
            clock,
            caller,
        }
    }

    /// Handles every target of a finding. Each is decided on its own, and a failure of
    /// one does not affect the others.
    pub fn respond<'a>(
        &'a self,
        finding: &'a Finding,
        run: Run,
    ) -> BoxFuture<'a, Vec<Result<TargetOutcome, HubError>>> {
        self.responder.respond(finding, run).boxed()
    }

    /// Approves a plan and executes it. If `shown` is given, the plan is approved only if
    /// that is still the response's revision.
    ///
    /// # Errors
    ///
    /// `Refused` if there is no such response, it does not wait for approval, its scope
    /// is paused, a guardrail forbids it now, or the plan has changed: the new plan is
    /// recorded and can be approved.
    pub fn approve<'a>(
        &'a self,
        id: &'a ResponseId,
        reason: Option<String>,
        shown: Option<u64>,
    ) -> BoxFuture<'a, Result<Response, HubError>> {
        self.approvals.approve(id, reason, shown).boxed()
    }

    /// Denies a plan. Its findings are not decided again unless [`Engine::release`] is called.
    ///
    /// # Errors
    ///
    /// `Refused` when there is no such response or it does not wait for approval.
    pub fn deny<'a>(
        &'a self,
        id: &'a ResponseId,
        reason: Option<String>,
    ) -> BoxFuture<'a, Result<Response, HubError>> {
        self.approvals.deny(id, reason).boxed()
    }

    /// Undoes a response, or one step of it: restores the prior state, the last step first,
    /// and reports drift. If requested, findings of the same type are first suppressed on
    /// the target, so that no finding contains it again during the undo. The findings that
    /// the response covers are not decided again unless [`Engine::release`] is called.
    ///
    /// # Errors
    ///
    /// `Refused` if there is no such response or step, or nothing to undo; `Transient` if a
    /// worker holds the lease.
    pub fn undo<'a>(
        &'a self,
        id: &'a ResponseId,
        request: Undo,
    ) -> BoxFuture<'a, Result<Response, HubError>> {
        self.undoer.undo(id, request).boxed()
    }

    /// Suppresses further findings of a response's type on its target. The response
    /// stays as it is.
    ///
    /// # Errors
    ///
    /// `Refused` when there is no such response.
    pub fn suppress<'a>(
        &'a self,
        id: &'a ResponseId,
        until: Timestamp,
        reason: Option<String>,
    ) -> BoxFuture<'a, Result<Response, HubError>> {
        self.suppressor.suppress(id, until, reason).boxed()
    }

    /// Ends a suppression. Findings of an undone or denied response are decided
    /// again when they are next delivered.
    ///
    /// # Errors
    ///
    /// `Refused` when there is no such response, `Transient` when a worker
    /// changed the target at the same time.
    pub fn release<'a>(&'a self, id: &'a ResponseId) -> BoxFuture<'a, Result<Response, HubError>> {
        self.suppressor.release(id).boxed()
    }

    /// Pauses a scope. It takes effect in every process of the hub: each reads the pauses
    /// before it claims a target. Responses in progress are finished.
    pub fn pause<'a>(
        &'a self,
        scope: &'a PauseScope,
        until: Option<Timestamp>,
        reason: Option<String>,
    ) -> BoxFuture<'a, Result<Pause, HubError>> {
        self.pauser.pause(scope, until, reason).boxed()
    }

    /// Ends the pause of a scope. Returns the pause; `None` if there was none.
    pub fn end_pause<'a>(
        &'a self,
        scope: &'a PauseScope,
    ) -> BoxFuture<'a, Result<Option<Pause>, HubError>> {
        self.pauser.end_pause(scope).boxed()
    }

    /// Whether a scope exists: a pause of a mistyped scope would have no effect. A rule is
    /// looked up in the policy in force.
    ///
    /// # Errors
    ///
    /// Organizations or the table cannot be read.
    pub fn scope_exists<'a>(
        &'a self,
        scope: &'a PauseScope,
    ) -> BoxFuture<'a, Result<bool, HubError>> {
        self.pauser.scope_exists(scope).boxed()
    }

    /// Delivers the outbox items under these keys. Items that were delivered or given up
    /// already, or that another worker has claimed, are skipped.
    pub fn deliver_keys<'a>(
        &'a self,
        keys: &'a [OutboxKey],
    ) -> BoxFuture<'a, Result<Delivery, HubError>> {
        self.deliverer.deliver_keys(keys).boxed()
    }

    /// Processes everything due: approval timeouts, expiries, responses that were abandoned
    /// or handed over, pending notifications. Work still running at the deadline is
    /// stopped, and is recovered from its record later.
    pub fn sweep(&self) -> BoxFuture<'_, SweepReport> {
        self.sweeper.sweep().boxed()
    }

    /// The ARN of the hub's credentials, from GetCallerIdentity.
    pub async fn caller(&self) -> Result<String, HubError> {
        self.caller.arn().await
    }

    /// Loads a response.
    ///
    /// # Errors
    ///
    /// `Refused` if there is none.
    pub async fn load(&self, id: &ResponseId) -> Result<Response, HubError> {
        self.deliverer.recorder.load(id).await
    }

    /// How long findings are suppressed on a target after an undo, by default.
    pub fn suppression_after_undo(&self) -> SignedDuration {
        SignedDuration::try_from(self.settings.suppress_after_undo).unwrap_or(SignedDuration::MAX)
    }

    /// The current time, from the SDK configuration's time source.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
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
