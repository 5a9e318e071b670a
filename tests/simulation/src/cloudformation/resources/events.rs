//! EventBridge: buses, their policies, and rules with targets.

use serde_json::Value;

use super::{Before, Here, Kind, Made, Physical, Properties, not_taken};
use crate::events::rules::{Rule, Target};
use crate::events::{self, pattern};
use crate::state::State;

pub(super) fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "AWS::Events::EventBus" => Kind { put: bus, delete: delete_bus },
        "AWS::Events::EventBusPolicy" => Kind { put: policy, delete: delete_policy },
        "AWS::Events::Rule" => Kind { put: rule, delete: delete_rule },
        _ => return None,
    })
}

/// "Event patterns: 2,048 characters", "targets of a rule: 5" and "event bus
/// policy: 10,240 characters" (EventBridge user guide, "Quotas").
const PATTERN: usize = 2_048;
const TARGETS: usize = 5;
const POLICY: usize = 10_240;

fn bus(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&["Description", "Name"])?;
    let name = properties.required("Name")?;
    let arn = events::arn(here.account, here.region, &name);
    not_taken("AWS::Events::EventBus", &name, state.events.buses.contains_key(&arn), before)?;
    state.events.buses.entry(arn.clone()).or_default();
    Ok(Physical::new(name.clone(), [("Arn", arn), ("Name", name)]))
}

fn delete_bus(state: &mut State, here: Here<'_>, before: &Before<'_>) {
    let arn = events::arn(here.account, here.region, &before.physical.id);
    state.events.buses.remove(&arn);
    state.events.policies.remove(&arn);
}

fn bus_of(here: Here<'_>, properties: &Properties) -> String {
    let name = properties.text("EventBusName").unwrap_or_else(|| "default".to_owned());
    if name.starts_with("arn:") { name } else { events::arn(here.account, here.region, &name) }
}

fn policy(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&["EventBusName", "Statement", "StatementId"])?;
    let bus = bus_of(here, properties);
    let id = properties.required("StatementId")?;
    let statement = properties.get("Statement").cloned().unwrap_or_default();
    let sound = ["Effect", "Principal", "Action", "Resource"];
    if !sound.iter().all(|key| statement.get(key).is_some()) {
        return Err("the statement lacks Effect, Principal, Action or Resource".to_owned());
    }
    if !bus.ends_with(":event-bus/default") && !state.events.buses.contains_key(&bus) {
        return Err(format!("Event bus {bus} does not exist."));
    }
    let statements = state.events.policies.entry(bus.clone()).or_default();
    let physical = format!("{bus}|{id}");
    not_taken("AWS::Events::EventBusPolicy", &physical, statements.contains_key(&id), before)?;
    statements.insert(id, statement);
    let size: usize = statements.values().map(|statement| statement.to_string().len()).sum();
    if size > POLICY {
        return Err(format!("the bus's policy has {size} characters, {POLICY} are allowed"));
    }
    Ok(Physical::new(physical, []))
}

fn delete_policy(state: &mut State, _: Here<'_>, before: &Before<'_>) {
    if let Some((bus, id)) = before.physical.id.split_once('|')
        && let Some(statements) = state.events.policies.get_mut(bus)
    {
        statements.remove(id);
    }
}

fn target(declared: &Properties) -> Result<Target, String> {
    declared.only(&["Arn", "DeadLetterConfig", "Id", "RetryPolicy", "RoleArn", "SqsParameters"])?;
    let dead_letters = match declared.object("DeadLetterConfig")? {
        None => None,
        Some(held) => {
            held.only(&["Arn"])?;
            Some(held.required("Arn")?)
        }
    };
    if let Some(retry) = declared.object("RetryPolicy")? {
        retry.only(&["MaximumEventAgeInSeconds", "MaximumRetryAttempts"])?;
        let within = |name: &str, least: u32, most: u32| match retry.text(name) {
            None => Ok(()),
            Some(text) => text
                .parse::<u32>()
                .ok()
                .filter(|number| (least..=most).contains(number))
                .map(drop)
                .ok_or_else(|| format!("{name} is not from {least} to {most}")),
        };
        within("MaximumEventAgeInSeconds", 60, 86_400)?;
        within("MaximumRetryAttempts", 0, 185)?;
    }
    let arn = declared.required("Arn")?;
    let service = arn.split(':').nth(2).unwrap_or_default();
    if !["events", "sqs", "lambda", "logs"].contains(&service) {
        return Err(format!("the simulation does not model the target {arn}"));
    }
    let role = declared.text("RoleArn");
    // "Cross-account bus targets need a role" (EventBridge user guide).
    if service == "events" && role.is_none() {
        return Err(format!("the target {arn} needs a role"));
    }
    let group = match declared.object("SqsParameters")? {
        None => None,
        // "The custom parameters … for a target that is an Amazon SQS fair or FIFO queue"
        // (EventBridge API reference, SqsParameters).
        Some(_) if service != "sqs" => return Err(format!("the target {arn} is no queue")),
        Some(held) => {
            held.only(&["MessageGroupId"])?;
            Some(held.required("MessageGroupId")?)
        }
    };
    Ok(Target { id: declared.required("Id")?, arn, role, dead_letters, group })
}

fn rule(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&[
        "Description",
        "EventBusName",
        "EventPattern",
        "Name",
        "ScheduleExpression",
        "State",
        "Targets",
    ])?;
    let bus = bus_of(here, properties);
    let known = before.and_then(|before| before.physical.attributes.get("Name").cloned());
    let name = here.name(state, properties.text("Name").or(known), None);
    if !bus.ends_with(":event-bus/default") && !state.events.buses.contains_key(&bus) {
        return Err(format!("Event bus {bus} does not exist."));
    }
    let path = bus.split_once("event-bus/").map_or("default", |(_, name)| name);
    let path = if path == "default" { String::new() } else { format!("{path}/") };
    let arn = format!("arn:aws:events:{}:{}:rule/{path}{name}", here.region, here.account);
    not_taken("AWS::Events::Rule", &arn, state.events.rules.contains_key(&arn), before)?;
    let pattern = properties.get("EventPattern").cloned();
    let schedule = properties.text("ScheduleExpression");
    if pattern.is_none() && schedule.is_none() {
        return Err("neither EventPattern nor ScheduleExpression".to_owned());
    }
    if let Some(pattern) = &pattern {
        pattern::check(pattern)?;
        if pattern.to_string().len() > PATTERN {
            return Err(format!("the pattern has more than {PATTERN} characters"));
        }
    }
    let targets: Vec<Target> =
        properties.objects("Targets")?.iter().map(target).collect::<Result<_, _>>()?;
    if targets.len() > TARGETS {
        return Err(format!("more than {TARGETS} targets"));
    }
    let is_enabled = properties.get("State").and_then(Value::as_str) != Some("DISABLED");
    let made = Rule { bus, pattern, schedule, targets, is_enabled };
    state.events.rules.insert(arn.clone(), made);
    Ok(Physical::new(arn.clone(), [("Arn", arn), ("Name", name)]))
}

fn delete_rule(state: &mut State, _: Here<'_>, before: &Before<'_>) {
    state.events.rules.remove(&before.physical.id);
}
