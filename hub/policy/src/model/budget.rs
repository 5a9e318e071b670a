//! Budgets: how many actions may be executed without a person where a document is attached
//! and below, within a window. The store counts the draws; this module defines which actions
//! share a counter.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::window::Window;

/// Which actions share a counter. Without it all actions share one, where the budget's
/// document is attached and below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CountedBy {
    /// Each account has a budget of its own.
    Account,
    /// The accounts directly in an OU share a budget.
    Ou,
    /// Each action has a budget of its own.
    Action,
    /// Each rule has a budget of its own.
    Rule,
}

impl CountedBy {
    pub(crate) const ALL: [Self; 4] = [Self::Account, Self::Ou, Self::Action, Self::Rule];

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
    /// How many actions may be executed.
    pub actions: u32,
    /// The length of the window.
    pub per: Window,
    /// Which actions share a counter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<CountedBy>,
}

impl fmt::Display for Budget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} action(s) per {}", self.actions, self.per)?;
        self.by.map_or(Ok(()), |by| write!(formatter, " by {}", by.name()))
    }
}

/// A budget that a decision draws on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BudgetRef {
    /// The attach point of its document.
    pub document: String,
    #[serde(flatten)]
    pub budget: Budget,
}

/// How many actions a decision draws on one budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    pub budget: BudgetRef,
    /// The counter: draws with the same key add up.
    pub key: String,
    /// How many actions.
    pub actions: u32,
}
