//! Isolates an RDS database: its only VPC security group becomes one without rules,
//! and it is not publicly accessible any more. Undo restores groups and flag exactly,
//! unless they were changed since.
//!
//! A DB instance in a cluster has its groups from the cluster (RDS API
//! reference, ModifyDBInstance: "managed by the DB cluster"), so the whole
//! cluster is isolated, and each of its instances is made private. Instances of a
//! Multi-AZ DB cluster cannot be modified one by one: there the groups alone isolate
//! it, and public addresses stay but cannot be reached.
//!
//! Changes that wait for the maintenance window, such as an upgrade of the engine, are not set
//! off, by the isolation as little as by its undo.
//!
//! RDS changes asynchronously: until it is done, the verification is in progress. RDS
//! modifies only available databases. A stopped database is refused; one that is being
//! modified or backed up is tried again. After an undo the isolation group stays while
//! RDS still uses it, until the next undo in its VPC.

use futures::future::join_all;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Residual,
    Reversal, Undone, Verification,
};
use crate::grant::Grant;
use crate::support::ec2::grants::{DELETE_OWN_GROUPS, MAKE_ISOLATION_GROUPS, TAG_OWN_GROUPS};
use crate::support::ec2::interfaces;
use crate::support::ec2::isolation_groups::{self as isolation, Purpose};
use crate::support::rds::database;
use crate::support::rds::database::InstanceOrCluster;
use crate::support::rds::database_network::{self, Database, Member};
use crate::support::rds::grants::CHANGE_DATABASES;
use crate::support::rds::proxies::{self, ProxyTarget};
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct QuarantineDb;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    database: Database,
    vpc: String,
}

