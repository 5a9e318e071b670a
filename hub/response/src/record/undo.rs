//! The request to undo a response.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ResponseId, Suppression};

/// A request to undo a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    pub cause: UndoCause,
    /// Only this action's step; all steps if `None`.
    pub step: Option<String>,
    /// What happens to later changes by others.
    pub drift: Drift,
    /// Until when findings of the same type are suppressed on the target.
    pub suppress_until: Option<Timestamp>,
}

/// Why a response is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UndoCause {
    /// A person requested it, by the caller's ARN.
    Person(String),
    /// The rule's `expires` is over.
    Expiry,
}

impl fmt::Display for UndoCause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(arn) => formatter.write_str(arn),
            Self::Expiry => formatter.write_str("expiry"),
        }
    }
}

/// What an undo does with later changes by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Drift {
    /// Leaves it alone and reports it.
    Leave,
    /// Overwrites them with the prior state.
    Overwrite,
}

impl Undo {
    /// The suppression that the undo of response `id` asks for, if it asks for one.
    pub fn suppression(&self, id: &ResponseId) -> Option<Suppression> {
        let (by, response) = (self.cause.to_string(), id.clone());
        self.suppress_until.map(|until| Suppression { until, by, response, reason: None })
    }

    /// Combines an undo that has not ended with another request: both are executed.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let drift = match (self.drift, other.drift) {
            (Drift::Leave, Drift::Leave) => Drift::Leave,
            (Drift::Overwrite, _) | (_, Drift::Overwrite) => Drift::Overwrite,
        };
        let step = if self.step == other.step { other.step } else { None };
        let suppress_until = self.suppress_until.max(other.suppress_until);
        Self { cause: other.cause, step, drift, suppress_until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_requested_undos_are_both_executed() {
        let until: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let undo = |step: Option<&str>, drift, suppress_until| Undo {
            cause: UndoCause::Person("alice".to_owned()),
            step: step.map(str::to_owned),
            drift,
            suppress_until,
        };
        let both =
            undo(None, Drift::Overwrite, None).and(undo(Some("x"), Drift::Leave, Some(until)));
        assert_eq!(both, undo(None, Drift::Overwrite, Some(until)));
        let same = undo(Some("x"), Drift::Leave, None);
        assert_eq!(same.clone().and(same.clone()), same);
    }
}
