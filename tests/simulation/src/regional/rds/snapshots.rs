//! Snapshots of DB instances and clusters.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::describe::tags;
use super::{Rds, cluster_not_found, identifier, instance_not_found, page};
use crate::regional::{Answer, Place};
use crate::wire::ServiceError;

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// The DB instance or cluster that it is of.
    pub source: String,
    /// `manual` or `automated`.
    pub kind: String,
    /// From when on it is `available`; until then it is `creating`.
    pub ready: Timestamp,
    /// Whether it came to nothing.
    pub failed: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl Snapshot {
    fn status(&self, now: Timestamp) -> &'static str {
        match (self.failed, self.ready > now) {
            (true, _) => "failed",
            (false, true) => "creating",
            (false, false) => "available",
        }
    }
}

fn invalid(code: &str, message: impl Into<String>) -> ServiceError {
    ServiceError::new(400, code, message)
}

/// A new snapshot's identifier, whose form the API reference prescribes.
fn new_identifier(input: &Value, name: &str, longest: usize) -> Result<String, ServiceError> {
    let id = identifier(input, name)?;
    let word = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let begins = id.starts_with(|first: char| first.is_ascii_alphabetic());
    if word && begins && !id.ends_with('-') && !id.contains("--") && id.len() <= longest {
        return Ok(id);
    }
    let message = format!("The parameter {name} is not a valid identifier: {id}");
    Err(invalid("InvalidParameterValue", message))
}

fn new_snapshot(source: String, ready: Timestamp, input: &Value) -> Snapshot {
    let text = |tag: &Value, name: &str| tag.get(name).and_then(Value::as_str).map(str::to_owned);
    let given = input.get("Tags").and_then(Value::as_array).into_iter().flatten();
    let tags = given
        .filter_map(|tag| Some((text(tag, "Key")?, text(tag, "Value").unwrap_or_default())))
        .collect();
    Snapshot { source, kind: "manual".to_owned(), ready, failed: false, tags }
}

/// CreateDBSnapshot.
pub(super) fn create_of_instance(rds: &mut Rds, place: &Place, input: &Value) -> Answer {
    let source = identifier(input, "DBInstanceIdentifier")?;
    let id = new_identifier(input, "DBSnapshotIdentifier", 255)?;
    let found = rds.instances.get(&source).ok_or_else(|| instance_not_found(&source))?;
    if found.cluster.is_some() {
        return Err(invalid(
            "InvalidParameterValue",
            "The specified instance is a member of a cluster and a snapshot cannot be created directly. Please use the CreateDBClusterSnapshot API instead.",
        ));
    }
    if rds.snapshots.contains_key(&id) {
        let message = format!("Cannot create the snapshot because one named {id} already exists.");
        return Err(invalid("DBSnapshotAlreadyExists", message));
    }
    let status = rds.instance_status(&source, place.now);
    if !["available", "storage-optimization"].contains(&status.as_str()) {
        let message = format!(
            "Cannot create a snapshot because the database instance {source} is not currently in the available state: {status}"
        );
        return Err(invalid("InvalidDBInstanceState", message));
    }
    let snapshot = new_snapshot(source, place.now + rds.takes, input);
    rds.snapshots.insert(id.clone(), snapshot);
    Ok(json!({ "DBSnapshot": { "DBSnapshotIdentifier": id, "Status": "creating" } }))
}

/// CreateDBClusterSnapshot.
pub(super) fn create_of_cluster(rds: &mut Rds, place: &Place, input: &Value) -> Answer {
    let source = identifier(input, "DBClusterIdentifier")?;
    let id = new_identifier(input, "DBClusterSnapshotIdentifier", 63)?;
    if !rds.clusters.contains_key(&source) {
        return Err(cluster_not_found(&source));
    }
    if rds.cluster_snapshots.contains_key(&id) {
        let message = format!("Cannot create the snapshot because one named {id} already exists.");
        return Err(invalid("DBClusterSnapshotAlreadyExistsFault", message));
    }
    let status = rds.cluster_status(&source, place.now);
    if status != "available" {
        let message = format!("The DB cluster {source} is not in the available state: {status}");
        return Err(invalid("InvalidDBClusterStateFault", message));
    }
    let snapshot = new_snapshot(source, place.now + rds.takes, input);
    rds.cluster_snapshots.insert(id.clone(), snapshot);
    Ok(json!({ "DBClusterSnapshot": { "DBClusterSnapshotIdentifier": id, "Status": "creating" } }))
}

/// What the two Describe calls differ in.
struct Names {
    list: &'static str,
    snapshot: &'static str,
    source: &'static str,
    missing: &'static str,
}

/// DescribeDBSnapshots.
pub(super) fn of_instances(rds: &Rds, place: &Place, input: &Value) -> Answer {
    let names = Names {
        list: "DBSnapshots",
        snapshot: "DBSnapshotIdentifier",
        source: "DBInstanceIdentifier",
        missing: "DBSnapshotNotFound",
    };
    describe(&rds.snapshots, &names, place, input)
}

/// DescribeDBClusterSnapshots.
pub(super) fn of_clusters(rds: &Rds, place: &Place, input: &Value) -> Answer {
    let names = Names {
        list: "DBClusterSnapshots",
        snapshot: "DBClusterSnapshotIdentifier",
        source: "DBClusterIdentifier",
        missing: "DBClusterSnapshotNotFoundFault",
    };
    describe(&rds.cluster_snapshots, &names, place, input)
}

fn describe(
    snapshots: &BTreeMap<String, Snapshot>,
    names: &Names,
    place: &Place,
    input: &Value,
) -> Answer {
    let text = |name: &str| input.get(name).and_then(Value::as_str).map(str::to_lowercase);
    let (id, source, kind) = (text(names.snapshot), text(names.source), text("SnapshotType"));
    if let Some(id) = &id
        && !snapshots.contains_key(id)
    {
        return Err(ServiceError::new(404, names.missing, format!("{id} not found.")));
    }
    let records = snapshots
        .iter()
        .filter(|(it, _)| id.as_ref().is_none_or(|id| id == *it))
        .filter(|(_, it)| source.as_ref().is_none_or(|source| *source == it.source))
        .filter(|(_, it)| kind.as_ref().is_none_or(|kind| *kind == it.kind))
        .map(|(id, snapshot)| {
            json!({
                names.snapshot: id,
                names.source: snapshot.source,
                "SnapshotType": snapshot.kind,
                "Status": snapshot.status(place.now),
                "TagList": tags(&snapshot.tags),
            })
        })
        .collect();
    page(names.list, records, input)
}
