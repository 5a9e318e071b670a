//! An action with its parameters, as a rule names it.

use serde::Serialize;
use serde_json::Value;

/// An action with the parameters that policy gives it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActionCall {
    pub name: String,
    /// The parameters; `null` for none.
    pub parameters: Value,
    /// Executed only if something stays open after the containment: the rule names it under
    /// `if-residual`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub if_residual: bool,
}
