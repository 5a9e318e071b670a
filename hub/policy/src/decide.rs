//! The decision: the nearest matching rule, then every guardrail above it.

use super::arn::{Behind, behind};
use super::budget::{Budget, BudgetRef};
use super::context::{Context, Tags};
use super::decision::{Decision, Guardrail, LeftOut, PolicyOutcome};
use super::document::{Document, Extends, Mode, Protect, Rule};
use super::tree::{BrokenDocument, PathStep, Policy};
use super::variables;
use firebreak_event_pattern::{Event, PatternMatch};
use firebreak_model::finding::{Finding, Target};
use firebreak_model::organization::Place;
use firebreak_model::resource::Resource;
use std::collections::BTreeMap;

impl Policy {
    /// Decides what to do about one target of a finding: what the documents say.
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
            let why = format!("`{account}` is no account id: nothing can be done there");
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
        if way.iter().all(|step| step.there.is_none()) {
            let why = format!("no policy document covers {account} in {}", place.ou_path);
            return Decision::without_rule(PolicyOutcome::NoDocument, why);
        }
        let context = Context::new(finding, target, place, tags);
        let mut decision = match self.nearest_rule(&way, &context, |_, _, _| {}) {
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

/// What the search for a rule came to.
pub(super) enum RuleSearch<'a> {
    Rule(&'a Rule),
    /// It may match or not: it must not be skipped for a later, weaker one.
    DependsOnTags(&'a Rule),
    Nothing,
}

impl Policy {
    /// The nearest rule that matches: from the account up, and within a document
    /// from the top. Each rule that is looked at is shown to `see` by the number
    /// of its step on the way and its own number there.
    pub(super) fn nearest_rule<'a>(
        &self,
        way: &[PathStep<'a>],
        context: &Context<'_>,
        mut see: impl FnMut(usize, usize, PatternMatch),
    ) -> RuleSearch<'a> {
        for (step, PathStep { there, .. }) in way.iter().enumerate() {
            let Some((outline, document)) = there else { continue };
            for number in 0..outline.rules {
                let Some(rule) = document.rules.get(number) else { continue };
                let verdict = match &rule.when {
                    Some(when) => when.verdict(Event::Object(context)),
                    None => PatternMatch::Yes,
                };
                see(step, number, verdict);
                match verdict {
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
}

fn guardrail(point: &str, effect: String) -> Guardrail {
    Guardrail { document: point.to_owned(), effect }
}

fn unknown(tags: &Tags) -> String {
    match tags {
        Tags::Unknown { reason } => format!("which are unknown: {reason}"),
        Tags::Known(_) | Tags::None => "which are known".to_owned(),
    }
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
        if then.resource_types.iter().any(|it| *it == kind) {
            let mut call = then.call.clone();
            if then.has_variables {
                call.parameters = variables::fill(&call.parameters, finding, target);
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
    for PathStep { point, there } in way {
        if let Some(ceiling) = there.and_then(|(outline, _)| outline.ceiling)
            && ceiling < decision.mode
        {
            decision.lower(ceiling, point, &format!("the ceiling of {point}"));
        }
    }
}

/// The documents on the way that have protections or budgets.
fn guardrails<'a>(way: &[PathStep<'a>]) -> impl Iterator<Item = (&'a str, &'a Document)> {
    way.iter().filter_map(|step| {
        let (outline, document) = step.there?;
        outline.has_guardrails.then_some((step.point, document))
    })
}

/// The budgets of every document on the way.
fn budgets(way: &[PathStep<'_>]) -> Vec<BudgetRef> {
    guardrails(way)
        .flat_map(|(point, document)| {
            let reference =
                |budget: &Budget| BudgetRef { document: point.to_owned(), budget: *budget };
            document.budgets.iter().map(reference)
        })
        .collect()
}

/// Refuses if a protection holds on the way, or if whether one holds cannot be
/// known. A rule that only observes changes nothing, so it is reported instead.
fn apply_protections(decision: &mut Decision, way: &[PathStep<'_>], target: &Target, tags: &Tags) {
    let who = behind(target);
    let all = || guardrails(way).map(|(point, document)| (point, &document.protect));
    let certain = all().find_map(|(point, protect)| {
        Some((point, PolicyOutcome::Protected, protection(point, protect, target, &who, tags)?))
    });
    let found = certain.or_else(|| {
        all().find_map(|(point, protect)| {
            let (outcome, why) = doubt(point, protect, &who, tags)?;
            Some((point, outcome, why))
        })
    });
    let Some((point, outcome, why)) = found else { return };
    if decision.mode == Mode::Observe {
        if outcome == PolicyOutcome::Protected {
            let effect = format!("{why}: a stronger mode would be refused");
            decision.guardrails.push(guardrail(point, effect));
        }
    } else {
        decision.guardrails.push(guardrail(point, why.clone()));
        decision.stop(outcome, why);
    }
}

impl Policy {
    /// Why a plan that waited may not be carried out any more; `None` when it may.
    /// The rule was asked when the plan was made: these are the guardrails.
    /// `mode` is `Auto` where no person was asked.
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

    /// Why a user or role may not be touched though it is not the target itself,
    /// such as the role behind an instance; `None` when it may.
    pub fn protects(&self, principal_arn: &str, place: &Place) -> Option<String> {
        // A broken document on the way has refused the decision already.
        let way = self.way_up(place).ok()?;
        guardrails(&way).find_map(|(point, Document { protect, .. })| {
            let mut patterns = protect.principals.iter().chain(&protect.resources);
            let pattern = patterns.find(|it| it.matches(principal_arn))?;
            Some(format!("`{principal_arn}` is protected by {point} as `{}`", pattern.text))
        })
    }
}

/// The protection of one document that holds for the target, in a sentence.
fn protection(
    point: &str,
    protect: &Protect,
    target: &Target,
    who: &Behind,
    tags: &Tags,
) -> Option<String> {
    let account = &target.resource.account;
    if protect.accounts.contains(account) {
        return Some(format!("account {account} is protected by {point}"));
    }
    let by = |arn: &str, text: &str| format!("`{arn}` is protected by {point} as `{text}`");
    if !protect.resources.is_empty() {
        let arn = target.resource.arn();
        if let Some(pattern) = protect.resources.iter().find(|it| it.matches(&arn)) {
            return Some(by(&arn, &pattern.text));
        }
    }
    // Who protects a user or role as a resource means its credentials as well.
    if let Behind::Principal(arn) = who {
        let mut patterns = protect.principals.iter().chain(&protect.resources);
        if let Some(pattern) = patterns.find(|it| it.matches(arn)) {
            return Some(by(arn, &pattern.text));
        }
    }
    let Tags::Known(tags) = tags else { return None };
    let set = protect.tags.iter().find(|set| {
        set.iter().all(|(key, value)| tags.get(key).is_some_and(|present| value.matches(present)))
    })?;
    let held: Vec<String> =
        set.iter().filter_map(|(key, _)| Some(format!("{key}={}", tags.get(key)?))).collect();
    Some(format!("the tag {} is protected by {point}", held.join(", ")))
}

/// Why it cannot be known whether a protection of one document holds.
fn doubt(
    point: &str,
    protect: &Protect,
    who: &Behind,
    tags: &Tags,
) -> Option<(PolicyOutcome, String)> {
    if *who == Behind::Unknown && !protect.principals.is_empty() {
        let why = format!(
            "{point} protects principals, and the finding does not say whose credentials these are"
        );
        return Some((PolicyOutcome::PrincipalUnknown, why));
    }
    match tags {
        Tags::Unknown { .. } if !protect.tags.is_empty() => {
            let why = format!("{point} protects by tag, and the target has tags {}", unknown(tags));
            Some((PolicyOutcome::TagsUnknown, why))
        }
        Tags::Unknown { .. } | Tags::Known(_) | Tags::None => None,
    }
}
