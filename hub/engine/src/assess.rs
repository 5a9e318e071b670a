//! Assesses one target: decides by policy, captures the prior state, confirms the finding,
//! and applies pauses and budgets. Changes nothing.

use std::sync::Arc;

use firebreak_model::error::ErrorKind;
use firebreak_spoke::read_cache::ReadCache;
use firebreak_spoke::registry;

use super::confirm::{Confirmation, Confirmer, FetchedFinding, is_update, why_different};
use super::member_accounts::{At, Captured, MemberAccounts};
use super::outcome::Run;
use super::recorder::Recorder;
use firebreak_aws::error::HubError;
use firebreak_aws::policies::Policies;
use firebreak_aws::store::Counter;
use firebreak_model::finding::{Finding, Target};
use firebreak_model::organization::Place;
use firebreak_policy::{Decision, Mode, Policy, Tags};
use firebreak_response::dedup::target_key;
use firebreak_response::pauses;
use firebreak_response::plan;
use firebreak_response::record::{ApprovalCause, State};
use firebreak_response::target::TargetState;

/// The decision about one target, and its inputs.
#[derive(Debug)]
pub(super) struct Assessment {
    /// The policy's decision, lowered by pauses and spent budgets.
    pub(super) decision: Decision,
    /// The prior state for the decision's actions.
    pub(super) captured: Vec<plan::CapturedCall>,
    /// The version of the policy.
    pub(super) policy_version: u64,
    /// The budgets that acting draws on.
    pub(super) counters: Vec<Counter>,
    /// Why approval is needed, if it is.
    pub(super) cause: ApprovalCause,
    /// The spent budget, if the cause is a budget.
    pub(super) spent: Option<Counter>,
    /// Why the finding is not confirmed; `None` if it is, or need not be.
    pub(super) unconfirmed: Option<Unconfirmed>,
    /// Why the account cannot be reached, if it cannot.
    pub(super) not_covered: Option<String>,
    /// Whether it changes nothing, and nothing in the account can change the decision.
    pub(super) is_final: bool,
    /// What was read of the target, for captures of later phases.
    pub(super) cache: ReadCache,
}

impl Assessment {
    fn new(decision: Decision, policy_version: u64) -> Self {
        Self {
            decision,
            captured: Vec::new(),
            policy_version,
            counters: Vec::new(),
            cause: ApprovalCause::Policy,
            spent: None,
            unconfirmed: None,
            not_covered: None,
            is_final: false,
            cache: ReadCache::default(),
        }
    }
}

/// What one evaluation of policy knows of the finding and of its target's tags.
#[derive(Clone, Copy)]
enum Known<'a> {
    /// The finding as it was received, without tags: shows whether tags matter at all.
    WithoutTags,
    /// The finding as it was received, with its own copy of the target's tags: nearly
    /// always the final decision, so the prior state is captured for it meanwhile.
    FindingTags,
    /// The finding as it was received, with the target's present tags: the decision.
    PresentTags(&'a Tags),
    /// The finding as its service has it, with the present tags: has to give the same
    /// decision.
    Confirmed(&'a Finding, &'a Target, &'a Tags),
}

/// Evaluates policy for one target of a finding.
fn evaluate(
    policy: &Policy,
    place: &Place,
    (finding, target): (&Finding, &Target),
    known: Known<'_>,
) -> Decision {
    match known {
        Known::WithoutTags => {
            let tags = Tags::Unknown { reason: "not looked up yet".to_owned() };
            policy.decide(finding, target, place, &tags)
        }
        Known::FindingTags => {
            policy.decide(finding, target, place, &Tags::Known(target.tags.clone()))
        }
        Known::PresentTags(tags) => policy.decide(finding, target, place, tags),
        Known::Confirmed(finding, target, tags) => policy.decide(finding, target, place, tags),
    }
}

fn needs_confirmation(decision: &Decision) -> bool {
    decision.acts() && decision.confirm
}

/// Whether a finding joins a response that is in force already: it is added to the record,
/// and nothing is changed. Only where no tag can change the decision: the finding's copy of
/// the tags may be old, or made by a member account.
fn joins(decision: &Decision, finding: &Finding, target_state: &TargetState) -> bool {
    let key = target_key(decision, finding, target_state, registry::catalog());
    let entry = key.and_then(|key| target_state.entries.get(&key));
    let in_force = |state| {
        matches!(state, State::Running | State::Contained | State::Completed | State::Undoing)
    };
    decision.acts() && entry.is_some_and(|entry| in_force(entry.state))
}

/// Why a target is not acted on as the finding was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unconfirmed {
    /// Its service has a newer update, which says other things.
    Superseded,
    /// Its service does not confirm it, and why.
    Refused(String),
}

/// Why a finding is not confirmed; `confirmed` decides about the copy of its service.
fn unconfirmed(
    confirmation: Option<Confirmation>,
    (finding, decision): (&Finding, &Decision),
    confirmed: impl Fn(&Finding, &Target) -> Decision,
) -> Option<Unconfirmed> {
    match confirmation? {
        Confirmation::Refused(why) => Some(Unconfirmed::Refused(why)),
        Confirmation::Superseded => Some(Unconfirmed::Superseded),
        Confirmation::Confirmed(fetched, target) => {
            let decided = confirmed(&fetched, &target);
            let why = why_different((finding, decision), (&fetched, &decided))?;
            Some(match is_update(finding, &fetched) {
                true => Unconfirmed::Superseded,
                false => Unconfirmed::Refused(why),
            })
        }
    }
}

/// Assesses targets.
#[derive(Clone, Debug)]
pub(super) struct Assessor {
    pub(super) policies: Arc<Policies>,
    pub(super) members: MemberAccounts,
    pub(super) confirmer: Confirmer,
    pub(super) recorder: Recorder,
}

