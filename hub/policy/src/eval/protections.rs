//! Protections: which targets are never touched, and when that cannot be known.

use firebreak_model::finding::Target;
use firebreak_model::organization::Place;

use super::principal::{TargetPrincipal, principal_of};
use super::tree::{PathStep, Policy};
use crate::model::{Decision, Document, Guardrail, Mode, PolicyOutcome, Protect, TagSet, Tags};

/// Refuses if a document on the way protects the target, or if that cannot be known. A
/// rule that only observes changes nothing, so there the protection is only reported.
pub(super) fn apply_protections(
    decision: &mut Decision,
    way: &[PathStep<'_>],
    target: &Target,
    tags: &Tags,
) {
    let who = principal_of(target);
    let all =
        || with_protections_or_budgets(way).map(|(point, document)| (point, &document.protect));
    let certain = all().find_map(|(point, protect)| {
        Some((point, PolicyOutcome::Protected, protection(point, protect, target, &who, tags)?))
    });
    let found = certain.or_else(|| {
        all().find_map(|(point, protect)| {
            let (outcome, why) = unknown_protection(point, protect, &who, tags)?;
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
    /// The protection of a user or role that is not the target itself, such as the role of
    /// an instance, in a sentence; `None` where it is not protected.
    pub fn protects(&self, principal_arn: &str, place: &Place) -> Option<String> {
        // A broken document on the way has refused the decision already.
        let way = self.way_up(place).ok()?;
        with_protections_or_budgets(&way).find_map(|(point, Document { protect, .. })| {
            let mut patterns = protect.principals.iter().chain(&protect.resources);
            let pattern = patterns.find(|it| it.matches(principal_arn))?;
            Some(format!("`{principal_arn}` is protected by {point} as `{}`", pattern.text))
        })
    }
}

/// How one document protects the target, in a sentence.
fn protection(
    point: &str,
    protect: &Protect,
    target: &Target,
    who: &TargetPrincipal,
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
    // A user or role that is protected as a resource is protected as a principal too.
    if let TargetPrincipal::Known(arn) = who {
        let mut patterns = protect.principals.iter().chain(&protect.resources);
        if let Some(pattern) = patterns.find(|it| it.matches(arn)) {
            return Some(by(arn, &pattern.text));
        }
    }
    let Tags::Known(tags) = tags else { return None };
    let TagSet(set) = protect.tags.iter().find(|TagSet(set)| {
        set.iter().all(|(key, value)| tags.get(key).is_some_and(|present| value.matches(present)))
    })?;
    let matched: Vec<String> =
        set.iter().filter_map(|(key, _)| Some(format!("{key}={}", tags.get(key)?))).collect();
    Some(format!("the tag {} is protected by {point}", matched.join(", ")))
}

/// Why it cannot be known whether one document protects the target.
fn unknown_protection(
    point: &str,
    protect: &Protect,
    who: &TargetPrincipal,
    tags: &Tags,
) -> Option<(PolicyOutcome, String)> {
    if *who == TargetPrincipal::Unknown && !protect.principals.is_empty() {
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

/// The documents on the way that have protections or budgets, each with its attach point.
pub(super) fn with_protections_or_budgets<'a>(
    way: &[PathStep<'a>],
) -> impl Iterator<Item = (&'a str, &'a Document)> {
    way.iter().filter_map(|step| {
        let (outline, document) = step.attached?;
        outline.has_protections_or_budgets.then_some((step.point, document))
    })
}

pub(super) fn guardrail(point: &str, effect: String) -> Guardrail {
    Guardrail { document: point.to_owned(), effect }
}

pub(super) fn unknown(tags: &Tags) -> String {
    match tags {
        Tags::Unknown { reason } => format!("which are unknown: {reason}"),
        Tags::Known(_) | Tags::None => "which are known".to_owned(),
    }
}
