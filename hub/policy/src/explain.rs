//! The walk that led to a decision, for people and programs.

use std::fmt;

use serde::Serialize;

use super::budget::Budget;
use super::context::{Context, Tags};
use super::decision::{Decision, PolicyOutcome};
use super::document::{Approve, Extends, Mode};
use super::tree::{BrokenDocument, PathStep, Policy};
use super::window::Window;
use firebreak_event_pattern::{Event, PatternMatch};
use firebreak_model::finding::{Finding, Target};
use firebreak_model::organization::Place;

/// A decision with the walk that led to it.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The target's ARN.
    pub target: String,
    /// The finding's type.
    pub finding: String,
    /// The OUs above the target's account.
    pub ou_path: String,
    /// From the account up.
    pub walk: Vec<WalkStep>,
    /// The decision.
    pub decision: Decision,
}

/// One point on the way up, and what was found there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WalkStep {
    /// The account, OU or root.
    pub point: String,
    /// The file of the document that is attached to it.
    pub file: Option<String>,
    /// Its ceiling.
    pub ceiling: Option<Mode>,
    /// How many protections it has.
    pub protections: usize,
    /// Its budgets.
    pub budgets: Vec<Budget>,
    /// Whether it keeps the rules above it from being looked at.
    pub extends: Extends,
    /// Its rules that were looked at, in order. What stands after the rule
    /// that decided was not.
    pub rules: Vec<RuleResult>,
    /// Why its document cannot be read.
    pub broken: Option<String>,
}

/// One rule and how it fared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleResult {
    /// Its name.
    pub rule: String,
    /// How it fared.
    pub result: RuleOutcome,
}

/// How a rule fared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleOutcome {
    /// It matches and decides.
    Matches,
    /// This field, the first that does, keeps it from matching.
    FailsAt(String),
    /// It depends on tags that are not known.
    DependsOnTags,
}

impl Policy {
    /// Decides as [`Policy::decide`] does, and explains how.
    pub fn explain(
        &self,
        finding: &Finding,
        target: &Target,
        place: &Place,
        tags: &Tags,
    ) -> Explanation {
        Explanation {
            target: target.resource.arn(),
            finding: finding.kind.clone(),
            ou_path: place.ou_path.to_string(),
            walk: self.walk(&Context::new(finding, target, place, tags), place),
            decision: self.decide(finding, target, place, tags),
        }
    }

    fn walk(&self, context: &Context<'_>, place: &Place) -> Vec<WalkStep> {
        let way = match self.way_up(place) {
            Ok(way) => way,
            Err(BrokenDocument { point, why }) => {
                return vec![WalkStep { broken: Some(why.to_owned()), ..WalkStep::new(point) }];
            }
        };
        let mut walk: Vec<WalkStep> = way
            .iter()
            .map(|PathStep { point, there }| {
                let Some((_, document)) = there else { return WalkStep::new(point) };
                let protect = &document.protect;
                WalkStep {
                    file: Some(document.file.clone()),
                    ceiling: document.ceiling,
                    protections: protect.tags.len()
                        + protect.principals.len()
                        + protect.resources.len()
                        + protect.accounts.len(),
                    budgets: document.budgets.clone(),
                    extends: document.extends,
                    ..WalkStep::new(point)
                }
            })
            .collect();
        self.nearest_rule(&way, context, |step, number, verdict| {
            let document = way.get(step).and_then(|step| step.there).map(|(_, document)| document);
            let Some(rule) = document.and_then(|document| document.rules.get(number)) else {
                return;
            };
            let result = match verdict {
                PatternMatch::Yes => RuleOutcome::Matches,
                PatternMatch::Unknown => RuleOutcome::DependsOnTags,
                PatternMatch::No => {
                    let failed = rule.when.as_ref();
                    let failed = failed.and_then(|when| when.mismatch(Event::Object(context)));
                    RuleOutcome::FailsAt(failed.unwrap_or_default())
                }
            };
            if let Some(step) = walk.get_mut(step) {
                step.rules.push(RuleResult { rule: rule.reference.rule.clone(), result });
            }
        });
        walk
    }
}

impl WalkStep {
    fn new(point: &str) -> Self {
        Self {
            point: point.to_owned(),
            file: None,
            ceiling: None,
            protections: 0,
            budgets: Vec::new(),
            extends: Extends::Parent,
            rules: Vec::new(),
            broken: None,
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.target)?;
        writeln!(formatter, "{}", self.finding)?;
        for (depth, step) in self.walk.iter().enumerate() {
            write_step(formatter, depth, step)?;
        }
        let Decision { outcome, mode, left_out, guardrails, approve, expires, .. } = &self.decision;
        for left_out in left_out {
            writeln!(formatter, "- {} is left out: {}", left_out.action, left_out.why)?;
        }
        for guardrail in guardrails {
            writeln!(formatter, "! {}", guardrail.effect)?;
        }
        for budget in &self.decision.budgets {
            writeln!(formatter, "# counts against {} of {}", budget.budget, budget.document)?;
        }
        if self.decision.acts() {
            write_terms(formatter, *mode, approve, *expires)?;
        }
        let word = match outcome {
            PolicyOutcome::Follow => mode.name(),
            _ if self.decision.is_refused() => "refused",
            _ => "nothing",
        };
        write!(formatter, "= {word}: {}", self.decision.reason())
    }
}

/// How long a plan waits and a containment lasts.
fn write_terms(
    formatter: &mut fmt::Formatter<'_>,
    mode: Mode,
    approve: &Approve,
    expires: Option<Window>,
) -> fmt::Result {
    if mode == Mode::Approve {
        if let Some(within) = approve.within {
            let otherwise = approve.otherwise.name();
            writeln!(formatter, "# approval: within {within}, otherwise {otherwise}")?;
        }
        if let Some(approvers) = &approve.approvers {
            writeln!(formatter, "# approvers: {approvers}")?;
        }
    }
    expires.map_or(Ok(()), |expires| writeln!(formatter, "# expires after {expires}"))
}

fn write_step(formatter: &mut fmt::Formatter<'_>, depth: usize, step: &WalkStep) -> fmt::Result {
    let indent = "  ".repeat(depth);
    let WalkStep { point, file, ceiling, protections, budgets, extends, rules, broken } = step;
    write!(formatter, "{indent}└ {point}")?;
    match (broken, file) {
        (Some(why), _) => write!(formatter, " is broken: {why}")?,
        (None, Some(file)) => write!(formatter, " ({file})")?,
        (None, None) => write!(formatter, " (no document)")?,
    }
    if let Some(ceiling) = ceiling {
        write!(formatter, ", ceiling {}", ceiling.name())?;
    }
    if *protections > 0 {
        write!(formatter, ", {protections} protection(s)")?;
    }
    for budget in budgets {
        write!(formatter, ", {budget}")?;
    }
    if *extends == Extends::None {
        write!(formatter, ", extends none: no rule above it is looked at")?;
    }
    writeln!(formatter)?;
    for RuleResult { rule, result } in rules {
        match result {
            RuleOutcome::Matches => writeln!(formatter, "{indent}    ✓ {rule}")?,
            RuleOutcome::FailsAt(field) => {
                writeln!(formatter, "{indent}    ✗ {rule}: `{field}` does not match")?;
            }
            RuleOutcome::DependsOnTags => {
                writeln!(formatter, "{indent}    ? {rule}: it depends on the tags")?;
            }
        }
    }
    Ok(())
}
