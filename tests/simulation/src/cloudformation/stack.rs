//! A stack: what a template became in one account and Region.
//!
//! What fails is rolled back: a stack that could not be made leaves nothing, one
//! that could not be updated is as it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::functions::Scope;
use super::parameters;
use super::resources::{self, Before, Here, Physical, Properties};
use super::template::{Of, Refusal, Template};
use crate::state::State;

/// Where and when a stack is made.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The account.
    pub account: &'a str,
    /// The Region.
    pub region: &'a str,
    /// The present time.
    pub now: Timestamp,
}

/// A resource that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    kind: String,
    /// What `Ref` and `Fn::GetAtt` tell of it.
    pub physical: Physical,
    properties: Properties,
    is_retained: bool,
}

/// A stack.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Its ARN.
    pub id: String,
    /// Its template.
    pub template: Arc<Template>,
    /// The parameters that it was given.
    pub parameters: BTreeMap<String, String>,
    /// Its resources by their logical ids.
    pub resources: BTreeMap<String, Held>,
    /// Its outputs.
    pub outputs: BTreeMap<String, String>,
    /// The logical ids in the order in which they were made.
    order: Vec<String>,
}

type Parameters = BTreeMap<String, String>;

fn key(place: Place<'_>, name: &str) -> (String, String, String) {
    (place.account.to_owned(), place.region.to_owned(), name.to_owned())
}

/// Makes a stack, or updates the one of this name.
pub fn deploy(
    state: &mut State,
    place: Place<'_>,
    name: &str,
    template: &Arc<Template>,
    parameters: &Parameters,
) -> Result<(), Refusal> {
    let key = key(place, name);
    let before = state.cloudformation.stacks.remove(&key);
    let id = before.as_ref().map_or_else(
        || {
            let (account, region, unique) = (place.account, place.region, state.unique());
            format!("arn:aws:cloudformation:{region}:{account}:stack/{name}/{unique:032x}")
        },
        |before| before.id.clone(),
    );
    let (mut made, failed) =
        apply(state, place, (name, &id), template, parameters, before.as_ref());
    match failed {
        None => {
            state.cloudformation.stacks.insert(key, made);
            Ok(())
        }
        Some(refusal) => {
            // Rolled back: what is new goes, what was changed is put back.
            if let Some(before) = before {
                let known = (before.template.clone(), before.parameters.clone());
                for (id, held) in &before.resources {
                    made.resources.entry(id.clone()).or_insert_with(|| held.clone());
                }
                let (back, _) =
                    apply(state, place, (name, &before.id), &known.0, &known.1, Some(&made));
                state.cloudformation.stacks.insert(key, back);
            } else {
                remove(state, place, name, &made, &|_| true);
            }
            Err(refusal)
        }
    }
}

/// Deletes a stack; what its template retains stays. False where there is none.
pub fn delete(state: &mut State, place: Place<'_>, name: &str) -> bool {
    let Some(stack) = state.cloudformation.stacks.remove(&key(place, name)) else { return false };
    remove(state, place, name, &stack, &|held| !held.is_retained);
    true
}

fn remove(
    state: &mut State,
    place: Place<'_>,
    name: &str,
    stack: &Stack,
    which: &dyn Fn(&Held) -> bool,
) {
    for logical in stack.order.iter().rev() {
        if let Some(held) = stack.resources.get(logical).filter(|held| which(held)) {
            remove_one(state, place, name, logical, held);
        }
    }
}

fn here<'a>(place: Place<'a>, stack: &'a str, logical: &'a str) -> Here<'a> {
    let Place { account, region, now } = place;
    Here { account, region, now, stack, logical }
}

fn remove_one(state: &mut State, place: Place<'_>, stack: &str, logical: &str, held: &Held) {
    if let Some(kind) = resources::kind(&held.kind) {
        let before = Before { physical: &held.physical, properties: &held.properties };
        (kind.delete)(state, here(place, stack, logical), &before);
    }
}

