//! Target groups, as the Elastic Load Balancing API reference (2015-12-01) has
//! them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Place, number, page, required};
use crate::state::State;
use crate::wire::ServiceError;

/// What one account holds in one Region.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Elbv2 {
    /// Target groups by ARN.
    pub target_groups: BTreeMap<String, TargetGroup>,
}

/// What is registered: an instance's id or an address, and the port.
pub type Registered = (String, i64);

/// A target group.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TargetGroup {
    /// Its VPC.
    pub vpc: String,
    /// `instance`, `ip`, `lambda` or `alb`.
    pub target_type: String,
    /// The port for targets that name none.
    pub port: i64,
    /// What is registered: an instance's id or an address, and the port.
    pub targets: BTreeSet<Registered>,
}

/// Answers a call; `None` for one that is not modelled.
pub fn answer(state: &mut State, place: &Place, operation: &str, input: &Value) -> Option<Answer> {
    let held = &mut state.regional(&place.account, &place.region).elbv2;
    Some(match operation {
        "DescribeTargetGroups" => Ok(describe(held, input)),
        "DescribeTargetHealth" => health(held, input),
        "DeregisterTargets" => change(held, input, |targets, target| {
            targets.remove(&target);
        }),
        "RegisterTargets" => change(held, input, |targets, target| {
            targets.insert(target);
        }),
        _ => return None,
    })
}

fn describe(held: &Elbv2, input: &Value) -> Value {
    let all: Vec<Value> = held
        .target_groups
        .iter()
        .map(|(arn, group)| {
            json!({
                "TargetGroupArn": arn, "TargetGroupName": arn.split('/').nth(1), "VpcId": group.vpc,
                "TargetType": group.target_type, "Port": group.port, "Protocol": "HTTP",
            })
        })
        .collect();
    let (page, next) = page(&all, input.get("Marker"));
    json!({ "TargetGroups": page, "NextMarker": next })
}

fn group<'a>(held: &'a mut Elbv2, input: &Value) -> Result<&'a mut TargetGroup, ServiceError> {
    let arn = required(input, "TargetGroupArn")?;
    held.target_groups.get_mut(arn).ok_or_else(|| {
        let message = format!("Target groups '{arn}' not found");
        ServiceError::new(400, "TargetGroupNotFound", message)
    })
}

fn health(held: &mut Elbv2, input: &Value) -> Answer {
    let group = group(held, input)?;
    let described: Vec<Value> = group
        .targets
        .iter()
        .map(|(id, port)| {
            json!({ "Target": { "Id": id, "Port": port }, "TargetHealth": { "State": "healthy" } })
        })
        .collect();
    Ok(json!({ "TargetHealthDescriptions": described }))
}

/// Registering what is registered, and deregistering what is not, succeed.
fn change(
    held: &mut Elbv2,
    input: &Value,
    change: fn(&mut BTreeSet<Registered>, Registered),
) -> Answer {
    let group = group(held, input)?;
    for target in input.get("Targets").and_then(Value::as_array).into_iter().flatten() {
        let port = number(target, "Port").unwrap_or(group.port);
        change(&mut group.targets, (required(target, "Id")?.to_owned(), port));
    }
    Ok(json!({}))
}
