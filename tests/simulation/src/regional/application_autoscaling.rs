//! Application Auto Scaling's calls for ECS services, as its API reference has them. What it
//! does to a service's count is [`Scaling::alarm`].

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Place, required, texts};
use crate::state::State;
use crate::wire::ServiceError;

/// What one account holds in one Region.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Scaling {
    /// Scalable targets by resource id, such as `service/prod/web`.
    pub targets: BTreeMap<String, Target>,
}

/// A scalable target.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Target {
    /// The least capacity.
    pub min: i64,
    /// The greatest.
    pub max: i64,
    /// What is suspended: DynamicScalingInSuspended and so on.
    pub suspended: BTreeMap<String, bool>,
}

const SUSPENDED: [&str; 3] =
    ["DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended"];

impl Scaling {
    /// The count that an alarm of this target asks for, if it may change it.
    pub fn alarm(&self, resource_id: &str) -> Option<i64> {
        let target = self.targets.get(resource_id)?;
        let suspended = target.suspended.get("DynamicScalingOutSuspended").copied();
        (!suspended.unwrap_or(false)).then_some(target.min.max(1))
    }
}

/// Answers a call; `None` for one that is not modelled.
pub fn answer(state: &mut State, place: &Place, operation: &str, input: &Value) -> Option<Answer> {
    let scaling = &mut state.regional(&place.account, &place.region).scaling;
    Some(match operation {
        "DescribeScalableTargets" => Ok(describe(scaling, input)),
        "RegisterScalableTarget" => register(scaling, input),
        _ => return None,
    })
}

fn describe(scaling: &Scaling, input: &Value) -> Value {
    let asked = texts(input, "ResourceIds");
    let found = scaling.targets.iter().filter(|(id, _)| asked.is_empty() || asked.contains(id));
    let targets: Vec<Value> = found
        .map(|(id, target)| {
            json!({
                "ServiceNamespace": "ecs",
                "ResourceId": id,
                "ScalableDimension": "ecs:service:DesiredCount",
                "MinCapacity": target.min,
                "MaxCapacity": target.max,
                "RoleARN": "arn:aws:iam::111111111111:role/aws-service-role/ecs.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_ECSService",
                "CreationTime": 1_767_225_600,
                "SuspendedState": target.suspended,
            })
        })
        .collect();
    json!({ "ScalableTargets": targets })
}

fn register(scaling: &mut Scaling, input: &Value) -> Answer {
    let id = required(input, "ResourceId")?;
    let target = scaling.targets.get_mut(id).ok_or_else(|| {
        let message = "MinCapacity and MaxCapacity cannot be null";
        ServiceError::new(400, "ValidationException", message)
    })?;
    for name in SUSPENDED {
        if let Some(wanted) =
            input.pointer(&format!("/SuspendedState/{name}")).and_then(Value::as_bool)
        {
            target.suspended.insert(name.to_owned(), wanted);
        }
    }
    target.suspended.retain(|_, suspended| *suspended);
    Ok(json!({}))
}
