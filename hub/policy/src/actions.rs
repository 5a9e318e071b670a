//! An action as a rule names it.

use serde::Serialize;
use serde_json::Value;

/// One action with the parameters that policy gives it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActionCall {
    /// Its name.
    pub name: String,
    /// Its parameters; `null` for none.
    pub parameters: Value,
}
