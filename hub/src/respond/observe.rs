//! Reading a member account: tags and prior state, under the sessions that are
//! opened for it. Nothing here changes anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use firebreak_spoke::account::Account;
use firebreak_spoke::actions::{self, Scope};
use firebreak_spoke::error::{ActionError, Kind};
use firebreak_spoke::resource::Resource;
use firebreak_spoke::seen::Seen;
use firebreak_spoke::tags;
use futures::future::join_all;

use super::Responder;
use super::carry_out::find;
use super::confirm::{Confirmation, differs};
use super::known::{entry_key, next_response};
use crate::aws::accounts::Purpose;
use crate::aws::error::HubError;
use crate::aws::ledger::TargetItem;
use crate::finding::{Finding, Target};
use crate::organization::Place;
use crate::plan;
use crate::policy::{ActionCall, Decision, Policy, Tags, with_response};
use crate::record::{FindingSummary, Response, StepState};

/// What a decision is made by: the policy, the account's place, and what was
/// read of the target already.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    policy: &'a Policy,
    place: &'a Place,
    seen: &'a Seen,
}

/// What policy says, and what was read for it.
pub(super) struct Reading {
    /// The decision.
    pub(super) decision: Decision,
    /// The prior state for each of its actions.
    pub(super) observed: Vec<plan::Observed>,
    /// Why the finding is not borne out by its service, where it was asked.
    pub(super) unconfirmed: Option<String>,
}

impl Responder {
    /// What policy says in the light of the target's present tags, the prior
    /// state for the actions that it leads to, and whether the finding is true.
    pub(super) async fn decision(
        &self,
        finding: &Finding,
        target: &Target,
        place: &Place,
        seen: &TargetItem,
    ) -> Result<Reading, HubError> {
        let resource = &target.resource;
        let policy = self.policies.current().await?;
        let with = |tags: &Tags| policy.decide(finding, target, place, tags);

        // A decision that no tag can change needs no look-up of tags.
        let without_tags = with(&Tags::Unknown { reason: "not looked up yet".to_owned() });
        if !without_tags.depends_on_tags() && !without_tags.acts() {
            return Ok(Reading { decision: without_tags, observed: Vec::new(), unconfirmed: None });
        }
        // The prior state is read beside the tags, for what the finding's own
        // copy of the tags leads to: nearly always the final decision.
        let read = Seen::default();
        let at = At { policy: &policy, place, seen: &read };
        let expected = with(&Tags::Known(target.tags.clone()));
        let asks = |decision: &Decision| decision.acts() && decision.confirm;
        let (tags, observed, confirmation) = futures::join!(
            self.tags(resource, &read),
            self.observe(finding, resource, seen, &expected, at),
            async {
                match asks(&expected) {
                    // Boxed: what is read side by side would else take one stack.
                    true => Box::pin(self.confirm(finding, target)).await.map(Some),
                    false => Ok(None),
                }
            }
        );
        let tags = tags?;
        let decision = with(&tags);
        let confirmation = match asks(&decision) {
            false => None,
            true => match confirmation? {
                None => Some(Box::pin(self.confirm(finding, target)).await?),
                some => some,
            },
        };
        let unconfirmed = match confirmation {
            None => None,
            Some(Confirmation::Refused(why)) => Some(why),
            Some(Confirmation::Confirmed(fetched, own)) => {
                let confirmed = policy.decide(&fetched, &own, place, &tags);
                differs((finding, &decision), (&fetched, &confirmed))
            }
        };
        let expected_it = decision.actions == expected.actions && decision.rule == expected.rule;
        let observed = match expected_it || unconfirmed.is_some() {
            true => observed,
            false => self.observe(finding, resource, seen, &decision, at).await,
        };
        Ok(Reading { decision, observed, unconfirmed })
    }

    pub(super) async fn tags(&self, resource: &Resource, seen: &Seen) -> Result<Tags, HubError> {
        let read = async {
            let account = self.reading_session(resource).await?;
            tags::current(&account, resource, seen).await
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
    pub(super) async fn observe(
        &self,
        finding: &Finding,
        resource: &Resource,
        seen: &TargetItem,
        decision: &Decision,
        at: At<'_>,
    ) -> Vec<plan::Observed> {
        let Some(rule) = entry_key(decision, finding, seen).filter(|_| decision.acts()) else {
            return Vec::new();
        };
        let (id, _) = next_response(seen, resource, &rule);
        let id = id.as_str();
        let summary = FindingSummary::of(finding);
        let summary = &summary;
        let each = decision.actions.iter().map(|call| async move {
            let parameters = with_response(&call.parameters, id);
            let call = ActionCall { name: call.name.clone(), parameters };
            let observation = async {
                let account = self.reading_session(resource).await?;
                let scope = self.scope(&account, resource, id, summary, at.seen);
                let action = find(&call.name)?;
                let observation = action.observe(scope, &call.parameters).await?;
                // Whom the action changes besides the target is known only now.
                for arn in action.touches(scope, &observation.prior)? {
                    if let Some(why) = at.policy.protects(&arn, at.place) {
                        let message = format!("{} is refused: {why}", call.name);
                        return Err(ActionError::new(Kind::Refused, message));
                    }
                }
                Ok(observation)
            };
            let observation = observation.await;
            (call, observation)
        });
        join_all(each).await
    }

    pub(super) fn scope<'a>(
        &'a self,
        account: &'a Account,
        resource: &'a Resource,
        response: &'a str,
        finding: &'a FindingSummary,
        seen: &'a Seen,
    ) -> Scope<'a> {
        Scope {
            account,
            resource,
            response,
            finding: &finding.id,
            remote_addresses: &finding.remote_addresses,
            now: self.now(),
            spoke_role: &self.settings.spoke_role,
            seen,
        }
    }

    /// The session that every finding of an account shares, which only reads.
    pub(super) async fn reading_session(
        &self,
        resource: &Resource,
    ) -> Result<Arc<Account>, ActionError> {
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
    pub(super) async fn changing_session(
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
}