impl Action for QuarantineDb {
    const SPEC: ActionSpec = ActionSpec {
        name: "quarantine-db",
        sentence: "Moves the database, with its whole cluster, into a security group without rules and makes it private.",
        resource_types: &["RDSDBInstance", "RDSDBCluster"],
        reads: &[
            "ec2:DescribeSecurityGroups",
            "rds:DescribeDBClusters",
            "rds:DescribeDBInstances",
            "rds:DescribeDBProxies",
            "rds:DescribeDBProxyTargets",
            "rds:DescribeDBSubnetGroups",
        ],
        writes: &[
            "ec2:CreateSecurityGroup",
            "ec2:CreateTags",
            "ec2:DeleteSecurityGroup",
            "ec2:RevokeSecurityGroupEgress",
            "ec2:RevokeSecurityGroupIngress",
            "rds:ModifyDBCluster",
            "rds:ModifyDBInstance",
        ],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[
        MAKE_ISOLATION_GROUPS.allows(&[
            "ec2:CreateSecurityGroup",
            "ec2:RevokeSecurityGroupEgress",
            "ec2:RevokeSecurityGroupIngress",
        ]),
        DELETE_OWN_GROUPS,
        TAG_OWN_GROUPS,
        CHANGE_DATABASES.allows(&["rds:ModifyDBCluster", "rds:ModifyDBInstance"]),
    ];
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let database = database_network::of_target(context).await?;
        database.refuse_stopped()?;
        let vpc = database_network::vpc(context, &database).await?;
        let described = isolation::describe(context, Some(&vpc)).await?;
        let found = isolation::clean(&described, Purpose::ISOLATION).remove(&vpc);
        let mut changes = changes(&database, &vpc, found.as_deref());
        if !changes.is_empty() {
            changes.extend(isolation::repairs(&described, &vpc, Purpose::ISOLATION));
        }
        Ok(CapturedState { prior: Prior { database, vpc }, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        // First, so that no group is made for a database that is gone.
        let present = database_network::of_holder(context, &prior.database.holder).await?;
        present.refuse_stopped()?;
        let group = isolation::ensure(context, &prior.vpc, Purpose::ISOLATION).await?;
        let ended = close(context, &present, &group).await;
        if !ended.as_ref().is_err_and(is_missing_group) {
            return ended;
        }
        // Another response's undo deleted it after it was read.
        let again = isolation::ensure(context, &prior.vpc, Purpose::ISOLATION).await?;
        if again == group { ended } else { close(context, &present, &again).await }
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let holder = &prior.database.holder;
        let present = match database_network::of_holder(context, holder).await {
            Ok(present) => present,
            Err(error) => return Verification::if_gone(error),
        };
        let described = isolation::describe(context, Some(&prior.vpc)).await?;
        let found = isolation::clean(&described, Purpose::ISOLATION).remove(&prior.vpc);
        Ok(judge(&present, found.as_deref()))
    }

    fn touches(context: ActionContext<'_>, prior: &Prior) -> Vec<String> {
        let ActionContext { account, resource, .. } = context;
        let arn = |kind: &str, id: &str| {
            let (partition, region, id) = (&account.partition, &resource.region, id);
            format!("arn:{partition}:rds:{region}:{}:{kind}:{id}", account.id)
        };
        let InstanceOrCluster::Cluster(cluster) = &prior.database.holder else { return Vec::new() };
        let members = prior.database.members.iter().map(|member| arn("db", &member.instance));
        std::iter::once(arn("cluster", cluster)).chain(members).collect()
    }

    async fn residual(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Vec<Residual>, ActionError> {
        let id = match &prior.database.holder {
            InstanceOrCluster::Instance(id) => {
                let of = |target: &ProxyTarget| target.instance() == Some(id);
                return Box::pin(proxies::residual(context, of)).await;
            }
            InstanceOrCluster::Cluster(id) => id,
        };
        let of = |target: &ProxyTarget| target.cluster() == Some(id);
        let mut residual = Box::pin(proxies::residual(context, of)).await?;
        let cluster = match database::cluster(context.account, id).await {
            Ok(cluster) => cluster,
            Err(error) if error.kind == ErrorKind::Gone => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        if cluster.http_endpoint_enabled() == Some(true) {
            let what = format!(
                "the RDS Data API of the cluster {id}, for a principal that may call it and read the secret: it does not pass the security groups"
            );
            residual.push(Residual::new("data-api", what, &[]));
        }
        Ok(residual)
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let holder = &prior.database.holder;
        let mut undone = Undone::default();
        let described = isolation::describe(context, Some(&prior.vpc)).await?;
        match database_network::of_holder(context, holder).await {
            Ok(present) => {
                let ours: Vec<&str> = described
                    .iter()
                    .filter(|group| group.group_name() == Some(&*Purpose::ISOLATION.group_name()))
                    .filter_map(|group| group.group_id())
                    .collect();
                let restoration = restore(&prior.database, &present, &ours, &mut undone);
                if restoration.groups.is_some() || !restoration.members.is_empty() {
                    present.refuse_stopped()?;
                }
                match modify(context, &present, restoration.groups, restoration.members).await {
                    Err(error) if is_missing_group(&error) => {
                        let groups = prior.database.groups.join(", ");
                        undone.restored.clear();
                        undone.drift.push(format!(
                            "{holder} stays quarantined, because one of its groups {groups} was deleted since: {}",
                            error.message
                        ));
                    }
                    ended => ended?,
                }
            }
            Err(error) if error.kind == ErrorKind::Gone => {
                undone.drift.push(format!("{holder} was deleted since"));
            }
            Err(error) => return Err(error),
        }
        let vpcs = std::slice::from_ref(&prior.vpc);
        undone
            .restored
            .extend(isolation::delete_unused(context, &described, Purpose::ISOLATION, vpcs).await?);
        Ok(undone)
    }
}

/// The changes of the plan.
fn changes(database: &Database, vpc: &str, found: Option<&str>) -> Vec<Change> {
    let name = Purpose::ISOLATION.group_name();
    let mut changes = Vec::new();
    if found.is_none_or(|group| database.groups != [group]) {
        changes.push(Change {
            what: format!("security groups of {}", database.holder),
            before: database.groups.join(", "),
            after: match found {
                Some(group) => format!("{name} ({group})"),
                None => format!("{name} (made or repaired in {vpc})"),
            },
        });
    }
    changes.extend(database.members.iter().filter(|member| member.public).map(|member| Change {
        what: format!("public access of DB instance {}", member.instance),
        before: "on".to_owned(),
        after: "off".to_owned(),
    }));
    changes
}

/// The verification.
fn judge(present: &Database, clean: Option<&str>) -> Verification {
    let (name, holder) = (Purpose::ISOLATION.group_name(), &present.holder);
    let Some(clean) = clean else {
        return Verification::NotInEffect(format!(
            "there is no group {name} without rules for {holder}"
        ));
    };
    if present.groups != [clean] {
        let groups = present.groups.join(", ");
        return Verification::NotInEffect(format!(
            "{holder} is in {groups}, not in {name} ({clean}) alone"
        ));
    }
    let public: Vec<&Member> = present.members.iter().filter(|member| member.public).collect();
    if let Some(member) = public.iter().find(|member| member.status != "modifying") {
        return Verification::NotInEffect(format!(
            "the DB instance `{}` is publicly accessible",
            member.instance
        ));
    }
    if present.changing || !public.is_empty() {
        return Verification::InProgress(format!(
            "RDS is still moving {holder} into {name} ({clean})"
        ));
    }
    Verification::InEffect(format!("{holder} is in {name} ({clean}) alone and private"))
}

/// What undo has to set: the groups, and the public access of these members.
struct Restoration {
    groups: Option<Vec<String>>,
    members: Vec<Member>,
}

/// Compares the present with the recorded state: what undo restores or leaves.
fn restore(
    prior: &Database,
    present: &Database,
    ours: &[&str],
    undone: &mut Undone,
) -> Restoration {
    let (holder, now) = (&prior.holder, present.groups.join(", "));
    let mut restoration = Restoration { groups: None, members: Vec::new() };
    if !interfaces::same_groups(&present.groups, &prior.groups) {
        if matches!(present.groups.as_slice(), [group] if ours.contains(&group.as_str())) {
            undone.restored.push(format!("{holder} is in {} again", prior.groups.join(", ")));
            restoration.groups = Some(prior.groups.clone());
        } else {
            undone.drift.push(format!("{holder} was put into {now} since"));
        }
    } else if present.has_pending_changes {
        // RDS may have queued the isolation: its former groups take that back.
        restoration.groups = Some(prior.groups.clone());
    }
    for before in &prior.members {
        let instance = &before.instance;
        let Some(member) = present.members.iter().find(|it| it.instance == *instance) else {
            undone.drift.push(format!("the DB instance `{instance}` was deleted since"));
            continue;
        };
        match (before.public, member.public) {
            (true, false) => {
                undone.restored.push(format!("the DB instance `{instance}` is public again"));
                restoration.members.push(Member { public: true, ..member.clone() });
            }
            (false, true) => {
                undone.drift.push(format!("the DB instance `{instance}` was made public since"));
            }
            (true, true) | (false, false) => {}
        }
    }
    restoration
}

/// Puts a database into the isolation group alone, and makes it private.
async fn close(
    context: ActionContext<'_>,
    present: &Database,
    group: &str,
) -> Result<(), ActionError> {
    let groups = (present.groups != [group]).then(|| vec![group.to_owned()]);
    let public = present.members.iter().filter(|member| member.public);
    let private = public.map(|member| Member { public: false, ..member.clone() }).collect();
    modify(context, present, groups, private).await
}

/// Whether a call failed because a security group does not exist, and not the database:
/// RDS has no error code of its own for that (RDS API reference, "Common errors").
fn is_missing_group(error: &ActionError) -> bool {
    error.has_code("InvalidParameterValue") && error.message.contains("security group")
}

/// Sets groups and flags; without any there is no call. An instance outside a cluster
/// gets both in one call: while RDS works on the first it would refuse a second.
async fn modify(
    context: ActionContext<'_>,
    present: &Database,
    groups: Option<Vec<String>>,
    members: Vec<Member>,
) -> Result<(), ActionError> {
    if groups.is_none() && members.is_empty() {
        return Ok(());
    }
    match &present.holder {
        InstanceOrCluster::Instance(id) => {
            let public = members.first().map(|member| member.public);
            database_network::modify_instance(context, id, groups, public).await
        }
        InstanceOrCluster::Cluster(id) => {
            // All are tried: an instance that cannot be changed now must not
            // keep the cluster open.
            let cluster = async {
                match groups {
                    Some(groups) => {
                        let waits = present.has_pending_changes;
                        database_network::modify_cluster(context, id, groups, waits).await
                    }
                    None => Ok(()),
                }
            }
            .await;
            let each = members.iter().map(|member| {
                let public = Some(member.public);
                database_network::modify_instance(context, &member.instance, None, public)
            });
            let ended = [cluster].into_iter().chain(join_all(each).await);
            ActionError::all(ended.filter_map(Result::err).collect()).map_or(Ok(()), Err)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(groups: &[&str], public: bool) -> Database {
        let member =
            Member { instance: "orders".to_owned(), public, status: "available".to_owned() };
        Database {
            holder: InstanceOrCluster::Instance("orders".to_owned()),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            subnet_group: "private".to_owned(),
            status: "available".to_owned(),
            has_pending_changes: false,
            changing: false,
            members: vec![member],
        }
    }

    #[test]
    fn only_the_clean_group_alone_and_a_private_instance_are_in_effect() {
        let check = |database: Database, clean: Option<&str>, in_effect: bool| {
            let verified = judge(&database, clean);
            assert_eq!(matches!(verified, Verification::InEffect(_)), in_effect, "{verified:?}");
        };
        check(database(&["sg-i"], false), Some("sg-i"), true);
        check(database(&["sg-i"], false), None, false);
        check(database(&["sg-i", "sg-1"], false), Some("sg-i"), false);
        check(database(&["sg-i"], true), Some("sg-i"), false);
        check(Database { changing: true, ..database(&["sg-i"], false) }, Some("sg-i"), false);
    }

    #[test]
    fn a_later_change_is_not_overwritten() {
        let check = |present: Database, groups: bool, flag: bool, drift: usize| {
            let mut undone = Undone::default();
            let restoration =
                restore(&database(&["sg-1", "sg-2"], true), &present, &["sg-i"], &mut undone);
            assert_eq!(restoration.groups.is_some(), groups, "{present:?}");
            assert_eq!(!restoration.members.is_empty(), flag, "{present:?}");
            assert_eq!(undone.drift.len(), drift, "{undone:?}");
        };
        check(database(&["sg-i"], false), true, true, 0);
        check(database(&["sg-2", "sg-1"], true), false, false, 0);
        check(database(&["sg-3"], false), false, true, 1);
        check(Database { members: Vec::new(), ..database(&["sg-i"], false) }, true, false, 1);
    }
}
