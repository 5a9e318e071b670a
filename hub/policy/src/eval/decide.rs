//! The decision: the nearest matching rule, then every guardrail above it.

use std::collections::BTreeMap;

use firebreak_event_pattern::PatternMatch;
use firebreak_model::finding::{Finding, Target};
use firebreak_model::organization::Place;
use firebreak_model::resource::Resource;

use super::context::Context;
use super::protections::{apply_protections, guardrail, unknown, with_protections_or_budgets};
use super::tree::{BrokenDocument, PathStep, Policy};
use crate::model::{
    Budget, BudgetRef, Decision, Extends, LeftOut, Mode, PolicyOutcome, Rule, Tags, fill,
};

impl Policy {
    /// Decides what is done about one target of a finding.
    pub fn decide(
        &self,
        finding: &Finding,
        target: &Target,
        place: &Place,
        tags: &Tags,
    ) -> Decision {
        if finding.sample {
            let why = "a sample finding is never acted on";
            return Decision::without_rule(PolicyOutcome::Sample, why);
        }
        if finding.archived {
            let why = "an archived or suppressed finding is never acted on";
            return Decision::without_rule(PolicyOutcome::Archived, why);
        }
        let account = &target.resource.account;
        if place.account != *account {
            let why = format!("the target is in {account}, the place is {}'s", place.account);
            return Decision::without_rule(PolicyOutcome::WrongPlace, why);
        }
        if !account.is_real() {
            let why = format!("`{account}` is not an account id: nothing can be done there");
            return Decision::without_rule(PolicyOutcome::WrongPlace, why);
        }
        let way = match self.way_up(place) {
            Ok(way) => way,
            Err(BrokenDocument { point, why }) => {
                let why = format!("the policy document of {point} is broken: {why}");
                let mut decision = Decision::without_rule(PolicyOutcome::Broken, why.clone());
                decision.guardrails.push(guardrail(point, why));
                return decision;
            }
        };
        if way.iter().all(|step| step.attached.is_none()) {
            let why = format!("no policy document covers {account} in {}", place.ou_path);
            return Decision::without_rule(PolicyOutcome::NoDocument, why);
        }
        let context = Context::new(finding, target, place, tags);
        let mut decision = match nearest_rule(&way, &context, |_, _, _| {}) {
            RuleSearch::Rule(rule) => follow(rule, finding, target),
            RuleSearch::Nothing => {
                return Decision::without_rule(
                    PolicyOutcome::NoRule,
                    "no rule matches this target",
                );
            }
            RuleSearch::DependsOnTags(rule) => {
                let why =
                    format!("rule `{}` looks at the tags, {}", rule.reference.rule, unknown(tags));
                let mut decision = Decision::without_rule(PolicyOutcome::TagsUnknown, why);
                decision.rule = Some(rule.reference.clone());
                return decision;
            }
        };
        lower_to_ceilings(&mut decision, &way);
        let rule = decision.rule.as_ref().map_or("", |rule| rule.rule.as_str());
        match decision.mode {
            Mode::Off => {
                let why = format!("rule `{rule}` is off here");
                decision.stop(PolicyOutcome::Off, why);
            }
            Mode::Approve | Mode::Auto if decision.actions.is_empty() => {
                let kind = target.resource.type_name();
                let why = format!("rule `{rule}` has no action for a target of type {kind}");
                decision.stop(PolicyOutcome::NoAction, why);
            }
            Mode::Observe | Mode::Approve | Mode::Auto => {
                apply_protections(&mut decision, &way, target, tags);
            }
        }
        if decision.acts() {
            decision.budgets = budgets(&way);
        }
        decision
    }
}

/// The result of the search for a rule.
pub(crate) enum RuleSearch<'a> {
    Rule(&'a Rule),
    /// Whether it matches is not known. It must not be skipped for a later, weaker rule.
    DependsOnTags(&'a Rule),
    Nothing,
}

/// The nearest rule that matches: from the account up, and within a document from the
/// top. `see` is called for each rule that is evaluated, with the index of its step on
/// the way and its index in the document.
pub(crate) fn nearest_rule<'a>(
    way: &[PathStep<'a>],
    context: &Context<'_>,
    mut see: impl FnMut(usize, usize, PatternMatch),
) -> RuleSearch<'a> {
    for (step, PathStep { attached, .. }) in way.iter().enumerate() {
        let Some((outline, document)) = attached else { continue };
        for number in 0..outline.rules {
            let Some(rule) = document.rules.get(number) else { continue };
            let matched = rule.evaluate(context);
            see(step, number, matched);
            match matched {
                PatternMatch::Yes => return RuleSearch::Rule(rule),
                PatternMatch::Unknown => return RuleSearch::DependsOnTags(rule),
                PatternMatch::No => {}
            }
        }
        if outline.extends == Extends::None {
            break;
        }
    }
    RuleSearch::Nothing
}

fn follow(rule: &Rule, finding: &Finding, target: &Target) -> Decision {
    let kind = target.resource.type_name();
    let mut decision = Decision::without_rule(PolicyOutcome::Follow, "");
    decision.mode = rule.mode;
    decision.rule = Some(rule.reference.clone());
    decision.approve = rule.approve.clone();
    decision.expires = rule.expires;
    decision.confirm = rule.confirm;
    for then in &rule.then {
        if then.resource_types.contains(&kind) {
            let mut call = then.call.clone();
            if then.has_variables {
                call.parameters = fill(&call.parameters, finding, target);
            }
            decision.actions.push(call);
        } else {
            let types = then.resource_types.join(", ");
            let why = format!("it acts on {types}, not on a target of type {kind}");
            decision.left_out.push(LeftOut { action: then.call.name.clone(), why });
        }
    }
    decision
}

fn lower_to_ceilings(decision: &mut Decision, way: &[PathStep<'_>]) {
    for PathStep { point, attached } in way {
        if let Some(ceiling) = attached.and_then(|(outline, _)| outline.ceiling)
            && ceiling < decision.mode
        {
            decision.lower(ceiling, point, &format!("the ceiling of {point}"));
        }
    }
}

/// The budgets of every document on the way.
fn budgets(way: &[PathStep<'_>]) -> Vec<BudgetRef> {
    with_protections_or_budgets(way)
        .flat_map(|(point, document)| {
            let reference =
                |budget: &Budget| BudgetRef { document: point.to_owned(), budget: *budget };
            document.budgets.iter().map(reference)
        })
        .collect()
}

impl Policy {
    /// Why a plan that waited for approval must not be executed any more, by the present
    /// guardrails; `None` where it may be. The rule was decided on when the plan was made.
    /// `mode` is `Auto` where no person approved.
    pub fn forbids(
        &self,
        resource: &Resource,
        place: &Place,
        tags: &Tags,
        mode: Mode,
    ) -> Option<String> {
        let way = match self.way_up(place) {
            Ok(way) => way,
            Err(BrokenDocument { point, why }) => {
                return Some(format!("the policy document of {point} is broken: {why}"));
            }
        };
        let mut decision = Decision::without_rule(PolicyOutcome::Follow, "");
        decision.mode = mode;
        lower_to_ceilings(&mut decision, &way);
        if decision.mode < mode {
            return decision.guardrails.last().map(|guardrail| guardrail.effect.clone());
        }
        let target = Target { resource: resource.clone(), role: None, tags: BTreeMap::new() };
        apply_protections(&mut decision, &way, &target, tags);
        (decision.outcome != PolicyOutcome::Follow).then_some(decision.why)
    }
}
