//! What is to be done about one target: policy in the light of the target's
//! present tags, of what is paused, and of what budgets have left. Nothing
//! here changes anything.

use firebreak_model::error::Kind;
use firebreak_spoke::seen::Seen;

use super::Responder;
use super::confirm::{Confirmation, differs};
use super::observe::At;
use firebreak_aws::error::HubError;
use firebreak_aws::ledger::Counter;
use firebreak_model::finding::{Finding, Target};
use firebreak_model::organization::Place;
use firebreak_policy::{Decision, Mode, Tags};
use firebreak_response::plan;
use firebreak_response::record::Because;
use firebreak_response::switches;
use firebreak_response::target::TargetItem;

/// What is to be done about one target, and what that rests on.
#[derive(Debug)]
pub(super) struct Judged {
    /// What policy says, lowered by what is paused or spent.
    pub(super) decision: Decision,
    /// The prior state for the actions that it leads to.
    pub(super) observed: Vec<plan::Observed>,
    /// The version of the policy.
    pub(super) policy_version: u64,
    /// The budgets that acting draws on.
    pub(super) counters: Vec<Counter>,
    /// Why a person is asked, if one is.
    pub(super) because: Because,
    /// The budget that is spent, if that is why.
    pub(super) spent: Option<Counter>,
    /// Why the finding is not borne out by its service, where it was asked.
    pub(super) unconfirmed: Option<String>,
    /// Why the account cannot be reached, if it cannot.
    pub(super) not_covered: Option<String>,
}

impl Responder {
    /// Judges one target of a finding.
    pub(super) async fn judge(
        &self,
        finding: &Finding,
        target: &Target,
        place: &Place,
        seen: &TargetItem,
    ) -> Result<Judged, HubError> {
        let resource = &target.resource;
        let (policy_version, policy) = self.policies.in_force().await?;
        let with = |tags: &Tags| policy.decide(finding, target, place, tags);
        let judged = |decision| Judged {
            decision,
            observed: Vec::new(),
            policy_version,
            counters: Vec::new(),
            because: Because::Policy,
            spent: None,
            unconfirmed: None,
            not_covered: None,
        };

        // A decision that no tag can change needs no look-up of tags.
        let without_tags = with(&Tags::Unknown { reason: "not looked up yet".to_owned() });
        if !without_tags.depends_on_tags() && !without_tags.acts() {
            return Ok(judged(without_tags));
        }
        let expected = with(&Tags::Known(target.tags.clone()));
        match self.reading_session(resource).await {
            Ok(_) => {}
            Err(error) if error.kind == Kind::Transient => return Err(HubError::from(error)),
            Err(error) => {
                let not_covered = Some(error.to_string());
                return Ok(Judged { not_covered, ..judged(expected) });
            }
        }
        // The prior state is read beside the tags, for what the finding's own
        // copy of the tags leads to: nearly always the final decision.
        let read = Seen::default();
        let at = At { policy: &policy, place, seen: &read };
        let draws = expected.draws(place);
        let asks = |decision: &Decision| decision.acts() && decision.confirm;
        let (tags, mut observed, counters, confirmation) = futures::join!(
            self.tags(resource, &read),
            self.observe(finding, resource, seen, &expected, at),
            self.ledger.counters(&draws),
            async {
                match asks(&expected) {
                    // Boxed: what is read side by side would else take one stack.
                    true => Box::pin(self.confirm(finding, target)).await.map(Some),
                    false => Ok(None),
                }
            },
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
        if unconfirmed.is_some() {
            return Ok(Judged { unconfirmed, ..judged(decision) });
        }
        let mut counters = counters?;
        if decision.actions != expected.actions || decision.rule != expected.rule {
            observed = Box::pin(self.observe(finding, resource, seen, &decision, at)).await;
        }
        let present = decision.draws(place);
        if present != draws {
            counters = self.ledger.counters(&present).await?;
        }
        let mut judged = Judged { observed, counters, ..judged(decision) };
        self.lower(&mut judged, place, seen);
        Ok(judged)
    }

    /// Lowers what would be done at once to asking a person, where that is
    /// paused or a budget is spent.
    fn lower(&self, judged: &mut Judged, place: &Place, seen: &TargetItem) {
        let decision = &mut judged.decision;
        if decision.mode != Mode::Auto || !decision.acts() {
            return;
        }
        let now = self.now();
        let rule = decision.rule_key();
        if let Some((scope, pause)) = seen.switches.paused(place, rule.as_deref(), now) {
            let why = format!("{},", switches::told(scope, pause));
            decision.lower(Mode::Approve, &scope.to_string(), &why);
            judged.because = Because::Pause;
            return;
        }
        if let Some(spent) = judged.counters.iter().find(|counter| counter.is_spent(now)) {
            decision.overdraw(&spent.draw.budget);
            judged.because = Because::Budget;
            judged.spent = Some(spent.clone());
        }
    }
}
