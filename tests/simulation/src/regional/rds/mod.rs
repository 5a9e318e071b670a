//! RDS's calls, as its API reference has them.

mod change;
mod describe;
mod snapshots;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Place, number, required};
use crate::ec2::model::NetworkInterface;
use crate::state::State;
use crate::wire::ServiceError;

pub use self::snapshots::Snapshot;

/// What one account holds in one Region.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rds {
    /// DB instances by identifier.
    pub instances: BTreeMap<String, DbInstance>,
    /// DB clusters by identifier.
    pub clusters: BTreeMap<String, DbCluster>,
    /// The DB instance or cluster behind each RDS proxy, by the proxy's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub proxies: BTreeMap<String, String>,
    /// The VPC of each DB subnet group.
    pub subnet_groups: BTreeMap<String, String>,
    /// Snapshots of DB instances, by identifier.
    pub snapshots: BTreeMap<String, Snapshot>,
    /// Snapshots of DB clusters, by identifier.
    pub cluster_snapshots: BTreeMap<String, Snapshot>,
    /// How long a modification or a snapshot takes. With nothing it has ended
    /// when the call is answered.
    #[serde(skip)]
    pub takes: SignedDuration,
}

/// A DB instance. One in a cluster has the cluster's groups.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DbInstance {
    /// `postgres`, `aurora-mysql` and so on.
    pub engine: String,
    /// `available`, `stopped` and so on, when nothing is under way.
    pub status: String,
    /// Its VPC security groups, in order.
    pub groups: Vec<String>,
    /// Whether its name resolves to a public address outside its VPC.
    pub publicly_accessible: bool,
    /// Its DB subnet group.
    pub subnet_group: String,
    /// The DB cluster that it is a member of.
    pub cluster: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its network interface, which RDS made.
    pub interface: String,
    /// The modification that is under way.
    pub change: Option<Modification>,
    /// The version of its engine.
    pub version: String,
    /// The version that waits for the maintenance window (PendingModifiedValues).
    pub pending_version: Option<String>,
}

/// A DB cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DbCluster {
    /// Whether the RDS Data API may be used (HttpEndpointEnabled).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub data_api: bool,
    /// `aurora-mysql`; without `aurora` it is a Multi-AZ DB cluster.
    pub engine: String,
    /// `available`, `stopped` and so on, when nothing is under way.
    pub status: String,
    /// Its VPC security groups, in order.
    pub groups: Vec<String>,
    /// Its DB subnet group.
    pub subnet_group: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The modification that is under way.
    pub change: Option<Modification>,
    /// The version of its engine.
    pub version: String,
    /// The version that waits for the maintenance window (PendingModifiedValues).
    pub pending_version: Option<String>,
}

/// A modification that is under way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Modification {
    /// The groups that it ends with.
    pub groups: Vec<String>,
    /// The public accessibility that it ends with.
    pub publicly_accessible: bool,
    /// When it ends.
    pub ends: Timestamp,
}

/// Puts a DB instance into a Region as RDS makes it: with a network interface,
/// and in a cluster with the cluster's groups.
pub fn add_instance(
    state: &mut State,
    account: &str,
    region: &str,
    id: &str,
    mut instance: DbInstance,
) {
    let rds = &mut state.regional(account, region).rds;
    let cluster = instance.cluster.as_ref().and_then(|cluster| rds.clusters.get(cluster));
    if let Some(cluster) = cluster {
        instance.groups.clone_from(&cluster.groups);
        instance.engine.clone_from(&cluster.engine);
        instance.subnet_group.clone_from(&cluster.subnet_group);
    }
    let vpc = rds.subnet_groups.get(&instance.subnet_group).cloned().unwrap_or_default();
    let ec2 = state.ec2(account, region);
    let interface = ec2.new_id("eni");
    let made = NetworkInterface {
        vpc,
        groups: instance.groups.clone(),
        requester_managed: true,
        ..NetworkInterface::default()
    };
    ec2.interfaces.insert(interface.clone(), made);
    instance.interface = interface;
    state.regional(account, region).rds.instances.insert(id.to_owned(), instance);
}

/// Deletes a DB instance and its network interface.
pub fn remove_instance(state: &mut State, account: &str, region: &str, id: &str) {
    let removed = state.regional(account, region).rds.instances.remove(id);
    if let Some(instance) = removed {
        state.ec2(account, region).interfaces.remove(&instance.interface);
    }
}