impl Assessor {
    /// Assesses one target of a finding. With `in_turn`, `None` while another process does
    /// so: it is going to claim the target. `fetched` keeps the finding as its service has it.
    pub(super) async fn assess(
        &self,
        finding: &Finding,
        target: &Target,
        place: &Place,
        target_state: &TargetState,
        run: Run,
        (in_turn, fetched): (bool, &FetchedFinding),
    ) -> Result<Option<Assessment>, HubError> {
        let resource = &target.resource;
        let (policy_version, policy) = self.policies.in_force().await?;
        let evaluate = |known: Known<'_>| evaluate(&policy, place, (finding, target), known);
        let assessment = |decision| Assessment::new(decision, policy_version);

        // A decision that changes nothing and that no tag can change is final.
        let without_tags = evaluate(Known::WithoutTags);
        if !without_tags.depends_on_tags() && !without_tags.acts() {
            return Ok(Some(Assessment { is_final: true, ..assessment(without_tags) }));
        }
        let expected = evaluate(Known::FindingTags);
        if !without_tags.depends_on_tags() && joins(&expected, finding, target_state) {
            // It changes nothing, so nothing of the account is read.
            let confirmation = match needs_confirmation(&expected) {
                true => Some(Box::pin(self.confirmer.confirm(finding, target, fetched)).await?),
                false => None,
            };
            let unconfirmed = unconfirmed(confirmation, (finding, &expected), |finding, target| {
                evaluate(Known::Confirmed(finding, target, &Tags::Known(target.tags.clone())))
            });
            return Ok(Some(Assessment { unconfirmed, ..assessment(expected) }));
        }
        let (session, is_ours, ()) = futures::join!(
            self.members.reading_session(resource),
            self.members.reserve(resource, &expected.actions, in_turn),
            self.members.reserve_session()
        );
        if !is_ours {
            return Ok(None);
        }
        match session {
            Ok(_) => {}
            Err(error) if error.kind == ErrorKind::Transient => return Err(HubError::from(error)),
            Err(error) => {
                let not_covered = Some(error.to_string());
                return Ok(Some(Assessment { not_covered, ..assessment(expected) }));
            }
        }
        // The prior state is captured concurrently with the tags, for the decision that
        // follows from the finding's own copy of the tags: nearly always the final
        // decision.
        let cache = ReadCache::default();
        let at = At { policy: &policy, place, cache: &cache };
        let draws = expected.draws(place);
        let which = |decision: &Decision| match (decision.mode, run) {
            (Mode::Auto, Run::Act) => Captured::FirstPhase,
            (_, Run::Act | Run::Plan) => Captured::Whole,
        };
        let (tags, mut captured, counters, confirmation) = futures::join!(
            self.members.tags(resource, &cache),
            self.members.capture(finding, resource, target_state, &expected, which(&expected), at),
            self.recorder.store.counters(&draws),
            async {
                match needs_confirmation(&expected) {
                    // Boxed, because joined futures would otherwise share one large stack
                    // frame.
                    true => {
                        Box::pin(self.confirmer.confirm(finding, target, fetched)).await.map(Some)
                    }
                    false => Ok(None),
                }
            },
        );
        let tags = tags?;
        let decision = evaluate(Known::PresentTags(&tags));
        let confirmation = match needs_confirmation(&decision) {
            false => None,
            true => match confirmation? {
                None => Some(Box::pin(self.confirmer.confirm(finding, target, fetched)).await?),
                some => some,
            },
        };
        let unconfirmed = unconfirmed(confirmation, (finding, &decision), |finding, target| {
            evaluate(Known::Confirmed(finding, target, &tags))
        });
        if unconfirmed.is_some() {
            return Ok(Some(Assessment { unconfirmed, ..assessment(decision) }));
        }
        let mut counters = counters?;
        let again = |decision: &Decision, which| {
            let members = &self.members;
            let decision = decision.clone();
            async move {
                Box::pin(members.capture(finding, resource, target_state, &decision, which, at))
                    .await
            }
        };
        if decision.actions != expected.actions
            || decision.rule != expected.rule
            || which(&decision) != which(&expected)
        {
            captured = again(&decision, which(&decision)).await;
        }
        let present = decision.draws(place);
        if present != draws {
            counters = self.recorder.store.counters(&present).await?;
        }
        let mut assessment = Assessment { captured, counters, ..assessment(decision) };
        let read = which(&assessment.decision);
        self.require_approval(&mut assessment, place, target_state);
        if which(&assessment.decision) != read {
            assessment.captured = again(&assessment.decision, Captured::Whole).await;
        }
        Ok(Some(Assessment { cache, ..assessment }))
    }

    /// Lowers `auto` to `approve` where a pause is active or a budget is spent.
    fn require_approval(
        &self,
        assessment: &mut Assessment,
        place: &Place,
        target_state: &TargetState,
    ) {
        let decision = &mut assessment.decision;
        if decision.mode != Mode::Auto || !decision.acts() {
            return;
        }
        let now = self.recorder.now();
        let rule = decision.rule_key();
        if let Some((scope, pause)) = target_state.pauses.paused(place, rule.as_deref(), now) {
            let why = format!("{},", pauses::describe(scope, pause));
            decision.lower(Mode::Approve, &scope.to_string(), &why);
            assessment.cause = ApprovalCause::Pause;
            return;
        }
        if let Some(spent) = assessment.counters.iter().find(|counter| counter.is_spent(now)) {
            decision.lower_for_spent_budget(&spent.draw.budget);
            assessment.cause = ApprovalCause::Budget;
            assessment.spent = Some(spent.clone());
        }
    }
}
