//! Time passes: what operations have due is carried out.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Action, Instance, Operation, Outcome, STACK, StackSet, Status, Step};
use crate::cloudformation::stack::{self, Place};
use crate::state::State;

/// Carries out all that is due by now.
pub(crate) fn settle(state: &mut State, now: Timestamp) {
    let busy = state.cloudformation.stack_sets.iter().filter(|(_, set)| set.is_busy());
    let busy: Vec<String> = busy.map(|(name, _)| name.clone()).collect();
    for name in busy {
        let Some(mut set) = state.cloudformation.stack_sets.remove(&name) else { continue };
        advance(state, &mut set, now);
        state.cloudformation.stack_sets.insert(name, set);
    }
}

/// One operation after the other: conflicting ones wait.
fn advance(state: &mut State, set: &mut StackSet, now: Timestamp) {
    let mut before = None;
    for index in 0..set.operations.len() {
        let Some(mut operation) = set.operations.get(index).cloned() else { return };
        if matches!(operation.status, Status::Succeeded | Status::Failed) {
            before = operation.ended.max(before);
            continue;
        }
        if operation.status == Status::Queued {
            let begins = before.map_or(operation.created, |before| operation.created.max(before));
            begin(&mut operation, begins);
        }
        carry_out(state, set, &mut operation, now);
        before = operation.ended;
        let ended = operation.ended.is_some();
        if let Some(held) = set.operations.get_mut(index) {
            *held = operation;
        }
        if !ended {
            return;
        }
    }
}

/// Says when each step is done: Region after Region, in each as many accounts at
/// once as the preferences allow.
fn begin(operation: &mut Operation, begins: Timestamp) {
    operation.status = Status::Running;
    let mut in_region: BTreeMap<String, usize> = BTreeMap::new();
    for step in &operation.steps {
        *in_region.entry(step.region.clone()).or_default() += 1;
    }
    let (mut region, mut base, mut last) = (String::new(), begins, begins);
    let mut position = 0;
    for step in &mut operation.steps {
        let accounts = in_region.get(&step.region).copied().unwrap_or_default();
        let preferences = operation.preferences;
        let tolerated = preferences.tolerated.of(accounts);
        let at_once = preferences.at_once.of(accounts).max(1);
        // Strictly, no more at once than may fail and one.
        let at_once = if preferences.is_soft { at_once } else { at_once.min(tolerated + 1) };
        if step.region != region {
            region.clone_from(&step.region);
            base = if preferences.is_parallel { begins } else { last };
            position = 0;
        }
        let wave = i32::try_from(position / at_once).unwrap_or(i32::MAX);
        step.due = base + STACK * wave.saturating_add(1);
        last = last.max(step.due);
        position += 1;
        let pending = Outcome { status: "PENDING", reason: None, unit: step.unit.clone() };
        operation.results.insert((step.account.clone(), step.region.clone()), pending);
    }
}

fn carry_out(state: &mut State, set: &mut StackSet, operation: &mut Operation, now: Timestamp) {
    let mut failed: BTreeMap<String, usize> = BTreeMap::new();
    let mut in_region: BTreeMap<String, usize> = BTreeMap::new();
    for step in &operation.steps {
        *in_region.entry(step.region.clone()).or_default() += 1;
    }
    for ((_, region), outcome) in &operation.results {
        if outcome.status == "FAILED" {
            *failed.entry(region.clone()).or_default() += 1;
        }
    }
    let exceeded = |failed: &BTreeMap<String, usize>| {
        failed.iter().any(|(region, failed)| {
            let accounts = in_region.get(region).copied().unwrap_or_default();
            *failed > operation.preferences.tolerated.of(accounts)
        })
    };
    let mut all_done = true;
    let mut last = operation.created;
    for step in &operation.steps {
        let key = (step.account.clone(), step.region.clone());
        last = last.max(step.due);
        if operation.results.get(&key).is_some_and(|it| it.status != "PENDING") {
            continue;
        }
        if step.due > now {
            all_done = false;
            continue;
        }
        let outcome = if exceeded(&failed) {
            let reason = Some("Cancelled since failure tolerance has exceeded".to_owned());
            Outcome { status: "CANCELLED", reason, unit: step.unit.clone() }
        } else {
            one(state, set, operation, step)
        };
        if outcome.status == "FAILED" {
            *failed.entry(step.region.clone()).or_default() += 1;
        }
        operation.results.insert(key, outcome);
    }
    if all_done {
        operation.status = if exceeded(&failed) { Status::Failed } else { Status::Succeeded };
        operation.ended = Some(last);
    }
}

/// Sees to one account and Region.
fn one(state: &mut State, set: &mut StackSet, operation: &Operation, step: &Step) -> Outcome {
    let key = (step.account.clone(), step.region.clone());
    let place = Place { account: &step.account, region: &step.region, now: step.due };
    let unit = step.unit.clone();
    if let Action::Delete { retains } = operation.action {
        if !retains {
            stack::delete(state, place, &set.stack());
        }
        set.instances.remove(&key);
        return Outcome { status: "SUCCEEDED", reason: None, unit };
    }
    let account = state.organizations.accounts.get(&step.account);
    let ended = match account.map(|account| account.state.as_str()) {
        None => Err(("FAILED", format!("Account {} is not in the organization", step.account))),
        Some("SUSPENDED" | "CLOSED" | "PENDING_CLOSURE") => {
            let why = format!("Account {} is suspended", step.account);
            Err(("SKIPPED_SUSPENDED_ACCOUNT", why))
        }
        Some(_) => {
            let enabled = state.opt_in_regions.get(&step.region);
            if enabled.is_some_and(|enabled| !enabled.contains(&step.account)) {
                let why =
                    format!("Region {} is not enabled in account {}", step.region, step.account);
                Err(("FAILED", why))
            } else {
                stack::deploy(state, place, &set.stack(), &set.template, &set.parameters)
                    .map_err(|refusal| ("FAILED", refusal.to_string()))
            }
        }
    };
    let (is_current, detail, reason) = match ended {
        Ok(()) => (true, "SUCCEEDED", None),
        Err((detail, why)) => (false, detail, Some(why)),
    };
    let instance = Instance {
        unit: unit.clone(),
        is_current,
        detail,
        reason: reason.clone(),
        operation: operation.id.clone(),
    };
    set.instances.insert(key, instance);
    let status = if is_current { "SUCCEEDED" } else { "FAILED" };
    Outcome { status, reason, unit }
}
