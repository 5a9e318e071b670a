//! How far a rule goes.

use serde::{Deserialize, Serialize};

/// How far a rule goes. Each mode is stronger than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing is done and no response is made. The audit log records the decision.
    Off,
    /// Only what would be done is recorded.
    Observe,
    /// The plan is recorded and waits for a person.
    Approve,
    /// The actions are executed at once.
    Auto,
}

impl Mode {
    /// All modes, the weakest first.
    pub const ALL: [Self; 4] = [Self::Off, Self::Observe, Self::Approve, Self::Auto];

    /// The word in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Approve => "approve",
            Self::Auto => "auto",
        }
    }
}
