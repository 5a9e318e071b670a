//! The walk that led to a decision, for people and programs.

use std::fmt;

use serde::Serialize;

use super::context::Tags;
use super::decision::Decision;
use super::tree::Policy;
use crate::finding::{Finding, Target};
use crate::organization::Place;

/// One point on the way up, and what was found there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Walked {
    /// The account, OU or root.
    pub point: String,
    /// The file of the document that is attached to it.
    pub file: Option<String>,
    /// Its ceiling.
    pub ceiling: Option<super::Mode>,
    /// Each rule and, unless it matched, the first field that failed.
    pub rules: Vec<(String, Option<String>)>,
}

/// A decision with the walk that led to it.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The target's ARN.
    pub target: String,
    /// The OUs above its account.
    pub ou_path: String,
    /// From the account up.
    pub walk: Vec<Walked>,
    /// The decision.
    pub decision: Decision,
}

impl Policy {
    /// Decides as [`Policy::decide`] does, and tells how.
    pub fn explain(
        &self,
        finding: &Finding,
        target: &Target,
        place: &Place,
        tags: &Tags,
    ) -> Explanation {
        let decision = self.decide(finding, target, place, tags);
        let event = self.event(finding, target, place, tags);
        let mut matched = false;
        let walk = self.way_up(place).unwrap_or_default().into_iter().map(|(point, document)| {
            let mut rules = Vec::new();
            // What comes after the rule that matched was not looked at.
            for rule in document.iter().flat_map(|it| &it.rules) {
                if matched {
                    break;
                }
                let failed = rule.when.as_ref().and_then(|when| when.first_mismatch(&event));
                matched = failed.is_none();
                rules.push((rule.name.clone(), failed));
            }
            Walked {
                point: point.to_owned(),
                file: document.map(|it| it.file.clone()),
                ceiling: document.and_then(|it| it.ceiling),
                rules,
            }
        });
        Explanation {
            target: target.resource.arn(),
            ou_path: place.ou_path.to_string(),
            walk: walk.collect(),
            decision,
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.target)?;
        for (depth, walked) in self.walk.iter().enumerate() {
            let indent = "  ".repeat(depth);
            let file = walked.file.as_deref().unwrap_or("no document");
            write!(formatter, "{indent}└ {} ({file})", walked.point)?;
            if let Some(ceiling) = walked.ceiling {
                write!(formatter, ", ceiling {}", ceiling.name())?;
            }
            writeln!(formatter)?;
            for (rule, failed) in &walked.rules {
                match failed {
                    Some(field) => {
                        writeln!(formatter, "{indent}    ✗ {rule}: `{field}` does not match")?;
                    }
                    None => writeln!(formatter, "{indent}    ✓ {rule}")?,
                }
            }
        }
        for guardrail in &self.decision.guardrails {
            writeln!(formatter, "! {}", guardrail.effect)?;
        }
        let word = match (&self.decision.outcome, self.decision.is_refused()) {
            (_, true) => "refused",
            (super::Outcome::Nothing(_), _) => "nothing",
            _ => self.decision.mode.name(),
        };
        write!(formatter, "= {word}: {}", self.decision.reason())
    }
}
