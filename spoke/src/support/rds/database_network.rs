//! What `quarantine-db` changes of a database: the security groups of the DB cluster or
//! instance, and the public access of each instance.

use aws_sdk_rds::types::{ClusterPendingModifiedValues, DbCluster, DbInstance};
use serde::{Deserialize, Serialize};

use crate::contract::ActionContext;
use crate::support::rds::database::{self, Found, InstanceOrCluster};
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

/// A DB instance whose public access can be changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) instance: String,
    pub(crate) public: bool,
    pub(crate) status: String,
}

/// A database as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Database {
    pub(crate) holder: InstanceOrCluster,
    /// The security groups, in the order in which RDS returned them, without those that are
    /// being removed.
    pub(crate) groups: Vec<String>,
    pub(crate) subnet_group: String,
    pub(crate) status: String,
    /// Whether groups are still being added or removed.
    pub(crate) changing: bool,
    /// Whether changes of the cluster wait for the maintenance window.
    #[serde(default)]
    pub(crate) has_pending_changes: bool,
    pub(crate) members: Vec<Member>,
}

impl Database {
    pub(crate) fn refuse_stopped(&self) -> Result<(), ActionError> {
        database::refuse_stopped(&self.holder.to_string(), &self.status)
    }
}

/// The database that the finding names; for an instance in a cluster the whole cluster.
pub(crate) async fn of_target(context: ActionContext<'_>) -> Result<Database, ActionError> {
    match database::of_target(context).await? {
        Found::Instance(id, instance) => Ok(alone(&id, &instance)),
        Found::Cluster(id) => of_cluster(context, &id).await,
    }
}

/// The recorded database as it is now.
pub(crate) async fn of_holder(
    context: ActionContext<'_>,
    holder: &InstanceOrCluster,
) -> Result<Database, ActionError> {
    match holder {
        InstanceOrCluster::Instance(id) => {
            Ok(alone(id, &database::instance(context.account, id).await?))
        }
        InstanceOrCluster::Cluster(id) => of_cluster(context, id).await,
    }
}

fn alone(id: &str, instance: &DbInstance) -> Database {
    let groups = instance.vpc_security_groups();
    let subnet_group = instance.db_subnet_group().and_then(|group| group.db_subnet_group_name());
    Database {
        holder: InstanceOrCluster::Instance(id.to_owned()),
        groups: database::groups(groups),
        subnet_group: subnet_group.unwrap_or_default().to_owned(),
        status: instance.db_instance_status().unwrap_or_default().to_owned(),
        changing: database::groups_change(groups),
        has_pending_changes: false,
        members: member(instance).into_iter().collect(),
    }
}

async fn of_cluster(context: ActionContext<'_>, id: &str) -> Result<Database, ActionError> {
    let cluster: DbCluster = database::cluster(context.account, id).await?;
    // RDS modifies Aurora's instances one by one, a Multi-AZ DB cluster's never.
    let members = if cluster.engine().is_some_and(|engine| engine.starts_with("aurora")) {
        database::members(context.account, id).await?.iter().filter_map(member).collect()
    } else {
        Vec::new()
    };
    let groups = cluster.vpc_security_groups();
    Ok(Database {
        holder: InstanceOrCluster::Cluster(id.to_owned()),
        groups: database::groups(groups),
        subnet_group: cluster.db_subnet_group().unwrap_or_default().to_owned(),
        status: cluster.status().unwrap_or_default().to_owned(),
        changing: database::groups_change(groups),
        has_pending_changes: cluster
            .pending_modified_values()
            .is_some_and(|pending| *pending != ClusterPendingModifiedValues::builder().build()),
        members,
    })
}

fn member(instance: &DbInstance) -> Option<Member> {
    Some(Member {
        instance: instance.db_instance_identifier()?.to_owned(),
        public: instance.publicly_accessible().unwrap_or(false),
        status: instance.db_instance_status().unwrap_or_default().to_owned(),
    })
}

/// The VPC of a database: that of its DB subnet group.
pub(crate) async fn vpc(
    context: ActionContext<'_>,
    database: &Database,
) -> Result<String, ActionError> {
    let rds = context.account.rds().await;
    let call = rds.describe_db_subnet_groups().db_subnet_group_name(&database.subnet_group);
    let output =
        call.send().await.map_err(|error| from_sdk("rds:DescribeDBSubnetGroups", &error))?;
    let vpc = output.db_subnet_groups().first().and_then(|group| group.vpc_id());
    vpc.map(str::to_owned).ok_or_else(|| {
        let message = format!("{} is in no VPC, so no security group fits it", database.holder);
        ActionError::new(ErrorKind::Refused, message)
    })
}

/// Changes groups and public access at once. Without ApplyImmediately, which would also set off
/// the changes that wait for the maintenance window: groups are changed "as soon as possible"
/// and public access "immediately regardless" of it (RDS API reference, ModifyDBInstance).
pub(crate) async fn modify_instance(
    context: ActionContext<'_>,
    id: &str,
    groups: Option<Vec<String>>,
    public: Option<bool>,
) -> Result<(), ActionError> {
    let rds = context.account.rds().await;
    let call = rds
        .modify_db_instance()
        .db_instance_identifier(id)
        .set_vpc_security_group_ids(groups)
        .set_publicly_accessible(public);
    let result = call.send().await;
    result.map(|_| ()).map_err(|error| from_sdk("rds:ModifyDBInstance", &error))
}

/// Changes a cluster's groups. The RDS API reference does not say whether they need
/// ApplyImmediately, which also sets off the changes that wait for the maintenance window: it
/// is used where none wait. Otherwise verification shows whether the groups were changed.
pub(crate) async fn modify_cluster(
    context: ActionContext<'_>,
    id: &str,
    groups: Vec<String>,
    has_pending_changes: bool,
) -> Result<(), ActionError> {
    let rds = context.account.rds().await;
    let call = rds
        .modify_db_cluster()
        .db_cluster_identifier(id)
        .set_vpc_security_group_ids(Some(groups))
        .apply_immediately(!has_pending_changes);
    let result = call.send().await;
    result.map(|_| ()).map_err(|error| from_sdk("rds:ModifyDBCluster", &error))
}
