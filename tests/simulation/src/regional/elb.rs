//! Classic Load Balancers, as the Elastic Load Balancing API reference
//! (2012-06-01) has them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Place, page, required};
use crate::state::State;
use crate::wire::ServiceError;

/// What one account holds in one Region.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Elb {
    /// Load balancers by name.
    pub balancers: BTreeMap<String, Balancer>,
}

/// A Classic Load Balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Balancer {
    /// Its VPC.
    pub vpc: String,
    /// The instances registered with it.
    pub instances: BTreeSet<String>,
}

/// Answers a call; `None` for one that is not modelled.
pub fn answer(state: &mut State, place: &Place, operation: &str, input: &Value) -> Option<Answer> {
    let held = &mut state.regional(&place.account, &place.region).elb;
    Some(match operation {
        "DescribeLoadBalancers" => Ok(describe(held, input)),
        "DeregisterInstancesFromLoadBalancer" => register(held, input, |instances, id| {
            instances.remove(id);
        }),
        "RegisterInstancesWithLoadBalancer" => register(held, input, |instances, id| {
            instances.insert(id.to_owned());
        }),
        _ => return None,
    })
}

fn listed(balancer: &Balancer) -> Vec<Value> {
    balancer.instances.iter().map(|id| json!({ "InstanceId": id })).collect()
}

fn describe(held: &Elb, input: &Value) -> Value {
    let all: Vec<Value> = held
        .balancers
        .iter()
        .map(|(name, balancer)| {
            json!({
                "LoadBalancerName": name, "VPCId": balancer.vpc, "Instances": listed(balancer),
            })
        })
        .collect();
    let (page, next) = page(&all, input.get("Marker"));
    json!({ "LoadBalancerDescriptions": page, "NextMarker": next })
}

/// Registering what is registered, and deregistering what is not, succeed.
fn register(held: &mut Elb, input: &Value, change: fn(&mut BTreeSet<String>, &str)) -> Answer {
    let name = required(input, "LoadBalancerName")?;
    let balancer = held.balancers.get_mut(name).ok_or_else(|| {
        let message = format!("There is no ACTIVE Load Balancer named '{name}'");
        ServiceError::new(400, "LoadBalancerNotFound", message)
    })?;
    for instance in input.get("Instances").and_then(Value::as_array).into_iter().flatten() {
        change(&mut balancer.instances, required(instance, "InstanceId")?);
    }
    Ok(json!({ "Instances": listed(balancer) }))
}
