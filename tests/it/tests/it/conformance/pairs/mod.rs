//! The pairs of an action and a target, each target made afresh. One file a
//! family of actions.

mod clusters;
mod identity;
mod instances;
mod services;
mod storage;

use firebreak_model::resource::ResourceKind;
use serde_json::Value;

use crate::conformance::backend::Backend;

/// An action and what it is tried on.
pub(crate) struct Pair {
    pub(crate) action: &'static str,
    /// What it is tried on; with the action's name no other pair has the same.
    pub(crate) on: &'static str,
    pub(crate) kind: ResourceKind,
    pub(crate) parameters: Value,
}

impl Pair {
    fn new(action: &'static str, on: &'static str, kind: ResourceKind) -> Self {
        Self { action, on, kind, parameters: Value::Null }
    }

    fn with(self, parameters: Value) -> Self {
        Self { parameters, ..self }
    }
}

/// Every pair, with its target in place.
pub(crate) async fn arrange(backend: &Backend) -> Vec<Pair> {
    let mut pairs = instances::pairs(backend).await;
    pairs.extend(identity::pairs(backend).await);
    pairs.extend(storage::pairs(backend).await);
    pairs.extend(services::pairs(backend).await);
    pairs.extend(clusters::pairs(backend).await);
    pairs
}
