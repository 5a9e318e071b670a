//! SNS: topics, their policies, and subscriptions.

use super::{Before, Here, Kind, Made, Physical, Properties, not_taken};
use crate::sns::arn;
use crate::state::State;

pub(super) fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "AWS::SNS::Topic" => Kind { put: topic, delete: delete_topic },
        "AWS::SNS::TopicPolicy" => Kind { put: policy, delete: delete_policy },
        "AWS::SNS::Subscription" => Kind { put: subscription, delete: delete_subscription },
        _ => return None,
    })
}

fn topic(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    // What a topic is called in e-mails, and how it is encrypted, shows nowhere here.
    properties.only(&["DisplayName", "KmsMasterKeyId", "TopicName"])?;
    let known = before.and_then(|before| before.physical.attributes.get("TopicName").cloned());
    let name = here.name(state, properties.text("TopicName").or(known), None);
    let arn = arn(here.account, here.region, &name);
    not_taken("AWS::SNS::Topic", &arn, state.sns.topics.contains_key(&arn), before)?;
    state.sns.topics.entry(arn.clone()).or_default();
    Ok(Physical::new(arn.clone(), [("TopicArn", arn), ("TopicName", name)]))
}

fn delete_topic(state: &mut State, _: Here<'_>, before: &Before<'_>) {
    state.sns.topics.remove(&before.physical.id);
}

fn policy(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&["PolicyDocument", "Topics"])?;
    let document = properties.policy("PolicyDocument")?;
    if let Some(before) = before {
        delete_policy(state, here, before);
    }
    for arn in properties.texts("Topics")? {
        let topic = state.sns.topics.get_mut(&arn);
        topic.ok_or_else(|| format!("there is no topic {arn}"))?.policy = Some(document.clone());
    }
    Ok(Physical::new(here.name(state, None, before), []))
}

fn delete_policy(state: &mut State, _: Here<'_>, before: &Before<'_>) {
    for arn in before.properties.texts("Topics").unwrap_or_default() {
        if let Some(topic) = state.sns.topics.get_mut(&arn) {
            topic.policy = None;
        }
    }
}

fn subscription(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&["Endpoint", "Protocol", "TopicArn"])?;
    let protocol = properties.required("Protocol")?;
    if protocol != "email" {
        return Err(format!("the simulation does not model subscriptions by {protocol}"));
    }
    let (arn, endpoint) = (properties.required("TopicArn")?, properties.required("Endpoint")?);
    if let Some(before) = before {
        delete_subscription(state, here, before);
    }
    let id = format!("{arn}:{:032x}", state.unique());
    let topic = state.sns.topics.get_mut(&arn).ok_or_else(|| format!("there is no topic {arn}"))?;
    topic.subscriptions.insert(id.clone(), (protocol, endpoint));
    Ok(Physical::new(id, []))
}

fn delete_subscription(state: &mut State, _: Here<'_>, before: &Before<'_>) {
    for topic in state.sns.topics.values_mut() {
        topic.subscriptions.remove(&before.physical.id);
    }
}
