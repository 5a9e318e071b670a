//! The targets of a GuardDuty finding, by its resource *type*. Which sections are
//! present does not say it: sections of other types may be filled as well.

mod sequence;

use std::collections::BTreeMap;

use firebreak_model::resource::{
    AccountId, Partition, Principal, PrincipalType, Region, Resource, ResourceKind, Workload,
};
use serde_json::Value;

use crate::fields::{elements, first_text, function_name, tags, text};
use firebreak_model::finding::{ResourceRole, Target};

/// The finding's own place and role, for targets that do not name their own.
struct Home<'a> {
    partition: &'a Partition,
    account: &'a AccountId,
    region: &'a Region,
    role: Option<ResourceRole>,
}

impl Home<'_> {
    fn target(&self, kind: ResourceKind, tags: BTreeMap<String, String>) -> Target {
        let resource = Resource {
            partition: self.partition.clone(),
            account: self.account.clone(),
            region: self.region.clone(),
            kind,
        };
        Target { resource, role: self.role, tags }
    }

    fn plain(&self, kind: ResourceKind) -> Target {
        self.target(kind, BTreeMap::new())
    }

    fn other(&self, name: &str, id: Option<String>) -> Target {
        self.plain(ResourceKind::Other { name: name.to_owned(), id })
    }
}

pub(super) fn targets(
    detail: &Value,
    resource_type: &str,
    partition: &Partition,
    account: &AccountId,
    region: &Region,
) -> Vec<Target> {
    let role = match text(detail, &["service", "resourceRole"]).as_deref() {
        Some("ACTOR") => Some(ResourceRole::Actor),
        Some("TARGET") => Some(ResourceRole::Target),
        _ => None,
    };
    let home = Home { partition, account, region, role };
    let Some(resource) = detail.get("resource") else { return Vec::new() };
    let mut targets = match resource_type {
        "Instance" => {
            vec![instance(resource, &home).unwrap_or_else(|| home.other("Instance", None))]
        }
        "AccessKey" => {
            vec![access_key(resource, &home).unwrap_or_else(|| home.other("AccessKey", None))]
        }
        "S3Bucket" | "S3Object" => buckets(resource, &home),
        "RDSDBInstance" | "DBInstance" => db_instances(resource, &home),
        "RDSLimitlessDB" => vec![limitless(resource, &home)],
        "Lambda" => {
            vec![function(resource, &home).unwrap_or_else(|| home.other("Lambda", None))]
        }
        "ECSCluster" => {
            vec![ecs(resource, &home).unwrap_or_else(|| home.other("ECSCluster", None))]
        }
        "EKSCluster" | "KubernetesCluster" => {
            vec![eks(resource, &home).unwrap_or_else(|| home.other("EKSCluster", None))]
        }
        "AttackSequence" => Vec::new(),
        other => vec![home.other(other, other_id(resource, other))],
    };
    // A workload on an instance is contained together with the instance.
    let runs_on_instance = matches!(
        resource_type,
        "EKSCluster" | "KubernetesCluster" | "ECSCluster" | "Container" | "EBSVolume"
    );
    if runs_on_instance {
        targets.extend(instance(resource, &home));
    }
    targets.extend(sequence::sequence(detail, &home));
    targets
}

fn instance(resource: &Value, home: &Home<'_>) -> Option<Target> {
    let instance_id = text(resource, &["instanceDetails", "instanceId"])?;
    let tags = tags(resource, &["instanceDetails", "tags"]);
    Some(home.target(ResourceKind::Instance { instance_id }, tags))
}

fn access_key(resource: &Value, home: &Home<'_>) -> Option<Target> {
    let details = resource.get("accessKeyDetails")?;
    let user_type = text(details, &["userType"]);
    let access_key_id = text(details, &["accessKeyId"]);
    let principal = Principal {
        kind: PrincipalType::named(user_type.as_deref().unwrap_or("unknown")),
        // For a session of a role this is the role's name.
        name: text(details, &["userName"]),
        id: text(details, &["principalId"]),
    };
    let named = access_key_id.is_some() || principal.name.is_some() || principal.id.is_some();
    named.then(|| home.plain(ResourceKind::AccessKey { access_key_id, principal }))
}

/// Every bucket, and the access key that was used on them: the attacker has both.
fn buckets(resource: &Value, home: &Home<'_>) -> Vec<Target> {
    let mut targets: Vec<Target> = elements(resource, &["s3BucketDetails"])
        .into_iter()
        .filter_map(|bucket| {
            let arn = text(bucket, &["arn"]).unwrap_or_default();
            let from_arn = arn.rsplit(":::").next().unwrap_or_default().to_owned();
            let name = text(bucket, &["name"]).or(Some(from_arn))?;
            let tags = tags(bucket, &["tags"]);
            (!name.is_empty()).then(|| home.target(ResourceKind::Bucket { name }, tags))
        })
        .collect();
    if targets.is_empty() {
        targets.push(home.other("S3Bucket", None));
    }
    let caller = Home { role: None, ..*home };
    targets.extend(access_key(resource, &caller));
    targets
}