/// Answers a call; `None` for one that is not modelled.
pub fn answer(state: &mut State, place: &Place, operation: &str, input: &Value) -> Option<Answer> {
    change::settle(state, place);
    let answer = match operation {
        "ModifyDBInstance" => change::modify_instance(state, place, input),
        "ModifyDBCluster" => change::modify_cluster(state, place, input),
        _ => {
            let rds = &mut state.regional(&place.account, &place.region).rds;
            match operation {
                "DescribeDBInstances" => describe::instances(rds, place, input),
                "DescribeDBClusters" => describe::clusters(rds, place, input),
                "DescribeDBSubnetGroups" => describe::subnet_groups(rds, input),
                "DescribeDBProxies" => describe::proxies(rds, input),
                "DescribeDBProxyTargets" => describe::proxy_targets(rds, input),
                "CreateDBSnapshot" => snapshots::create_of_instance(rds, place, input),
                "CreateDBClusterSnapshot" => snapshots::create_of_cluster(rds, place, input),
                "DescribeDBSnapshots" => snapshots::of_instances(rds, place, input),
                "DescribeDBClusterSnapshots" => snapshots::of_clusters(rds, place, input),
                _ => return None,
            }
        }
    };
    change::settle(state, place);
    Some(answer)
}

/// What RDS calls the elements of a list.
pub fn member(list: &str) -> &'static str {
    match list {
        "DBInstances" => "DBInstance",
        "DBClusters" => "DBCluster",
        "DBClusterMembers" => "DBClusterMember",
        "DBSubnetGroups" => "DBSubnetGroup",
        "DBSnapshots" => "DBSnapshot",
        "DBClusterSnapshots" => "DBClusterSnapshot",
        "VpcSecurityGroups" => "VpcSecurityGroupMembership",
        "TagList" => "Tag",
        _ => "member",
    }
}

impl Rds {
    /// A DB instance's status as RDS tells it.
    pub fn instance_status(&self, id: &str, now: Timestamp) -> String {
        let Some(instance) = self.instances.get(id) else { return String::new() };
        let saved = self.snapshots.values().any(|it| it.source == id && it.ready > now);
        match &instance.change {
            Some(_) => "modifying".to_owned(),
            None if saved => "backing-up".to_owned(),
            None => instance.status.clone(),
        }
    }

    /// A DB cluster's status as RDS tells it.
    pub fn cluster_status(&self, id: &str, now: Timestamp) -> String {
        let Some(cluster) = self.clusters.get(id) else { return String::new() };
        let saved = self.cluster_snapshots.values().any(|it| it.source == id && it.ready > now);
        match &cluster.change {
            Some(_) => "modifying".to_owned(),
            None if saved => "backing-up".to_owned(),
            None => cluster.status.clone(),
        }
    }
}

fn instance_not_found(id: &str) -> ServiceError {
    ServiceError::new(404, "DBInstanceNotFound", format!("DBInstance {id} not found."))
}

fn cluster_not_found(id: &str) -> ServiceError {
    ServiceError::new(404, "DBClusterNotFoundFault", format!("DBCluster {id} not found."))
}

/// An identifier of the input. RDS stores them in lower case and compares them
/// without regard to it.
fn identifier(input: &Value, name: &str) -> Result<String, ServiceError> {
    required(input, name).map(str::to_lowercase)
}

/// One page of a list: 20 to 100 records, 100 unless told.
fn page(list: &str, records: Vec<Value>, input: &Value) -> Answer {
    let size = number(input, "MaxRecords").unwrap_or(100);
    if !(20..=100).contains(&size) {
        let message = format!("Invalid value {size} for MaxRecords. Must be between 20 and 100");
        return Err(ServiceError::new(400, "InvalidParameterValue", message));
    }
    let (size, all) = (usize::try_from(size).unwrap_or(100), records.len());
    let start = usize::try_from(number(input, "Marker").unwrap_or(0)).unwrap_or(0);
    let shown: Vec<Value> = records.into_iter().skip(start).take(size).collect();
    let next = start + shown.len();
    let marker = (next < all).then(|| next.to_string());
    Ok(json!({ "Marker": marker, list: shown }))
}
