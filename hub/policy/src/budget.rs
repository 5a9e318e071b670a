//! Budgets: how much may be done below a point of the tree within a window.
//! What is spent is counted by whoever carries decisions out; here stands what
//! is counted together.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::decision::Decision;
use super::window::Window;
use firebreak_model::organization::Place;

/// What is counted together below a budget's point; without one of these it is
/// everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CountedBy {
    /// Each account has the budget of its own.
    Account,
    /// The accounts directly in an OU share one.
    Ou,
    /// Each action has one.
    Action,
    /// Each rule has one.
    Rule,
}

impl CountedBy {
    pub(super) const ALL: [Self; 4] = [Self::Account, Self::Ou, Self::Action, Self::Rule];

    /// The word in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Ou => "ou",
            Self::Action => "action",
            Self::Rule => "rule",
        }
    }
}

/// At most so many actions within any window of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Budget {
    /// How many actions.
    pub actions: u32,
    /// The length of the window.
    pub per: Window,
    /// What is counted together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<CountedBy>,
}

impl fmt::Display for Budget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} action(s) per {}", self.actions, self.per)?;
        self.by.map_or(Ok(()), |by| write!(formatter, " by {}", by.name()))
    }
}

/// A budget that a decision falls under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BudgetRef {
    /// Where its document is attached.
    pub document: String,
    /// How much it allows.
    #[serde(flatten)]
    pub budget: Budget,
}

/// What carrying a decision out draws on one budget. Everything under one key
/// is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// The budget.
    pub budget: BudgetRef,
    /// The counter.
    pub key: String,
    /// The number of actions.
    pub actions: u32,
}

impl Decision {
    /// What carrying it out at a place draws on the budgets above.
    pub fn draws(&self, place: &Place) -> Vec<Draw> {
        self.budgets.iter().flat_map(|budget| draws_on(budget, self, place)).collect()
    }
}

fn draws_on(reference: &BudgetRef, decision: &Decision, place: &Place) -> Vec<Draw> {
    let BudgetRef { document, budget } = reference;
    let draw = |group: &str, actions: usize| Draw {
        budget: reference.clone(),
        key: format!("{document}/{budget}/{group}"),
        actions: u32::try_from(actions).unwrap_or(u32::MAX),
    };
    let all = decision.actions.len();
    match budget.by {
        None => vec![draw("", all)],
        Some(CountedBy::Account) => vec![draw(place.account.as_str(), all)],
        Some(CountedBy::Ou) => vec![draw(place.ou_path.unit(), all)],
        Some(CountedBy::Rule) => vec![draw(&decision.rule_key().unwrap_or_default(), all)],
        Some(CountedBy::Action) => {
            decision.actions.iter().map(|call| draw(&call.name, 1)).collect()
        }
    }
}

/// What was spent, in the order of time, for replaying the past.
#[derive(Clone, Debug, Default)]
pub struct Spent {
    counters: BTreeMap<String, VecDeque<(Timestamp, u32)>>,
}

impl Spent {
    /// Draws on every budget, or on none: the first that is spent comes back.
    /// Times must not go backwards.
    pub fn take<'a>(&mut self, draws: &'a [Draw], now: Timestamp) -> Result<(), &'a BudgetRef> {
        for Draw { budget: reference, key, actions } in draws {
            let Budget { actions: allowed, per, .. } = reference.budget;
            let counter = self.counters.entry(key.clone()).or_default();
            let is_over = |then: Timestamp| now.duration_since(then) >= per.duration();
            while counter.front().is_some_and(|(then, _)| is_over(*then)) {
                counter.pop_front();
            }
            let spent: u32 = counter.iter().map(|(_, count)| count).sum();
            if spent.saturating_add(*actions) > allowed {
                return Err(reference);
            }
        }
        for Draw { key, actions, .. } in draws {
            self.counters.entry(key.clone()).or_default().push_back((now, *actions));
        }
        Ok(())
    }
}
