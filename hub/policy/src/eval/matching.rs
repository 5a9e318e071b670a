//! Whether a rule matches a target, and why it does not.

use std::fmt;

use firebreak_event_pattern::{Event, PatternMatch};
use serde::Serialize;

use super::context::Context;
use crate::model::Rule;

/// Why a rule does not match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleMismatch {
    /// The first field that does not match; empty where no single element of an array
    /// matches all fields.
    FailsAt(String),
}

impl fmt::Display for RuleMismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailsAt(field) => write!(formatter, "`{field}` does not match"),
        }
    }
}

impl Rule {
    /// Whether it matches; unknown where that depends on unknown tags.
    pub(crate) fn evaluate(&self, context: &Context<'_>) -> PatternMatch {
        self.when.as_ref().map_or(PatternMatch::Yes, |when| when.evaluate(Event::Object(context)))
    }

    /// Why it does not match, of a rule that does not.
    pub(crate) fn mismatch(&self, context: &Context<'_>) -> RuleMismatch {
        let field = self.when.as_ref().and_then(|when| when.mismatch(Event::Object(context)));
        RuleMismatch::FailsAt(field.unwrap_or_default())
    }
}
