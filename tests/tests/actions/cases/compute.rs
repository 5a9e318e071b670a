//! The actions that contain functions, databases and containers.

use std::collections::BTreeMap;

use fastrand::Rng;
use firebreak_simulation::Organization;
use firebreak_simulation::regional::lambda::Function;
use firebreak_simulation::state::State;
use firebreak_spoke::resource::{Resource, ResourceKind};
use serde_json::{Value, json};

use super::Case;
use crate::stage::{ACCOUNT, REGION};

pub(super) fn cases() -> Vec<Case> {
    functions()
}

pub(crate) fn function(state: &mut State) -> &mut Function {
    state.regional(ACCOUNT, REGION).lambda.functions.get_mut("web").unwrap()
}

fn add_function(organization: &Organization, reserved: Option<i64>) -> ResourceKind {
    let tags = BTreeMap::from([("team".to_owned(), "web".to_owned())]);
    let function = Function { reserved, provisioned: 0, tags };
    organization.edit(|state| {
        let functions = &mut state.regional(ACCOUNT, REGION).lambda.functions;
        functions.insert("web".to_owned(), function.clone());
        functions.insert("neighbour".to_owned(), Function { reserved: Some(7), ..function });
    });
    ResourceKind::Function { name: "web".to_owned() }
}

fn function_without(organization: &Organization) -> ResourceKind {
    add_function(organization, None)
}

fn function_with(organization: &Organization) -> ResourceKind {
    add_function(organization, Some(100))
}

fn reserve(state: &mut State, _: &Resource) {
    function(state).reserved = Some(5);
}

fn reserved(state: &mut State, _: &Resource) -> Value {
    json!(function(state).reserved)
}

fn delete_function(state: &mut State, _: &Resource) {
    state.regional(ACCOUNT, REGION).lambda.functions.remove("web");
}

/// Any reservation, also none at all and none left.
fn vary_function(state: &mut State, _: &Resource, dice: &mut Rng) {
    function(state).reserved = match dice.u8(0..4) {
        0 => None,
        1 => Some(0),
        _ => Some(dice.i64(1..=800)),
    };
}

fn functions() -> Vec<Case> {
    let with = Case {
        name: "freeze-function with a reservation",
        action: "freeze-function",
        parameters: Value::Null,
        arrange: function_with,
        disturb: reserve,
        witness: reserved,
        remove: delete_function,
        outlives: false,
        vary: vary_function,
    };
    let without =
        Case { name: "freeze-function without one", arrange: function_without, ..with.clone() };
    vec![with, without]
}
