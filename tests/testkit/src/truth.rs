//! What is true of an organization after a run: the records and the resources
//! themselves, looked at without a call.

use std::collections::{BTreeMap, BTreeSet};

use firebreak_demo::world::{HUB, Member, World};
use firebreak_response::record::{Response, State, StepState};
use firebreak_simulation::ec2::model::Ec2;
use firebreak_simulation::sqs::Message;
use serde_json::Value;

use crate::fleet::Acknowledged;

/// The hub's table.
pub const TABLE: &str = "firebreak";

/// All that the hub's table holds, in DynamoDB's JSON.
pub async fn items(world: &World) -> Vec<Value> {
    world.organization.items(HUB, TABLE).await
}

/// Every response on record.
pub async fn responses(world: &World) -> Vec<Response> {
    let read = |item: &Value| {
        let is = item.pointer("/pk/S").and_then(Value::as_str)?.starts_with("response#");
        let body = item.pointer("/body/S").and_then(Value::as_str).filter(|_| is)?;
        Some(serde_json::from_str(body).unwrap())
    };
    let mut responses: Vec<Response> = items(world).await.iter().filter_map(read).collect();
    responses.sort_by(|one, other| one.id.cmp(&other.id));
    responses
}

/// Whether a response has come to an end, or waits for a person.
pub fn is_terminal(state: State) -> bool {
    !matches!(state, State::Running | State::Undoing)
}

/// What was done twice: two records in which the same step on the same resource
/// was verified, two snapshots of one volume, one rule twice in a network ACL,
/// two isolation groups in one VPC.
pub fn doubled(world: &World, responses: &[Response]) -> Vec<String> {
    let mut doubled = Vec::new();
    let mut done: BTreeMap<(String, String, String), &Response> = BTreeMap::new();
    for response in responses {
        for step in response.steps.iter().filter(|step| step.state == StepState::Done) {
            let key = (response.resource.arn(), response.key.to_string(), step.action.clone());
            if let Some(other) = done.insert(key, response) {
                let arn = response.resource.arn();
                doubled.push(format!("{} of {arn}: {} and {}", step.action, other.id, response.id));
            }
        }
    }
    world.organization.edit(|state| {
        for (account, held) in &state.accounts {
            for (region, ec2) in &held.ec2 {
                doubled.extend(doubled_in(ec2).map(|it| format!("{account} {region}: {it}")));
            }
        }
    });
    doubled
}

fn doubled_in(ec2: &Ec2) -> impl Iterator<Item = String> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut made: Vec<String> =
        ec2.snapshots.values().map(|it| format!("a snapshot of {}", it.volume)).collect();
    made.extend(ec2.groups.values().map(|it| format!("the group {} in {}", it.name, it.vpc)));
    for (id, acl) in &ec2.acls {
        // Every ACL ends in a default entry for each direction, which denies all.
        let own = acl.entries.iter().filter(|((_, number), _)| *number < 32_767);
        made.extend(own.map(|((egress, _), it)| format!("in {id}, {egress}, the rule {it:?}")));
    }
    made.retain(|it| !seen.insert(it.clone()));
    made.into_iter()
}

/// What is left open: an interface in the group of the two-step swap, which
/// lets everything through, and an instance that a record says is contained and
/// that reaches the internet.
pub fn open(world: &World, responses: &[Response]) -> Vec<String> {
    let isolated = |response: &&Response| {
        let done = |step: &firebreak_response::record::Step| {
            step.action == "isolate-instance" && step.state == StepState::Done
        };
        let holds = response.state.may_have_changed_resource() && is_terminal(response.state);
        holds && response.steps.iter().any(done)
    };
    let mut open = Vec::new();
    let isolated: Vec<&Response> = responses.iter().filter(isolated).collect();
    world.organization.edit(|state| {
        for (account, held) in &state.accounts {
            for ec2 in held.ec2.values() {
                for (id, interface) in &ec2.interfaces {
                    let names = interface.groups.iter().filter_map(|id| ec2.groups.get(id));
                    if names.into_iter().any(|group| group.name.contains("transit")) {
                        open.push(format!("{account}: {id} is in the group of the swap"));
                    }
                }
            }
        }
        for response in isolated {
            let (account, region) = (&response.resource.account, &response.resource.region);
            let arn = response.resource.arn();
            let instance = arn.rsplit('/').next().unwrap_or_default();
            if state.ec2(&account.to_string(), &region.to_string()).reaches_internet(instance) {
                open.push(format!(
                    "{} is {}, and {arn} is not cut off",
                    response.id, response.state
                ));
            }
        }
    });
    open
}

/// What is lost: a message that was neither acknowledged nor given up, one whose
/// response is not on record, and a response that came to no end.
pub fn lost(
    messages: &BTreeSet<String>,
    acknowledged: &[Acknowledged],
    dead: &[Message],
    responses: &[Response],
) -> Vec<String> {
    let mut lost = Vec::new();
    let mut accounted: BTreeSet<String> = dead.iter().map(|message| message.id.clone()).collect();
    let states: BTreeMap<_, State> = responses.iter().map(|it| (&it.id, it.state)).collect();
    for one in acknowledged {
        accounted.insert(one.message.clone());
        if one.outcomes.is_empty() {
            lost.push(format!("message {} was acknowledged without an outcome", one.message));
        }
        for (_, response) in &one.outcomes {
            let Some((id, _)) = response else { continue };
            if !states.contains_key(id) {
                lost.push(format!("{id}, which message {} led to, is not on record", one.message));
            }
        }
    }
    lost.extend(messages.difference(&accounted).map(|id| format!("message {id}")));
    let unended = responses.iter().filter(|it| !is_terminal(it.state));
    lost.extend(unended.map(|it| format!("{} is still {}: {}", it.id, it.state, it.reason)));
    lost
}

/// Whether a member's instance reaches the internet.
pub fn reaches_internet(world: &World, member: &Member) -> bool {
    world
        .organization
        .edit(|state| state.ec2(&member.account, &member.region).reaches_internet(&member.instance))
}

/// Adds a data volume to a member's instance, so that there is one to keep.
pub fn add_volume(world: &World, member: &Member) {
    world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        ec2.add_volume(&member.instance, "/dev/xvdb", None);
    });
}
