//! Reads a member account: tags and prior state. Changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use firebreak_client::rate_limit::{Calls, Class, RateLimits, Urgency};
use firebreak_model::digest::sha256_hex;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::Resource;
use firebreak_spoke::account::AccountSession;
use firebreak_spoke::contract::{ActionContext, Phase};
use firebreak_spoke::read_cache::ReadCache;
use firebreak_spoke::registry;
use firebreak_spoke::tags;
use futures::future::join_all;
use tracing::instrument;

use super::clock::Clock;
use super::execute::find;
use firebreak_aws::error::HubError;
use firebreak_aws::sessions::{Purpose, Sessions};
use firebreak_aws::settings::Settings;
use firebreak_model::finding::Finding;
use firebreak_model::organization::Place;
use firebreak_policy::{ActionCall, Decision, Policy, Tags, with_response};
use firebreak_response::dedup::{next_epoch, target_key};
use firebreak_response::plan;
use firebreak_response::record::{FindingSummary, Response, ResponseId, StepState};
use firebreak_response::target::TargetState;

/// Sessions in member accounts, and what is read through them.
#[derive(Clone, Debug)]
pub(super) struct MemberAccounts {
    pub(super) sessions: Arc<Sessions<AccountSession>>,
    pub(super) rate_limits: RateLimits,
    pub(super) settings: Arc<Settings>,
    pub(super) clock: Clock,
}

/// For which actions of a decision the prior state is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Captured {
    /// For all: a person sees the whole plan.
    Whole,
    /// For those of the first phase. What comes later is read before its own phase, so that
    /// it does not delay the containment.
    FirstPhase,
}

/// The inputs of a decision: the policy, the account's place, and what was read of the
/// target already.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) policy: &'a Policy,
    pub(super) place: &'a Place,
    pub(super) cache: &'a ReadCache,
}

impl MemberAccounts {
    /// The target's present tags.
    pub(super) async fn tags(
        &self,
        resource: &Resource,
        cache: &ReadCache,
    ) -> Result<Tags, HubError> {
        let read = async {
            let account = self.reading_session(resource).await?;
            tags::current(&account, resource, cache).await
        };
        match read.await {
            Ok(Some(tags)) => Ok(Tags::Known(tags)),
            Ok(None) => Ok(Tags::None),
            // Nothing is left to protect; the actions report the loss.
            Err(error) if error.kind == ErrorKind::Gone => Ok(Tags::Known(BTreeMap::new())),
            Err(error) if error.kind == ErrorKind::Transient => Err(HubError::from(error)),
            Err(error) => Ok(Tags::Unknown { reason: error.to_string() }),
        }
    }

    /// Captures the prior state for the actions of a decision concurrently. Those that are
    /// left for later have an error that a later capture replaces.
    #[instrument(name = "capture", skip_all, fields(account.id = %resource.account))]
    pub(super) async fn capture(
        &self,
        finding: &Finding,
        resource: &Resource,
        target_state: &TargetState,
        decision: &Decision,
        which: Captured,
        at: At<'_>,
    ) -> Vec<plan::CapturedCall> {
        let key = target_key(decision, finding, target_state, registry::catalog());
        let Some(key) = key.filter(|_| decision.acts()) else { return Vec::new() };
        let id = ResponseId::of(&resource.arn(), &key, next_epoch(target_state, &key));
        let calls: Vec<ActionCall> = decision
            .actions
            .iter()
            .map(|call| ActionCall {
                name: call.name.clone(),
                parameters: with_response(&call.parameters, id.as_str()),
                ..call.clone()
            })
            .collect();
        let phase = |call: &ActionCall| registry::find(&call.name).map(|it| it.spec.phase);
        let first = calls.iter().filter(|call| !call.if_residual).filter_map(phase).min();
        let is_later = |call: &ActionCall| {
            which == Captured::FirstPhase && (phase(call) != first || call.if_residual)
        };
        let (later, now): (Vec<_>, Vec<_>) = calls.into_iter().partition(is_later);
        let summary = FindingSummary::of(finding);
        let captured = self.capture_calls(resource, id.as_str(), &summary, &now, at);
        let mut captured = Box::pin(captured).await;
        captured.extend(later.into_iter().map(|call| {
            let why = "its state is read before its phase";
            (call, Err(ActionError::new(ErrorKind::Transient, why)))
        }));
        captured
    }

