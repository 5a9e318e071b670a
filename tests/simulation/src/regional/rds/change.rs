//! How RDS changes DB instances and clusters: asynchronously. Groups and public
//! accessibility change as soon as possible, whatever ApplyImmediately says
//! (RDS API reference, ModifyDBInstance).

use serde_json::{Value, json};

use super::{Modification, Rds, cluster_not_found, identifier, instance_not_found};
use crate::regional::{Answer, Place, flag, texts};
use crate::state::State;
use crate::wire::ServiceError;

/// Ends the modifications whose time has come.
pub(super) fn settle(state: &mut State, place: &Place) {
    let Place { account, region, now } = place;
    let rds = &mut state.regional(account, region).rds;
    let mut moved: Vec<(String, Vec<String>)> = Vec::new();
    let ended = |change: &mut Option<Modification>| change.take_if(|change| change.ends <= *now);
    for instance in rds.instances.values_mut() {
        if let Some(change) = ended(&mut instance.change) {
            instance.publicly_accessible = change.publicly_accessible;
            if instance.cluster.is_none() {
                instance.groups.clone_from(&change.groups);
                moved.push((instance.interface.clone(), change.groups));
            }
        }
    }
    for (id, cluster) in &mut rds.clusters {
        if let Some(change) = ended(&mut cluster.change) {
            cluster.groups.clone_from(&change.groups);
            for instance in rds.instances.values_mut() {
                if instance.cluster.as_ref() == Some(id) {
                    instance.groups.clone_from(&change.groups);
                    moved.push((instance.interface.clone(), change.groups.clone()));
                }
            }
        }
    }
    if moved.is_empty() {
        return;
    }
    let ec2 = state.ec2(account, region);
    for (interface, groups) in moved {
        if let Some(interface) = ec2.interfaces.get_mut(&interface) {
            interface.groups = groups;
        }
    }
}

/// With ApplyImmediately "the modifications in this request and any pending modifications are
/// asynchronously applied as soon as possible" (RDS API reference, ModifyDBInstance and
/// ModifyDBCluster).
fn apply_pending(version: &mut String, pending: &mut Option<String>, input: &Value) {
    if flag(input, "ApplyImmediately") == Some(true)
        && let Some(next) = pending.take()
    {
        *version = next;
    }
}

fn invalid(code: &str, message: impl Into<String>) -> ServiceError {
    ServiceError::new(400, code, message)
}

/// The groups of the input, if it has any: all have to exist in the VPC.
fn wanted_groups(
    state: &mut State,
    place: &Place,
    subnet_group: &str,
    input: &Value,
) -> Result<Option<Vec<String>>, ServiceError> {
    let wanted = texts(input, "VpcSecurityGroupIds");
    if wanted.is_empty() {
        return Ok(None);
    }
    let rds = &state.regional(&place.account, &place.region).rds;
    let vpc = rds.subnet_groups.get(subnet_group).cloned().unwrap_or_default();
    let ec2 = state.ec2(&place.account, &place.region);
    for id in &wanted {
        let Some(group) = ec2.groups.get(id) else {
            let message = format!("Invalid security group , groupId= {id}, groupName=.");
            return Err(invalid("InvalidParameterValue", message));
        };
        if group.vpc != vpc {
            let message =
                format!("The DB instance and EC2 security group are in different VPCs: {id}");
            return Err(invalid("InvalidVPCNetworkStateFault", message));
        }
    }
    Ok(Some(wanted))
}

fn held<'a>(state: &'a mut State, place: &Place) -> &'a mut Rds {
    &mut state.regional(&place.account, &place.region).rds
}

/// ModifyDBInstance.
pub(super) fn modify_instance(state: &mut State, place: &Place, input: &Value) -> Answer {
    let id = identifier(input, "DBInstanceIdentifier")?;
    let rds = held(state, place);
    let found = rds.instances.get(&id).ok_or_else(|| instance_not_found(&id))?.clone();
    if !input["VpcSecurityGroupIds"].is_null() && found.cluster.is_some() {
        return Err(invalid(
            "InvalidParameterCombination",
            "The specified DB Instance is a member of a cluster. Modify vpc security group for the DB Cluster using the ModifyDbCluster API",
        ));
    }
    if found.cluster.is_some() && !found.engine.starts_with("aurora") {
        return Err(invalid(
            "InvalidParameterCombination",
            "The specified DB Instance is a member of a Multi-AZ DB cluster and cannot be modified",
        ));
    }
    let status = rds.instance_status(&id, place.now);
    if status != "available" {
        return Err(invalid(
            "InvalidDBInstanceState",
            format!("Database instance is not in available state: {status}"),
        ));
    }
    let groups = wanted_groups(state, place, &found.subnet_group, input)?;
    let rds = held(state, place);
    let ends = place.now + rds.takes;
    if let Some(instance) = rds.instances.get_mut(&id) {
        apply_pending(&mut instance.version, &mut instance.pending_version, input);
        instance.change = Some(Modification {
            groups: groups.unwrap_or(found.groups),
            publicly_accessible: flag(input, "PubliclyAccessible")
                .unwrap_or(found.publicly_accessible),
            ends,
        });
    }
    Ok(json!({ "DBInstance": { "DBInstanceIdentifier": id } }))
}

/// ModifyDBCluster.
pub(super) fn modify_cluster(state: &mut State, place: &Place, input: &Value) -> Answer {
    let id = identifier(input, "DBClusterIdentifier")?;
    let rds = held(state, place);
    let found = rds.clusters.get(&id).ok_or_else(|| cluster_not_found(&id))?.clone();
    let status = rds.cluster_status(&id, place.now);
    if status != "available" {
        return Err(invalid(
            "InvalidDBClusterStateFault",
            format!("DB cluster {id} is not in available state: {status}"),
        ));
    }
    let groups = wanted_groups(state, place, &found.subnet_group, input)?;
    let rds = held(state, place);
    let ends = place.now + rds.takes;
    if let Some(cluster) = rds.clusters.get_mut(&id) {
        apply_pending(&mut cluster.version, &mut cluster.pending_version, input);
        let groups = groups.unwrap_or(found.groups);
        cluster.change = Some(Modification { groups, publicly_accessible: false, ends });
    }
    Ok(json!({ "DBCluster": { "DBClusterIdentifier": id } }))
}
