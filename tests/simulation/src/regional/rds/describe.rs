//! How RDS describes DB instances, clusters and subnet groups.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    DbCluster, DbInstance, Modification, Rds, cluster_not_found, identifier, instance_not_found,
    page,
};
use crate::regional::{Answer, Place, required, texts};
use crate::wire::ServiceError;

pub(super) fn tags(tags: &BTreeMap<String, String>) -> Value {
    tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

/// The groups there are and, while they are changed, those that go and come.
fn groups(present: &[String], change: Option<&Modification>) -> Value {
    let wanted = change.map_or(present, |change| change.groups.as_slice());
    let rendered =
        |id: &String, status: &str| json!({ "VpcSecurityGroupId": id, "Status": status });
    let kept = present.iter().map(|id| {
        let status = if wanted.contains(id) { "active" } else { "removing" };
        rendered(id, status)
    });
    let coming = wanted.iter().filter(|id| !present.contains(id)).map(|id| rendered(id, "adding"));
    kept.chain(coming).collect()
}

fn pending(version: Option<&str>) -> Value {
    version.map_or_else(|| json!({}), |version| json!({ "EngineVersion": version }))
}

fn instance(rds: &Rds, place: &Place, id: &str, instance: &DbInstance) -> Value {
    let Place { account, region, now } = place;
    let cluster = instance.cluster.as_ref().and_then(|cluster| rds.clusters.get(cluster));
    let change = match cluster {
        Some(cluster) => cluster.change.as_ref(),
        None => instance.change.as_ref(),
    };
    json!({
        "DBInstanceIdentifier": id,
        "DBInstanceArn": format!("arn:aws:rds:{region}:{account}:db:{id}"),
        "Engine": instance.engine,
        "EngineVersion": instance.version,
        "PendingModifiedValues": pending(instance.pending_version.as_deref()),
        "DBInstanceStatus": rds.instance_status(id, *now),
        "PubliclyAccessible": instance.publicly_accessible,
        "VpcSecurityGroups": groups(&instance.groups, change),
        "DBSubnetGroup": {
            "DBSubnetGroupName": instance.subnet_group,
            "VpcId": rds.subnet_groups.get(&instance.subnet_group),
        },
        "DBClusterIdentifier": instance.cluster,
        "TagList": tags(&instance.tags),
    })
}

fn cluster(rds: &Rds, place: &Place, id: &str, cluster: &DbCluster) -> Value {
    let Place { account, region, now } = place;
    let members: Vec<Value> = rds
        .instances
        .iter()
        .filter(|(_, instance)| instance.cluster.as_deref() == Some(id))
        .enumerate()
        .map(|(at, (id, _))| json!({ "DBInstanceIdentifier": id, "IsClusterWriter": at == 0 }))
        .collect();
    json!({
        "DBClusterIdentifier": id,
        "DBClusterArn": format!("arn:aws:rds:{region}:{account}:cluster:{id}"),
        "Engine": cluster.engine,
        "EngineVersion": cluster.version,
        "PendingModifiedValues": pending(cluster.pending_version.as_deref()),
        "Status": rds.cluster_status(id, *now),
        "VpcSecurityGroups": groups(&cluster.groups, cluster.change.as_ref()),
        "DBSubnetGroup": cluster.subnet_group,
        "HttpEndpointEnabled": cluster.data_api,
        "DBClusterMembers": members,
        "TagList": tags(&cluster.tags),
    })
}

/// DescribeDBInstances.
pub(super) fn instances(rds: &Rds, place: &Place, input: &Value) -> Answer {
    if input.get("DBInstanceIdentifier").is_some() {
        let id = identifier(input, "DBInstanceIdentifier")?;
        let found = rds.instances.get(&id).ok_or_else(|| instance_not_found(&id))?;
        return Ok(json!({ "DBInstances": [instance(rds, place, &id, found)] }));
    }
    let mut clusters: Option<Vec<String>> = None;
    for filter in input.get("Filters").and_then(Value::as_array).into_iter().flatten() {
        match filter.get("Name").and_then(Value::as_str) {
            Some("db-cluster-id") => clusters = Some(texts(filter, "Values")),
            name => {
                let message = format!("Unrecognized filter name: {}", name.unwrap_or_default());
                return Err(ServiceError::new(400, "InvalidParameterValue", message));
            }
        }
    }
    let wanted = |found: &DbInstance| match &clusters {
        Some(clusters) => found.cluster.as_ref().is_some_and(|it| clusters.contains(it)),
        None => true,
    };
    let found = rds.instances.iter().filter(|(_, found)| wanted(found));
    let records = found.map(|(id, found)| instance(rds, place, id, found)).collect();
    page("DBInstances", records, input)
}

/// DescribeDBClusters.
pub(super) fn clusters(rds: &Rds, place: &Place, input: &Value) -> Answer {
    if input.get("DBClusterIdentifier").is_some() {
        let id = identifier(input, "DBClusterIdentifier")?;
        let found = rds.clusters.get(&id).ok_or_else(|| cluster_not_found(&id))?;
        return Ok(json!({ "DBClusters": [cluster(rds, place, &id, found)] }));
    }
    let records = rds.clusters.iter().map(|(id, found)| cluster(rds, place, id, found)).collect();
    page("DBClusters", records, input)
}

/// DescribeDBSubnetGroups.
pub(super) fn subnet_groups(rds: &Rds, input: &Value) -> Answer {
    let rendered =
        |(name, vpc): (&String, &String)| json!({ "DBSubnetGroupName": name, "VpcId": vpc });
    if input.get("DBSubnetGroupName").is_some() {
        let name = identifier(input, "DBSubnetGroupName")?;
        let found = rds.subnet_groups.get_key_value(&name).ok_or_else(|| {
            let message = format!("DB subnet group '{name}' does not exist.");
            ServiceError::new(404, "DBSubnetGroupNotFoundFault", message)
        })?;
        return Ok(json!({ "DBSubnetGroups": [rendered(found)] }));
    }
    page("DBSubnetGroups", rds.subnet_groups.iter().map(rendered).collect(), input)
}

/// DescribeDBProxies.
pub(super) fn proxies(rds: &Rds, input: &Value) -> Answer {
    let proxies = rds.proxies.keys().map(|name| json!({ "DBProxyName": name })).collect();
    page("DBProxies", proxies, input)
}

/// DescribeDBProxyTargets: a cluster is a target of its own, beside its members.
pub(super) fn proxy_targets(rds: &Rds, input: &Value) -> Answer {
    let name = required(input, "DBProxyName")?;
    let of = rds.proxies.get(name).ok_or_else(|| {
        let message = format!("DB proxy {name} not found");
        ServiceError::new(404, "DBProxyNotFoundFault", message)
    })?;
    let targets = if rds.clusters.contains_key(of) {
        let members = rds.instances.iter().filter(|(_, it)| it.cluster.as_ref() == Some(of));
        let members = members.map(|(id, _)| {
            json!({ "RdsResourceId": id, "TrackedClusterId": of, "Type": "RDS_INSTANCE" })
        });
        let cluster = json!({ "RdsResourceId": of, "Type": "TRACKED_CLUSTER" });
        std::iter::once(cluster).chain(members).collect()
    } else {
        vec![json!({ "RdsResourceId": of, "Type": "RDS_INSTANCE" })]
    };
    page("Targets", targets, input)
}
