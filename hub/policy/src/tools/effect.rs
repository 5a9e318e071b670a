//! The effect of a decision, to count and to compare: decisions with the same effect do
//! the same, whichever rule they come from.

use std::fmt;

use serde::Serialize;

use crate::model::{Decision, Mode, PolicyOutcome};

/// The effect of a decision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Effect {
    /// `auto`, `approve`, `observe`, `refused` or `nothing`.
    pub mode: &'static str,
    /// The actions, each with its parameters.
    pub actions: Vec<String>,
    /// The outcome, where it is not `follow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<PolicyOutcome>,
    /// Terms such as `undone after 3d`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub terms: Vec<String>,
}

impl Effect {
    /// The effect of a decision.
    pub fn of(decision: &Decision) -> Self {
        let follows = decision.outcome == PolicyOutcome::Follow;
        let mode = match decision.outcome {
            PolicyOutcome::Follow => decision.mode.name(),
            _ if decision.is_refused() => "refused",
            _ => "nothing",
        };
        let actions = decision.actions.iter().filter(|_| follows).map(|call| {
            let condition = if call.if_residual { " if something stays open" } else { "" };
            if call.parameters.is_null() {
                format!("{}{condition}", call.name)
            } else {
                format!("{} {}{condition}", call.name, call.parameters)
            }
        });
        Self {
            mode,
            actions: actions.collect(),
            outcome: (!follows).then_some(decision.outcome),
            terms: if decision.acts() { terms(decision) } else { Vec::new() },
        }
    }
}

fn terms(decision: &Decision) -> Vec<String> {
    let Decision { mode, approve, expires, confirm, .. } = decision;
    let mut terms = Vec::new();
    if let (Mode::Approve, Some(within)) = (mode, approve.within) {
        terms.push(format!("within {within}, otherwise {}", approve.otherwise.name()));
    }
    terms.extend(expires.map(|expires| format!("undone after {expires}")));
    if !confirm {
        terms.push("without confirming the finding".to_owned());
    }
    terms
}

impl fmt::Display for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.mode)?;
        match self.outcome {
            Some(outcome) => write!(formatter, " ({})", outcome.name())?,
            None if self.actions.is_empty() => {}
            None => write!(formatter, ": {}", self.actions.join(", "))?,
        }
        if self.terms.is_empty() {
            return Ok(());
        }
        write!(formatter, " ({})", self.terms.join("; "))
    }
}