/// Makes or changes resource after resource. What is returned is as far as it
/// came, and why it came no further.
fn apply(
    state: &mut State,
    place: Place<'_>,
    (name, id): (&str, &str),
    template: &Arc<Template>,
    given: &Parameters,
    before: Option<&Stack>,
) -> (Stack, Option<Refusal>) {
    let mut stack = Stack {
        id: id.to_owned(),
        template: template.clone(),
        parameters: given.clone(),
        resources: BTreeMap::new(),
        outputs: BTreeMap::new(),
        order: template.order.clone(),
    };
    let failed = apply_into(state, place, name, &mut stack, before).err();
    (stack, failed)
}

fn apply_into(
    state: &mut State,
    place: Place<'_>,
    name: &str,
    stack: &mut Stack,
    before: Option<&Stack>,
) -> Result<(), Refusal> {
    let template = stack.template.clone();
    let of = Of(&template.name);
    let parameters = parameters::resolve(of, &template.parameters, &stack.parameters)?;
    let id = stack.id.clone();
    let mut made: BTreeMap<String, Physical> = BTreeMap::new();
    let nothing = BTreeMap::new();
    let scope = Scope {
        of,
        account: place.account,
        region: place.region,
        stack: (name, &id),
        parameters: &parameters,
        mappings: &template.mappings,
        conditions: &template.conditions,
        resources: &nothing,
    };
    check_rules(&scope, &template)?;
    for logical in &template.order {
        let Some(resource) = template.resources.get(logical) else { continue };
        let at = format!("Resources/{logical}");
        let scope = Scope { resources: &made, ..scope };
        if let Some(condition) = &resource.condition
            && !scope.holds(&at, condition)?
        {
            continue;
        }
        let written = Value::Object(resource.properties.clone());
        let evaluated = scope.value(&format!("{at}/Properties"), &written)?;
        let properties = Properties(evaluated.as_object().cloned().unwrap_or_default());
        let held = before.and_then(|before| before.resources.get(logical));
        let held = held.filter(|held| held.kind == resource.kind);
        let unchanged = held.filter(|held| held.properties == properties);
        let physical = if let Some(held) = unchanged {
            held.physical.clone()
        } else {
            let known =
                held.map(|it| Before { physical: &it.physical, properties: &it.properties });
            let kind = resources::kind(&resource.kind)
                .ok_or_else(|| of.refuse(&at, "the type is not modelled"))?;
            let physical =
                (kind.put)(state, here(place, name, logical), &properties, known.as_ref())
                    .map_err(|why| of.refuse(format!("{at} ({})", resource.kind), why))?;
            if let Some(held) = held.filter(|held| held.physical.id != physical.id) {
                remove_one(state, place, name, logical, held);
            }
            physical
        };
        made.insert(logical.clone(), physical.clone());
        let kind = resource.kind.clone();
        let held = Held { kind, physical, properties, is_retained: resource.is_retained };
        stack.resources.insert(logical.clone(), held);
    }
    let scope = Scope { resources: &made, ..scope };
    for (output, declared) in &template.outputs {
        let at = format!("Outputs/{output}");
        if let Some(condition) = &declared.condition
            && !scope.holds(&at, condition)?
        {
            continue;
        }
        let value = scope.value(&at, &declared.value)?;
        let text = parameters::scalar(&value).ok_or_else(|| of.refuse(at, "is no text"))?;
        stack.outputs.insert(output.clone(), text);
    }
    // What the template has no longer.
    for logical in before.into_iter().flat_map(|before| before.order.iter().rev()) {
        let gone = before.and_then(|before| before.resources.get(logical));
        if let Some(held) = gone.filter(|held| !held.is_retained)
            && !stack.resources.contains_key(logical)
        {
            remove_one(state, place, name, logical, held);
        }
    }
    Ok(())
}

fn check_rules(scope: &Scope<'_>, template: &Template) -> Result<(), Refusal> {
    for (name, rule) in &template.rules {
        let at = format!("Rules/{name}");
        if let Some(when) = &rule.when
            && !scope.is_true(&at, when)?
        {
            continue;
        }
        for (assertion, rendered) in &rule.assertions {
            if !scope.is_true(&at, assertion)? {
                return Err(scope.of.refuse(at, rendered));
            }
        }
    }
    Ok(())
}
