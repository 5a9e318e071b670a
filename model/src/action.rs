//! An action's specification and what it captures: the types of actions that the
//! spoke's registry, policy, plan and record share.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// When an action runs: containing actions run before collecting ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Contains: removes the attacker's access.
    Contain,
    /// Keeps what is contained from being changed or lost.
    Protect,
    /// Marks the resource and collects evidence.
    Collect,
    /// Ends the resource, after its evidence was kept.
    End,
}

/// What undo does about an action's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reversal {
    /// Undo restores the prior state.
    Restored,
    /// The action only adds something beside the resource, such as a snapshot, and undo
    /// keeps it.
    Kept,
    /// Nothing can restore the prior state: policy has to allow the action explicitly.
    Impossible,
}

/// The specification of an action. The command line's list, the README's table, the
/// session policies and the spoke role are derived from it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ActionSpec {
    /// The name in policies.
    pub name: &'static str,
    /// One sentence, for runbooks.
    pub sentence: &'static str,
    /// The target types that it acts on, as policies name them.
    pub resource_types: &'static [&'static str],
    /// Every IAM action that it uses to read.
    pub reads: &'static [&'static str],
    /// Every IAM action that it uses to change, undo included.
    pub writes: &'static [&'static str],
    /// What undo does about it.
    pub reversal: Reversal,
    /// When it runs.
    pub phase: Phase,
}

/// One attribute, before and after: what a plan shows its reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The attribute, such as `eni-0abc security groups`.
    pub what: String,
    /// Its value before the action.
    pub before: String,
    /// The value that the action gives it.
    pub after: String,
}

/// The result of `capture`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapturedState<P> {
    /// The prior state: all that `apply`, `verify` and `undo` need.
    pub prior: P,
    /// What `apply` would change; empty if nothing has to change.
    pub changes: Vec<Change>,
}

/// Access that may stay open after a containing action.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Residual {
    /// The path, as docs/actions.md names it: `nat-gateway`.
    pub path: String,
    /// What stays open and why, in a sentence without a full stop.
    pub what: String,
    /// The actions that close it, by name. Empty where none does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closed_by: Vec<String>,
}

impl Residual {
    /// A path that stays open, and the actions that close it.
    pub fn new(path: &str, what: impl Into<String>, closed_by: &[&str]) -> Self {
        let closed_by = closed_by.iter().map(|&name| name.to_owned()).collect();
        Self { path: path.to_owned(), what: what.into(), closed_by }
    }
}

/// What policy and plan know of one action: the registry's entry without the code that
/// executes it.
#[derive(Clone, Copy, Debug)]
pub struct ActionFacts {
    /// The action's specification.
    pub spec: ActionSpec,
    /// Actions of the same phase that run before this one if a rule has both, because
    /// this one would prevent them.
    pub after: &'static [&'static str],
    /// Actions that set the same attribute: a rule may have only one of them.
    pub excludes: &'static [&'static str],
    /// Whether it acts on what the finding names besides the target, such as remote
    /// addresses: then another finding is not a repeat.
    pub per_finding: bool,
    /// Whether its undo returns the resource to what sends it work or replaces it where it is
    /// unhealthy, such as an Auto Scaling group: it has to be well by then.
    pub returns_to_service: bool,
    /// Checks the action's parameters; `null` means none.
    pub check: fn(&Value) -> Result<(), String>,
    /// The JSON Schema of its parameters.
    pub schema: fn() -> Value,
}

impl ActionFacts {
    /// An action that is like most: it depends on no other one, excludes none, acts on its
    /// target alone, and its undo returns nothing to service.
    pub const fn new(
        spec: ActionSpec,
        check: fn(&Value) -> Result<(), String>,
        schema: fn() -> Value,
    ) -> Self {
        Self {
            spec,
            after: &[],
            excludes: &[],
            per_finding: false,
            returns_to_service: false,
            check,
            schema,
        }
    }

    /// Its name in policies.
    pub fn name(&self) -> &'static str {
        self.spec.name
    }

    /// Whether its effect can be undone, or needs no undo.
    pub fn is_reversible(&self) -> bool {
        self.spec.reversal != Reversal::Impossible
    }
}

/// Every action, in the order of lists. It is passed as a value, so that policy and
/// plan need no list of their own.
#[derive(Clone, Copy, Debug)]
pub struct ActionCatalog(&'static [ActionFacts]);

impl ActionCatalog {
    /// A catalog of these actions.
    pub const fn new(actions: &'static [ActionFacts]) -> Self {
        Self(actions)
    }

    /// All of them.
    pub fn all(self) -> &'static [ActionFacts] {
        self.0
    }

    /// The action of this name.
    pub fn find(self, name: &str) -> Option<&'static ActionFacts> {
        self.0.iter().find(|facts| facts.spec.name == name)
    }
}