/// Database instances. The action looks up the cluster of each.
fn db_instances(resource: &Value, home: &Home<'_>) -> Vec<Target> {
    let mut targets: Vec<Target> = elements(resource, &["rdsDbInstanceDetails"])
        .into_iter()
        .filter_map(|details| {
            let arn = text(details, &["dbInstanceArn"]);
            let identifier = text(details, &["dbInstanceIdentifier"])
                .or_else(|| Some(arn?.rsplit(':').next()?.to_owned()))?;
            Some(home.target(ResourceKind::DbInstance { identifier }, tags(details, &["tags"])))
        })
        .collect();
    if targets.is_empty() {
        targets.push(home.other("RDSDBInstance", None));
    }
    targets
}

/// Shard groups and snapshots of a Limitless database belong to its cluster.
fn limitless(resource: &Value, home: &Home<'_>) -> Target {
    let details = resource.get("rdsLimitlessDbDetails").unwrap_or(&Value::Null);
    match text(details, &["dbClusterIdentifier"]) {
        Some(identifier) => {
            home.target(ResourceKind::DbCluster { identifier }, tags(details, &["tags"]))
        }
        None => home.other(
            "RDSLimitlessDB",
            first_text(details, &[&["dbShardGroupArn"], &["dbShardGroupIdentifier"]]),
        ),
    }
}

fn function(resource: &Value, home: &Home<'_>) -> Option<Target> {
    let details = resource.get("lambdaDetails")?;
    let named = first_text(details, &[&["functionName"], &["functionArn"]])?;
    let name = function_name(&named);
    Some(home.target(ResourceKind::Function { name }, tags(details, &["tags"])))
}

/// The task, its service and its cluster. `group` is `service:NAME` for a task
/// that a service started (ECS API reference, Task).
fn ecs(resource: &Value, home: &Home<'_>) -> Option<Target> {
    let details = resource.get("ecsClusterDetails")?;
    let arn = text(details, &["arn"]);
    let from_arn = arn.as_deref().and_then(|arn| arn.rsplit('/').next()).map(str::to_owned);
    let cluster = text(details, &["name"]).or(from_arn)?;
    let task = text(details, &["taskDetails", "arn"]);
    let group = text(details, &["taskDetails", "group"]);
    let service = group.and_then(|group| Some(group.strip_prefix("service:")?.to_owned()));
    let kind = ResourceKind::EcsCluster { cluster, task, service };
    Some(home.target(kind, tags(details, &["tags"])))
}

/// The cluster, with the workload and the user that the finding is about.
fn eks(resource: &Value, home: &Home<'_>) -> Option<Target> {
    let details = resource.get("eksClusterDetails")?;
    let arn = text(details, &["arn"]);
    let from_arn = arn.as_deref().and_then(|arn| arn.rsplit('/').next()).map(str::to_owned);
    let name = text(details, &["name"]).or(from_arn)?;
    let kubernetes = resource.get("kubernetesDetails").unwrap_or(&Value::Null);
    let workload = kubernetes.get("kubernetesWorkloadDetails").and_then(workload);
    let username = text(kubernetes, &["kubernetesUserDetails", "username"]);
    let kind = ResourceKind::EksCluster { name, workload, username };
    Some(home.target(kind, tags(details, &["tags"])))
}

fn workload(details: &Value) -> Option<Workload> {
    Some(Workload {
        kind: text(details, &["type"])?.to_ascii_lowercase(),
        namespace: text(details, &["namespace"]).unwrap_or_else(|| "default".to_owned()),
        name: text(details, &["name"])?,
    })
}

/// A task by its ARN, `arn:…:task/CLUSTER/ID`. The older form without the
/// cluster names the default one.
pub(in crate::forms) fn ecs_task(arn: &str, service: Option<String>) -> ResourceKind {
    let cluster = arn.split_once(":task/").and_then(|(_, rest)| rest.split_once('/'));
    let cluster = cluster.map_or("default", |(cluster, _)| cluster).to_owned();
    ResourceKind::EcsCluster { cluster, task: Some(arn.to_owned()), service }
}

/// The best id of a resource that has no actions.
fn other_id(resource: &Value, resource_type: &str) -> Option<String> {
    let section = match resource_type {
        "Container" => "containerDetails",
        "EBSVolume" => "ebsVolumeDetails",
        "EBSSnapshot" => "ebsSnapshotDetails",
        "EC2Image" => "ec2ImageDetails",
        "RecoveryPoint" => "recoveryPointDetails",
        _ => return None,
    };
    let details = resource.get(section)?;
    first_text(
        details,
        &[&["arn"], &["snapshotArn"], &["imageArn"], &["recoveryPointArn"], &["id"], &["name"]],
    )
}
