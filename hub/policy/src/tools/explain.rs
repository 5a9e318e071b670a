//! Explains a decision: which documents and rules were evaluated, for people and
//! programs.

use std::fmt;

use serde::Serialize;

use crate::eval::{BrokenDocument, Context, PathStep, Policy, RuleMismatch, nearest_rule};
use crate::model::{Approve, Budget, Decision, Extends, Mode, PolicyOutcome, Tags, Window};
use firebreak_event_pattern::PatternMatch;
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
    /// The account, its OUs and the root, in this order.
    pub walk: Vec<WalkStep>,
    pub decision: Decision,
}

/// The account, an OU above it or the root, and the document that is attached there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WalkStep {
    /// The id of the account, OU or root.
    pub point: String,
    /// The file of the document; `None` where there is no document, or a broken one.
    pub file: Option<String>,
    pub ceiling: Option<Mode>,
    /// How many protections it has.
    pub protections: usize,
    pub budgets: Vec<Budget>,
    /// Whether the search for a rule continues above it.
    pub extends: Extends,
    /// The rules that were evaluated, in order: those up to the rule that decided.
    pub rules: Vec<RuleResult>,
    /// The reason why its document cannot be read.
    pub broken: Option<String>,
}

/// One rule, and whether it matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleResult {
    pub rule: String,
    pub result: RuleOutcome,
}

/// Whether a rule matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleOutcome {
    /// It matches and decides.
    Matches,
    /// It depends on tags that are not known.
    DependsOnTags,
    /// It does not match.
    #[serde(untagged)]
    Mismatch(RuleMismatch),
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
            .map(|PathStep { point, attached }| {
                let Some((_, document)) = attached else { return WalkStep::new(point) };
                WalkStep {
                    file: Some(document.file.clone()),
                    ceiling: document.ceiling,
                    protections: document.protect.len(),
                    budgets: document.budgets.clone(),
                    extends: document.extends,
                    ..WalkStep::new(point)
                }
            })
            .collect();
        nearest_rule(&way, context, |step, number, matched| {
            let document =
                way.get(step).and_then(|step| step.attached).map(|(_, document)| document);
            let Some(rule) = document.and_then(|document| document.rules.get(number)) else {
                return;
            };
            let result = match matched {
                PatternMatch::Yes => RuleOutcome::Matches,
                PatternMatch::Unknown => RuleOutcome::DependsOnTags,
                PatternMatch::No => RuleOutcome::Mismatch(rule.mismatch(context)),
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
        write!(formatter, ", extends none: no rule above it is evaluated")?;
    }
    writeln!(formatter)?;
    for RuleResult { rule, result } in rules {
        match result {
            RuleOutcome::Matches => writeln!(formatter, "{indent}    ✓ {rule}")?,
            RuleOutcome::Mismatch(why) => writeln!(formatter, "{indent}    ✗ {rule}: {why}")?,
            RuleOutcome::DependsOnTags => {
                writeln!(formatter, "{indent}    ? {rule}: it depends on the tags")?;
            }
        }
    }
    Ok(())
}
