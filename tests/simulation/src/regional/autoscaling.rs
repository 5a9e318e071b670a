//! EC2 Auto Scaling's calls, as its API reference has them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Place, flag, page, required, texts};
use crate::state::State;
use crate::wire::ServiceError;

/// What one account holds in one Region.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AutoScaling {
    /// Groups by name.
    pub groups: BTreeMap<String, Group>,
}

/// An Auto Scaling group.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Group {
    /// The least number of instances.
    pub min: i64,
    /// The greatest.
    pub max: i64,
    /// The number it aims at.
    pub desired: i64,
    /// Its instances with their lifecycle state, such as `InService`.
    pub instances: BTreeMap<String, String>,
    /// Classic Load Balancers with which it registers its instances.
    pub load_balancers: BTreeSet<String>,
    /// Target groups with which it registers its instances, by ARN, and the port.
    pub target_groups: BTreeMap<String, i64>,
    /// Instances that it launched in the place of others.
    pub replacements: Vec<String>,
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::new(400, "ValidationError", message)
}

/// Answers a call; `None` for one that is not modelled.
pub fn answer(state: &mut State, place: &Place, operation: &str, input: &Value) -> Option<Answer> {
    Some(match operation {
        "DescribeAutoScalingInstances" => Ok(describe_instances(own(state, place), input)),
        "DescribeAutoScalingGroups" => Ok(describe_groups(own(state, place), input)),
        "EnterStandby" | "DetachInstances" => leave(state, place, operation, input),
        "ExitStandby" | "AttachInstances" => come_back(state, place, operation, input),
        _ => return None,
    })
}

fn own<'a>(state: &'a mut State, place: &Place) -> &'a mut AutoScaling {
    &mut state.regional(&place.account, &place.region).autoscaling
}

fn describe_instances(held: &AutoScaling, input: &Value) -> Value {
    let asked = texts(input, "InstanceIds");
    let all: Vec<Value> = held
        .groups
        .iter()
        .flat_map(|(name, group)| group.instances.iter().map(move |it| (name, it)))
        .filter(|(_, (id, _))| asked.is_empty() || asked.contains(id))
        .map(|(name, (id, lifecycle))| {
            json!({
                "InstanceId": id, "AutoScalingGroupName": name, "LifecycleState": lifecycle,
                "AvailabilityZone": "a", "HealthStatus": "HEALTHY", "ProtectedFromScaleIn": false,
            })
        })
        .collect();
    let (page, next) = page(&all, input.get("NextToken"));
    json!({ "AutoScalingInstances": page, "NextToken": next })
}

fn describe_groups(held: &AutoScaling, input: &Value) -> Value {
    let asked = texts(input, "AutoScalingGroupNames");
    let all: Vec<Value> = held
        .groups
        .iter()
        .filter(|(name, _)| asked.is_empty() || asked.contains(name))
        .map(|(name, group)| {
            let instances: Vec<Value> = group
                .instances
                .iter()
                .map(|(id, lifecycle)| {
                    json!({
                        "InstanceId": id, "LifecycleState": lifecycle, "AvailabilityZone": "a",
                        "HealthStatus": "Healthy", "ProtectedFromScaleIn": false,
                    })
                })
                .collect();
            json!({
                "AutoScalingGroupName": name, "MinSize": group.min, "MaxSize": group.max,
                "DesiredCapacity": group.desired, "DefaultCooldown": 300, "HealthCheckType": "EC2",
                "AvailabilityZones": ["a"], "CreatedTime": "2025-01-01T00:00:00Z",
                "Instances": instances, "LoadBalancerNames": group.load_balancers,
                "TargetGroupARNs": group.target_groups.keys().collect::<Vec<_>>(),
            })
        })
        .collect();
    let (page, next) = page(&all, input.get("NextToken"));
    json!({ "AutoScalingGroups": page, "NextToken": next })
}

fn group<'a>(
    state: &'a mut State,
    place: &Place,
    input: &Value,
) -> Result<(String, &'a mut Group), ServiceError> {
    let name = required(input, "AutoScalingGroupName")?.to_owned();
    match own(state, place).groups.get_mut(&name) {
        Some(group) => Ok((name, group)),
        None => Err(invalid("AutoScalingGroup name not found - null")),
    }
}

