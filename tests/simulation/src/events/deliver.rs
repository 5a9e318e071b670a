//! From a bus along its rules to their targets.
//!
//! Each step asks whoever has to allow it: the role of the rule and what trusts
//! it, the policy of the bus, queue or log group that is put to, a function's
//! permissions. What is not allowed goes to the target's dead-letter queue, if
//! that lets it in. Trying again is not modelled: nothing here fails by chance.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pattern;
use super::rules::Target;
use crate::caller::{Caller, Session};
use crate::permissions::{self, Needed};
use crate::policy::{Context, Principal, Question, Verdict, addressed, evaluate};
use crate::sqs::Address;
use crate::state::State;

/// An event that reached no target.
#[derive(Clone, Debug, PartialEq)]
pub struct Lost {
    /// The rule's ARN.
    pub rule: String,
    /// The target's ARN.
    pub target: String,
    /// Why.
    pub why: String,
    /// The event.
    pub event: Value,
}

const EVENTS: Principal<'static> = Principal::Service("events.amazonaws.com");

/// Puts an event that a service emits on the default bus of an account and
/// Region, and takes it on. `event` is complete, with `source` and `detail-type`.
pub fn emit(state: &mut State, (account, region): (&str, &str), event: &Value, now: Timestamp) {
    let bus = super::arn(account, region, "default");
    follow(state, &bus, event, true, now);
}

/// Takes an event that is on a bus on to the targets of its rules. What came
/// from another bus goes to no third (EventBridge user guide, "Sending and
/// receiving events between event buses").
pub fn follow(state: &mut State, bus: &str, event: &Value, may_hop: bool, now: Timestamp) {
    let matching: Vec<(String, Target)> = state
        .events
        .rules
        .iter()
        .filter(|(_, rule)| rule.is_enabled && rule.bus == bus)
        .filter(|(_, rule)| rule.pattern.as_ref().is_some_and(|it| pattern::matches(it, event)))
        .flat_map(|(arn, rule)| rule.targets.iter().map(|it| (arn.clone(), it.clone())))
        .collect();
    for (rule, target) in matching {
        send(state, &rule, &target, event, may_hop, now);
    }
}

/// Lets a rule with a schedule send its event now.
pub fn tick(state: &mut State, rule: &str, now: Timestamp) {
    let Some(held) = state.events.rules.get(rule).filter(|held| held.is_enabled) else { return };
    let (targets, parts) = (held.targets.clone(), rule.split(':').collect::<Vec<_>>());
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    let event = json!({
        "version": "0", "id": format!("tick-{now}"), "detail-type": "Scheduled Event",
        "source": "aws.events", "account": part(4), "region": part(3),
        "time": now.to_string(), "resources": [rule], "detail": {},
    });
    for target in targets {
        send(state, rule, &target, &event, true, now);
    }
}

fn send(
    state: &mut State,
    rule: &str,
    target: &Target,
    event: &Value,
    may_hop: bool,
    now: Timestamp,
) {
    let ended = match target.arn.split(':').nth(2) {
        Some("events") if !may_hop => return,
        Some("events") => to_bus(state, rule, target, event, now),
        Some("sqs") => to_queue(state, rule, (&target.arn, target.group.as_deref()), event, now),
        Some("lambda") => to_function(state, rule, &target.arn, event),
        Some("logs") => to_log(state, rule, &target.arn, event),
        _ => Err("the simulation does not model the target".to_owned()),
    };
    let Err(why) = ended else { return };
    let dead = target.dead_letters.as_ref();
    let kept = dead.map(|queue| to_queue(state, rule, (queue, None), event, now));
    if kept.is_none_or(|kept| kept.is_err()) {
        let (rule, target) = (rule.to_owned(), target.arn.clone());
        state.events.lost.push(Lost { rule, target, why, event: event.clone() });
    }
}