    /// Captures the prior state for these actions of a response concurrently.
    pub(super) async fn capture_calls(
        &self,
        resource: &Resource,
        id: &str,
        summary: &FindingSummary,
        calls: &[ActionCall],
        at: At<'_>,
    ) -> Vec<plan::CapturedCall> {
        let each = calls.iter().map(|call| async move {
            let captured = async {
                let action = find(&call.name)?;
                let account = self.reading_session(resource).await?;
                let account = account.with_urgency(urgency(action.spec.phase));
                let context = self.action_context(&account, resource, id, summary, at.cache);
                let captured = action.capture(context, &call.parameters).await?;
                // Only the captured state shows which other resources the action
                // changes.
                for arn in action.touches(context, &captured.prior)? {
                    if let Some(why) = at.policy.protects(&arn, at.place) {
                        let message = format!("{} is refused: {why}", call.name);
                        return Err(ActionError::new(ErrorKind::Refused, message));
                    }
                }
                Ok(captured)
            };
            let captured = captured.await;
            (call.clone(), captured)
        });
        join_all(each).await
    }

    pub(super) fn action_context<'a>(
        &'a self,
        account: &'a AccountSession,
        resource: &'a Resource,
        response: &'a str,
        finding: &'a FindingSummary,
        cache: &'a ReadCache,
    ) -> ActionContext<'a> {
        ActionContext {
            account,
            resource,
            response,
            finding: &finding.id,
            remote_addresses: &finding.remote_addresses,
            now: self.clock.now(),
            spoke_role: &self.settings.spoke_role,
            cache,
        }
    }

    /// Takes tokens of the rate limits for what the actions' containing steps are going to
    /// call. With `in_turn`, `false` if another process has begun to read the same resource
    /// just now.
    pub(super) async fn reserve(
        &self,
        resource: &Resource,
        actions: &[ActionCall],
        in_turn: bool,
    ) -> bool {
        let entries = actions.iter().filter_map(|call| registry::find(&call.name));
        let mut calls = Calls::default();
        for entry in entries.filter(|entry| entry.spec.phase == Phase::Contain) {
            add_calls(&mut calls, entry.spec.reads, entry.spec.writes);
        }
        let turn = sha256_hex(resource.arn());
        let turn = turn.get(..16).filter(|_| in_turn);
        self.rate_limits.reserve(&resource.account, &resource.region, &calls, turn).await
    }

    /// Takes a token for the AssumeRole of the session that changes the resource.
    pub(super) async fn reserve_session(&self) {
        self.sessions.reserve().await;
    }

    /// The session that every finding of an account shares, which only reads.
    pub(super) async fn reading_session(
        &self,
        resource: &Resource,
    ) -> Result<Arc<AccountSession>, ActionError> {
        let kind = resource.type_name();
        let reads: Vec<&str> = registry::all()
            .iter()
            .filter(|entry| entry.spec.resource_types.contains(&kind))
            .flat_map(|entry| entry.spec.reads)
            .chain(tags::READS)
            .copied()
            .collect();
        self.sessions.open(resource, &reads, Purpose::Read).await
    }

    /// The session of one response: what its steps need and nothing more.
    /// `None` when no step changes anything.
    pub(super) async fn changing_session(
        &self,
        response: &Response,
    ) -> Result<Option<Arc<AccountSession>>, ActionError> {
        let needed: Vec<&str> = response
            .steps
            .iter()
            .filter(|step| !matches!(step.state, StepState::Skipped))
            .filter_map(|step| registry::find(&step.action))
            .flat_map(|entry| entry.spec.reads.iter().chain(entry.spec.writes))
            .copied()
            .collect();
        if needed.is_empty() {
            return Ok(None);
        }
        let purpose =
            Purpose::Change { response: response.id.clone(), finding: response.finding.id.clone() };
        self.sessions.open(&response.resource, &needed, purpose).await.map(Some)
    }
}

/// How urgent the calls of a phase are.
pub(super) fn urgency(phase: Phase) -> Urgency {
    match phase {
        Phase::Contain | Phase::End => Urgency::Contain,
        Phase::Protect | Phase::Collect => Urgency::Routine,
    }
}

/// About how many calls of each class a containing step makes: it reads before and after,
/// and each of up to four interfaces is changed three times.
fn add_calls(calls: &mut Calls, reads: &[&str], writes: &[&str]) {
    for class in reads.iter().filter_map(|action| Class::of_action(action)) {
        calls.add(class, Urgency::Contain, 2);
    }
    if writes.iter().any(|action| Class::of_action(action) == Some(Class::Ec2Write)) {
        calls.add(Class::Ec2Write, Urgency::Contain, 3);
    }
    for class in writes.iter().filter_map(|action| Class::of_action(action)) {
        // Of EC2's other changes a warm VPC needs three.
        let count = match class {
            Class::NetworkInterface => 12,
            Class::Ec2Write => continue,
            _ => 1,
        };
        calls.add(class, Urgency::Contain, count);
    }
}
