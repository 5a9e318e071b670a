//! RDS's DB instances and clusters as RDS describes them now.

use aws_sdk_rds::types::{DbCluster, DbInstance, Filter, VpcSecurityGroupMembership};

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::account::AccountSession;
use crate::contract::ActionContext;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::ResourceKind;

/// The owner of settings and snapshots: an instance in a cluster has none of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum InstanceOrCluster {
    Instance(String),
    Cluster(String),
}

impl fmt::Display for InstanceOrCluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(id) => write!(formatter, "the DB instance `{id}`"),
            Self::Cluster(id) => write!(formatter, "the DB cluster `{id}`"),
        }
    }
}

impl InstanceOrCluster {
    pub(crate) fn arn(&self, context: ActionContext<'_>) -> String {
        let (partition, account) = (&context.account.partition, &context.account.id);
        let region = &context.account.region;
        match self {
            Self::Instance(id) => format!("arn:{partition}:rds:{region}:{account}:db:{id}"),
            Self::Cluster(id) => format!("arn:{partition}:rds:{region}:{account}:cluster:{id}"),
        }
    }
}

/// The database of a target.
pub(crate) enum Found {
    /// A DB instance in no cluster, as RDS describes it.
    Instance(String, Box<DbInstance>),
    /// The cluster, or that of the instance.
    Cluster(String),
}

/// The database that the target names; of an instance in a cluster the cluster.
pub(crate) async fn of_target(context: ActionContext<'_>) -> Result<Found, ActionError> {
    if let ResourceKind::DbCluster { identifier } = &context.resource.kind {
        return Ok(Found::Cluster(identifier.clone()));
    }
    let ResourceKind::DbInstance { identifier } = &context.resource.kind else {
        let why = "the target is not an RDS database";
        return Err(ActionError::new(ErrorKind::NotApplicable, why));
    };
    let found = instance(context.account, identifier).await?;
    Ok(match found.db_cluster_identifier().filter(|cluster| !cluster.is_empty()) {
        Some(cluster) => Found::Cluster(cluster.to_owned()),
        None => Found::Instance(identifier.clone(), Box::new(found)),
    })
}

/// Describes a DB instance. `Gone` when it does not exist or is being deleted.
pub(crate) async fn instance(
    account: &AccountSession,
    identifier: &str,
) -> Result<DbInstance, ActionError> {
    let rds = account.rds().await;
    let output = rds.describe_db_instances().db_instance_identifier(identifier).send().await;
    let found = output
        .map_err(|error| from_sdk("rds:DescribeDBInstances", &error))?
        .db_instances
        .unwrap_or_default()
        .into_iter()
        .next();
    let what = format!("the DB instance `{identifier}`");
    let found = found.ok_or_else(|| missing(&what))?;
    if found.db_instance_status() == Some("deleting") { Err(missing(&what)) } else { Ok(found) }
}

/// Describes a DB cluster. `Gone` when it does not exist or is being deleted.
pub(crate) async fn cluster(
    account: &AccountSession,
    identifier: &str,
) -> Result<DbCluster, ActionError> {
    let rds = account.rds().await;
    let output = rds.describe_db_clusters().db_cluster_identifier(identifier).send().await;
    let found = output
        .map_err(|error| from_sdk("rds:DescribeDBClusters", &error))?
        .db_clusters
        .unwrap_or_default()
        .into_iter()
        .next();
    let what = format!("the DB cluster `{identifier}`");
    let found = found.ok_or_else(|| missing(&what))?;
    if found.status() == Some("deleting") { Err(missing(&what)) } else { Ok(found) }
}

fn missing(what: &str) -> ActionError {
    ActionError::new(ErrorKind::Gone, format!("{what} does not exist or is being deleted"))
}

/// The DB instances in a cluster.
pub(crate) async fn members(
    account: &AccountSession,
    cluster: &str,
) -> Result<Vec<DbInstance>, ActionError> {
    let filter = Filter::builder().name("db-cluster-id").values(cluster).build();
    let mut members = Vec::new();
    let mut marker = None;
    loop {
        let rds = account.rds().await;
        let call = rds.describe_db_instances().filters(filter.clone()).set_marker(marker);
        let page =
            call.send().await.map_err(|error| from_sdk("rds:DescribeDBInstances", &error))?;
        members.extend(page.db_instances().iter().cloned());
        marker = page.marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
        if marker.is_none() {
            return Ok(members);
        }
    }
}

/// The groups after a change in progress, if there is one: RDS lists added and removed
/// groups together.
pub(crate) fn groups(memberships: &[VpcSecurityGroupMembership]) -> Vec<String> {
    memberships
        .iter()
        .filter(|membership| membership.status() != Some("removing"))
        .filter_map(|membership| membership.vpc_security_group_id().map(str::to_owned))
        .collect()
}

/// Whether groups are being added or removed.
pub(crate) fn groups_change(memberships: &[VpcSecurityGroupMembership]) -> bool {
    let passing = ["adding", "removing"];
    memberships.iter().any(|it| it.status().is_some_and(|status| passing.contains(&status)))
}

/// Refuses what is stopped: RDS neither modifies it nor takes a snapshot of it,
/// and nobody can connect to it (RDS user guide, "Stopping an Amazon RDS DB
/// instance temporarily").
pub(crate) fn refuse_stopped(what: &str, status: &str) -> Result<(), ActionError> {
    if !["stopped", "stopping"].contains(&status) {
        return Ok(());
    }
    let message = format!(
        "{what} is {status}: RDS does nothing with it in this state, and it is unreachable"
    );
    let help = "RDS starts it by itself after seven days: start it while isolated and handle the finding again, or delete it";
    Err(ActionError {
        help: Some(help.to_owned()),
        ..ActionError::new(ErrorKind::Refused, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(id: &str, status: &str) -> VpcSecurityGroupMembership {
        VpcSecurityGroupMembership::builder().vpc_security_group_id(id).status(status).build()
    }

    #[test]
    fn groups_being_removed_are_not_counted_and_groups_being_added_are() {
        let moving = [membership("sg-1", "removing"), membership("sg-2", "adding")];
        assert_eq!(groups(&moving), ["sg-2"]);
        assert!(groups_change(&moving));
        let settled = [membership("sg-1", "active"), membership("sg-2", "active")];
        assert_eq!(groups(&settled), ["sg-1", "sg-2"]);
        assert!(!groups_change(&settled));
    }

    #[test]
    fn only_what_is_stopped_is_refused() {
        let check = |status: &str, refused: bool| {
            assert_eq!(refuse_stopped("`orders`", status).is_err(), refused, "{status}");
        };
        check("stopped", true);
        check("stopping", true);
        check("available", false);
        check("modifying", false);
    }
}
