//! SQS: queues, through the very calls of its API, and queue policies.

use serde_json::{Map, Value, json};

use super::{Before, Here, Kind, Made, Physical, Properties, not_taken};
use crate::sqs::Address;
use crate::sqs::answers::{Place, answer};
use crate::state::State;

pub(super) fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "AWS::SQS::Queue" => Kind { put: queue, delete: delete_queue },
        "AWS::SQS::QueuePolicy" => Kind { put: policy, delete: delete_policy },
        _ => return None,
    })
}

fn queue(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&[
        "MaximumMessageSize",
        "MessageRetentionPeriod",
        "QueueName",
        "RedriveAllowPolicy",
        "RedrivePolicy",
        "SqsManagedSseEnabled",
        "VisibilityTimeout",
    ])?;
    let given = properties.text("QueueName");
    let known = before.and_then(|before| before.physical.attributes.get("QueueName").cloned());
    let name = here.name(state, given.or(known), None);
    let address = Address::new(here.account, here.region, &name);
    let is_there = state.sqs.queues.contains_key(&address);
    not_taken("AWS::SQS::Queue", &address.url(), is_there, before)?;
    let mut attributes = Map::new();
    for (key, value) in &properties.0 {
        let text = match value {
            Value::Object(_) => value.to_string(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if key != "QueueName" {
            attributes.insert(key.clone(), Value::String(text));
        }
    }
    let (operation, input) = if is_there {
        let input = json!({ "QueueUrl": address.url(), "Attributes": attributes });
        ("SetQueueAttributes", input)
    } else {
        ("CreateQueue", json!({ "QueueName": name, "Attributes": attributes }))
    };
    let place = Place { account: here.account, region: here.region, now: here.now };
    match answer(&mut state.sqs, place, operation, &input) {
        Some(Ok(_)) => {}
        Some(Err(error)) => return Err(format!("{}: {}", error.code, error.message)),
        None => return Err(format!("the simulation does not model {operation}")),
    }
    Ok(Physical::new(
        address.url(),
        [("Arn", address.arn()), ("QueueName", name), ("QueueUrl", address.url())],
    ))
}

fn delete_queue(state: &mut State, here: Here<'_>, before: &Before<'_>) {
    if let Some(address) = Address::of_url(&before.physical.id, here.region) {
        state.sqs.queues.remove(&address);
    }
}

fn policy(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&["PolicyDocument", "Queues"])?;
    let document = properties.policy("PolicyDocument")?;
    if let Some(before) = before {
        delete_policy(state, here, before);
    }
    for url in properties.texts("Queues")? {
        let queue = Address::of_url(&url, here.region)
            .filter(|queue| queue.account == here.account)
            .and_then(|address| state.sqs.queues.get_mut(&address));
        let queue = queue.ok_or_else(|| format!("there is no queue {url}"))?;
        queue.policy = Some(document.clone());
    }
    Ok(Physical::new(here.name(state, None, before), []))
}

fn delete_policy(state: &mut State, here: Here<'_>, before: &Before<'_>) {
    for url in before.properties.texts("Queues").unwrap_or_default() {
        let address = Address::of_url(&url, here.region);
        if let Some(queue) = address.and_then(|address| state.sqs.queues.get_mut(&address)) {
            queue.policy = None;
        }
    }
}