/// EnterStandby and DetachInstances: the instance leaves service, and a
/// replacement is launched unless the desired capacity is decremented.
fn leave(state: &mut State, place: &Place, operation: &str, input: &Value) -> Answer {
    let ids = texts(input, "InstanceIds");
    let decrement = flag(input, "ShouldDecrementDesiredCapacity")
        .ok_or_else(|| invalid("ShouldDecrementDesiredCapacity is required"))?;
    let (_, group) = group(state, place, input)?;
    for id in &ids {
        let lifecycle = group.instances.get(id).ok_or_else(|| {
            invalid(format!("The instance {id} is not part of Auto Scaling group"))
        })?;
        let fits =
            lifecycle == "InService" || (operation == "DetachInstances" && lifecycle == "Standby");
        if !fits {
            let message = format!("The instance {id} is in {lifecycle}, not in InService");
            return Err(invalid(message));
        }
    }
    let count = i64::try_from(ids.len()).unwrap_or_default();
    if decrement && group.desired - count < group.min {
        return Err(invalid("AutoScalingGroup's desired capacity would be below its minimum size"));
    }
    if decrement {
        group.desired -= count;
    }
    for id in &ids {
        if operation == "EnterStandby" {
            group.instances.insert(id.clone(), "Standby".to_owned());
        } else {
            group.instances.remove(id);
        }
    }
    let (balancers, targets) = (group.load_balancers.clone(), group.target_groups.clone());
    for id in &ids {
        deregister(state, place, id, &balancers, &targets);
    }
    if !decrement {
        replace(state, place, input, ids.len())?;
    }
    Ok(json!({ "Activities": [] }))
}

/// Launches an instance for each that left service.
fn replace(
    state: &mut State,
    place: &Place,
    input: &Value,
    count: usize,
) -> Result<(), ServiceError> {
    for _ in 0..count {
        let ec2 = state.ec2(&place.account, &place.region);
        let Some(vpc) = ec2.vpcs.keys().next().cloned() else { continue };
        let id = ec2.add_instance(&vpc, &[]);
        let (_, group) = group(state, place, input)?;
        group.instances.insert(id.clone(), "InService".to_owned());
        group.replacements.push(id);
    }
    Ok(())
}

/// ExitStandby and AttachInstances: the desired capacity grows with the group.
fn come_back(state: &mut State, place: &Place, operation: &str, input: &Value) -> Answer {
    let ids = texts(input, "InstanceIds");
    for id in &ids {
        let ec2 = state.ec2(&place.account, &place.region);
        let running = ec2.instances.get(id).is_some_and(|it| it.state == "running");
        if operation == "AttachInstances" && !running {
            return Err(invalid(format!("Invalid Instance ID(s): {id} is not running")));
        }
    }
    let (name, group) = group(state, place, input)?;
    for id in &ids {
        let lifecycle = group.instances.get(id).map(String::as_str);
        let fits = match operation {
            "ExitStandby" => lifecycle == Some("Standby"),
            _ => lifecycle.is_none(),
        };
        if !fits {
            return Err(invalid(format!("The instance {id} is {lifecycle:?} in {name}")));
        }
    }
    let count = i64::try_from(ids.len()).unwrap_or_default();
    if group.desired + count > group.max {
        return Err(invalid(format!(
            "AutoScalingGroup {name} has max-size={}, and cannot grow by {count}",
            group.max
        )));
    }
    group.desired += count;
    for id in &ids {
        group.instances.insert(id.clone(), "InService".to_owned());
    }
    let (balancers, targets) = (group.load_balancers.clone(), group.target_groups.clone());
    let regional = state.regional(&place.account, &place.region);
    for id in &ids {
        for name in &balancers {
            if let Some(balancer) = regional.elb.balancers.get_mut(name) {
                balancer.instances.insert(id.clone());
            }
        }
        for (arn, port) in &targets {
            if let Some(group) = regional.elbv2.target_groups.get_mut(arn) {
                group.targets.insert((id.clone(), *port));
            }
        }
    }
    Ok(json!({ "Activities": [] }))
}

/// A group deregisters what leaves service (EC2 Auto Scaling user guide,
/// "Temporarily remove instances from your Auto Scaling group").
fn deregister(
    state: &mut State,
    place: &Place,
    id: &str,
    balancers: &BTreeSet<String>,
    targets: &BTreeMap<String, i64>,
) {
    let regional = state.regional(&place.account, &place.region);
    for name in balancers {
        if let Some(balancer) = regional.elb.balancers.get_mut(name) {
            balancer.instances.remove(id);
        }
    }
    for arn in targets.keys() {
        if let Some(group) = regional.elbv2.target_groups.get_mut(arn) {
            group.targets.retain(|(target, _)| target != id);
        }
    }
}
