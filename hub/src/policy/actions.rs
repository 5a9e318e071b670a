//! What policy has to know of the actions: a value, so that policy itself
//! carries nothing out.

use std::sync::Arc;

use firebreak_spoke::actions::Reversal;
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

/// What policy has to know of one action.
#[derive(Clone, Debug)]
pub struct ActionFacts {
    /// Its name.
    pub name: String,
    /// The target types that it acts on.
    pub resource_types: Arc<[String]>,
    /// Whether it can be undone.
    pub reversible: bool,
    /// Actions that set the same attribute: a rule asks for one of them.
    pub excludes: &'static [&'static str],
    /// Whether these are parameters of the action of this name.
    pub check: fn(&str, &Value) -> Result<(), String>,
    /// The JSON Schema of its parameters.
    pub parameters: fn(&str) -> Value,
}

impl ActionFacts {
    /// The actions that this version has.
    pub fn all() -> Vec<Self> {
        firebreak_spoke::actions::all()
            .iter()
            .map(|entry| Self {
                name: entry.about.name.to_owned(),
                resource_types: entry.about.resource_types.iter().map(|it| (*it).into()).collect(),
                excludes: entry.excludes,
                reversible: entry.about.reversal != Reversal::Impossible,
                check: |name, parameters| match firebreak_spoke::actions::find(name) {
                    Some(entry) => entry.check_parameters(parameters),
                    None => Err(format!("there is no action `{name}`")),
                },
                parameters: |name| match firebreak_spoke::actions::find(name) {
                    Some(entry) => entry.schema(),
                    None => Value::Bool(true),
                },
            })
            .collect()
    }
}