fn account_of(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

fn of_service(rule: &str) -> Context {
    let values = [
        ("aws:sourcearn", rule),
        ("aws:sourceaccount", account_of(rule)),
        ("aws:securetransport", "true"),
    ];
    values.into_iter().map(|(key, value)| (key.to_owned(), vec![value.to_owned()])).collect()
}

/// Whether a resource's policy lets EventBridge do something on a rule's behalf.
fn admits(policy: &Value, rule: &str, action: &str, resource: &str) -> Result<(), String> {
    let context = of_service(rule);
    let question = Question { action, resource, context: &context };
    match evaluate([&addressed(policy, EVENTS)], &question).map_err(|error| error.to_string())? {
        Verdict::Allow => Ok(()),
        Verdict::ExplicitDeny | Verdict::ImplicitDeny => {
            Err(format!("NO_PERMISSIONS: the policy of {resource} does not let {rule} in"))
        }
    }
}

fn to_queue(
    state: &mut State,
    rule: &str,
    (arn, group): (&str, Option<&str>),
    event: &Value,
    now: Timestamp,
) -> Result<(), String> {
    let queue = Address::of_arn(arn).ok_or_else(|| format!("{arn} is no queue"))?;
    let held = state.sqs.queues.get(&queue).ok_or_else(|| format!("there is no queue {arn}"))?;
    let policy = held.policy.clone().unwrap_or_default();
    admits(&policy, rule, "sqs:SendMessage", arn)?;
    let sent = state.sqs.send(&queue, &event.to_string(), group, now);
    sent.map(drop).map_err(|error| error.message)
}

fn to_function(state: &mut State, rule: &str, arn: &str, event: &Value) -> Result<(), String> {
    let parts: Vec<&str> = arn.split(':').collect();
    let [_, _, _, region, account, _, name] = parts.as_slice() else {
        return Err(format!("{arn} is no function"));
    };
    let lambda = &mut state.regional(account, region).lambda;
    let function = lambda.functions.get_mut(*name);
    let function = function.ok_or_else(|| format!("there is no function {arn}"))?;
    let permitted = function.permissions.values().any(|it| {
        it.principal == "events.amazonaws.com" && it.source.as_deref().is_none_or(|it| it == rule)
    });
    if !permitted {
        return Err(format!("NO_PERMISSIONS: {rule} may not invoke {arn}"));
    }
    function.invoked.push(event.clone());
    Ok(())
}

fn to_log(state: &mut State, rule: &str, arn: &str, event: &Value) -> Result<(), String> {
    let group = arn.trim_end_matches(":*");
    let streams = format!("{group}:*");
    let parts: Vec<&str> = arn.split(':').collect();
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    let policies = state.monitoring.log_policies.iter();
    let here = policies.filter(|((account, region, _), _)| account == part(4) && region == part(3));
    let statements: Vec<Value> = here
        .flat_map(|(_, policy)| crate::policy::list(policy.get("Statement")))
        .cloned()
        .collect();
    let policy = json!({ "Statement": statements });
    for action in ["logs:CreateLogStream", "logs:PutLogEvents"] {
        admits(&policy, rule, action, &streams)?;
    }
    let held = state.monitoring.groups.get_mut(group);
    held.ok_or_else(|| format!("there is no log group {group}"))?.events.push(event.clone());
    Ok(())
}

/// Puts an event on another bus as the target's role.
fn to_bus(
    state: &mut State,
    rule: &str,
    target: &Target,
    event: &Value,
    now: Timestamp,
) -> Result<(), String> {
    let role_arn = target.role.as_deref().ok_or("the target has no role")?;
    let name = role_arn.rsplit('/').next().unwrap_or_default();
    let account = account_of(role_arn);
    let found = state.accounts.get(account).and_then(|held| held.iam.roles.get(name)).cloned();
    let found = found.ok_or_else(|| format!("there is no role {role_arn}"))?;
    let mut admitting = addressed(&found.trust, EVENTS);
    // A trust policy's resource is the role that carries it.
    for statement in
        admitting.get_mut("Statement").and_then(Value::as_array_mut).into_iter().flatten()
    {
        if let Some(held) = statement.as_object_mut() {
            held.insert("Resource".to_owned(), json!("*"));
        }
    }
    let context = of_service(rule);
    let question = Question { action: "sts:AssumeRole", resource: role_arn, context: &context };
    let verdict = evaluate([&admitting], &question).map_err(|error| error.to_string())?;
    if verdict != Verdict::Allow {
        return Err(format!("NO_PERMISSIONS: {role_arn} does not trust EventBridge for {rule}"));
    }
    let session = Session {
        account: account.to_owned(),
        role: name.to_owned(),
        role_id: found.identity.id.clone(),
        name: "events".to_owned(),
        issued: now,
        expires: now + jiff::SignedDuration::from_hours(1),
        token: String::new(),
        policy: None,
        tags: std::collections::BTreeMap::new(),
        source_identity: None,
    };
    let caller = Caller::Role(Box::new(session));
    let needed = Needed { action: "events:PutEvents".to_owned(), resource: target.arn.clone() };
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let requested = Context::from([
        ("events:source".to_owned(), vec![text("source")]),
        ("events:detail-type".to_owned(), vec![text("detail-type")]),
        ("events:eventbusinvocation".to_owned(), vec!["true".to_owned()]),
    ]);
    let region = rule.split(':').nth(3).unwrap_or_default();
    permissions::authorize(state, &caller, region, &needed, requested, now)
        .map_err(|denied| format!("NO_PERMISSIONS: {denied}"))?;
    if !target.arn.ends_with(":event-bus/default") && !state.events.buses.contains_key(&target.arn)
    {
        return Err(format!("there is no bus {}", target.arn));
    }
    follow(state, &target.arn, event, false, now);
    Ok(())
}
