//! Which accounts a StackSet targets, and what becomes of accounts that come to
//! a target or leave it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Action, Operation, Preferences, Share, StackSet, Status, Step};
use crate::organizations::Organizations;
use crate::state::State;

/// The target that holds an account, directly or below it; the nearest of several.
pub(super) fn target_of(
    organizations: &Organizations,
    units: &BTreeSet<String>,
    account: &str,
) -> Option<String> {
    // "StackSets doesn't deploy stack instances to the organization's management
    // account" (CloudFormation user guide, "Service-managed permissions").
    if account == organizations.management {
        return None;
    }
    let above = organizations.ancestors(account);
    above.into_iter().rev().find(|id| units.contains(id))
}

/// The accounts below targets, each with its target.
pub(super) fn below(
    organizations: &Organizations,
    units: &BTreeSet<String>,
) -> Vec<(String, String)> {
    let each = organizations.accounts.keys();
    each.filter_map(|id| Some((id.clone(), target_of(organizations, units, id)?))).collect()
}

/// Asks for an operation on these accounts in these Regions.
pub(super) fn ask(
    set: &mut StackSet,
    id: String,
    action: Action,
    (accounts, regions): (&[(String, String)], &[String]),
    preferences: Preferences,
    now: Timestamp,
) {
    let steps = regions
        .iter()
        .flat_map(|region| accounts.iter().map(move |account| (account, region)))
        .map(|((account, unit), region)| Step {
            account: account.clone(),
            region: region.clone(),
            unit: unit.clone(),
            due: now,
        })
        .collect();
    let results = std::collections::BTreeMap::new();
    let status = Status::Queued;
    let ended = None;
    let created = now;
    set.operations.push(Operation {
        id,
        action,
        status,
        created,
        ended,
        preferences,
        steps,
        results,
    });
}

/// Auto-deployment goes about it as fast as it can, whatever fails.
const AUTOMATIC: Preferences = Preferences {
    tolerated: Share::Percent(100),
    at_once: Share::Percent(100),
    is_soft: true,
    is_parallel: true,
};

/// An account joined the organization or was moved: what targets it now gets a
/// stack into it ("automatic deployments").
pub(crate) fn account_came(state: &mut State, account: &str, now: Timestamp) {
    let mut asked = Vec::new();
    for (key, set) in &state.cloudformation.stack_sets {
        let Some(unit) = target_of(&state.organizations, &set.units, account) else { continue };
        let has = set.instances.keys().any(|(held, _)| held == account);
        if set.deploys_automatically && !has {
            asked.push((key.clone(), unit));
        }
    }
    for (key, unit) in asked {
        let id = format!("auto-{:032x}", state.unique());
        let Some(set) = state.cloudformation.stack_sets.get_mut(&key) else { continue };
        let regions: Vec<String> = set.regions.iter().cloned().collect();
        let accounts = [(account.to_owned(), unit)];
        ask(set, id, Action::Create, (&accounts, &regions), AUTOMATIC, now);
    }
}

/// An account left the organization or was moved: what does not target it any
/// more lets go of it, with its stack or without.
pub(crate) fn account_left(state: &mut State, account: &str, now: Timestamp) {
    let mut asked = Vec::new();
    for (key, set) in &mut state.cloudformation.stack_sets {
        let target = target_of(&state.organizations, &set.units, account);
        let held = set.instances.iter_mut().filter(|((held, _), _)| held == account);
        let mut regions = Vec::new();
        for ((_, region), instance) in held {
            match &target {
                // Moved from target to target it keeps its stack.
                Some(unit) => instance.unit.clone_from(unit),
                None => regions.push((region.clone(), instance.unit.clone())),
            }
        }
        if set.deploys_automatically && !regions.is_empty() {
            asked.push((key.clone(), set.retains, regions));
        }
    }
    for (key, retains, regions) in asked {
        let id = format!("auto-{:032x}", state.unique());
        let Some(set) = state.cloudformation.stack_sets.get_mut(&key) else { continue };
        let unit = regions.first().map(|(_, unit)| unit.clone()).unwrap_or_default();
        let regions: Vec<String> = regions.into_iter().map(|(region, _)| region).collect();
        let accounts = [(account.to_owned(), unit)];
        ask(set, id, Action::Delete { retains }, (&accounts, &regions), AUTOMATIC, now);
    }
}
