//! What the laws are tried on: each action on each kind of target, with the
//! parameters that make a difference. One file a family of actions.

mod clusters;
pub(crate) mod compute;
mod containment;
mod evidence;
mod identity;
mod instances;
mod storage;

use fastrand::Rng;
use firebreak_model::resource::{Resource, ResourceKind};
use firebreak_simulation::Organization;
use firebreak_simulation::state::State;
use serde_json::Value;

pub(crate) use self::clusters::{
    ADMINISTRATOR, CLUSTER, OPS, cluster, entry as cluster_entry, workload as cluster_workload,
};
pub(crate) use self::containment::{first_interface, instance_id};
pub(crate) use self::storage::theirs;

/// One action on one kind of target.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) action: &'static str,
    pub(crate) parameters: Value,
    pub(crate) arrange: fn(&Organization) -> ResourceKind,
    /// Somebody changes what the action changed.
    pub(crate) disturb: fn(&mut State, &Resource),
    /// What was disturbed.
    pub(crate) witness: fn(&mut State, &Resource) -> Value,
    /// The resource goes.
    pub(crate) remove: fn(&mut State, &Resource),
    /// Whether the recorded plan still has something to end when the resource
    /// is gone: an instance's stolen credentials outlive it.
    pub(crate) outlives: bool,
    /// Changes the arranged state at random, within what the target may be.
    pub(crate) vary: fn(&mut State, &Resource, &mut Rng),
    /// Takes out of a snapshot what AWS itself makes otherwise, whatever undo
    /// does: the documentation of the action says what it is.
    pub(crate) forgive: fn(&mut Value),
}

/// Every case.
pub(crate) fn cases() -> Vec<Case> {
    [
        clusters::cases(),
        compute::cases(),
        containment::cases(),
        evidence::cases(),
        identity::cases(),
        instances::cases(),
        storage::cases(),
    ]
    .concat()
}

/// The case of this name.
pub(crate) fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).unwrap()
}

/// For actions whose undo restores everything.
fn nothing_forgiven(_: &mut Value) {}
