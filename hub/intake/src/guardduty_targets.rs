//! What a GuardDuty finding names, by its resource *type*: not by which section
//! happens to be there, for sections of other types may be filled as well.

use std::collections::{BTreeMap, HashSet};

use firebreak_model::resource::{
    AccountId, Partition, Principal, PrincipalType, Region, Resource, ResourceKind, Workload,
};
use serde_json::Value;

use super::fields::{elements, first_text, function_name, own_account, own_region, tags, text};
use firebreak_model::finding::{ResourceRole, Target};

/// Where the finding is, for targets that do not say it themselves.
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

/// Every resource that the finding names.
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
    // What runs on an instance is contained with it, as far as it names one.
    let runs_on_instance = matches!(
        resource_type,
        "EKSCluster" | "KubernetesCluster" | "ECSCluster" | "Container" | "EBSVolume"
    );
    if runs_on_instance {
        targets.extend(instance(resource, &home));
    }
    targets.extend(sequence(detail, &home));
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

/// Every bucket, and the credentials that were used on them: both are ways in.
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

/// The database, and the cluster it is in is found by the action that asks RDS.
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

/// Groups and snapshots of a Limitless database are its cluster's.
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
pub(super) fn ecs_task(arn: &str, service: Option<String>) -> ResourceKind {
    let cluster = arn.split_once(":task/").and_then(|(_, rest)| rest.split_once('/'));
    let cluster = cluster.map_or("default", |(cluster, _)| cluster).to_owned();
    ResourceKind::EcsCluster { cluster, task: Some(arn.to_owned()), service }
}

/// The best id of a resource that no action here acts on.
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

/// The actors and resources of an attack sequence or custom detection: many,
/// each with its own account and Region.
fn sequence(detail: &Value, home: &Home<'_>) -> Vec<Target> {
    let path = &["service", "detection", "sequence"];
    let Some(sequence) = super::fields::at(detail, path) else { return Vec::new() };
    let mut targets: Vec<Target> = Vec::new();
    let mut known = HashSet::new();
    let mut add = |target: Target| {
        if known.insert(target.resource.arn()) {
            targets.push(target);
        }
    };
    for resource in elements(sequence, &["resources"]) {
        let account = own_account(text(resource, &["accountId"]), home.account);
        let region = own_region(text(resource, &["region"]), home.region);
        let own = Home { account: &account, region: &region, role: None, ..*home };
        add(sequence_resource(sequence, resource, &own));
    }
    for actor in elements(sequence, &["actors"]) {
        let user = actor.get("user");
        let Some(user) = user else { continue };
        let account = own_account(text(user, &["account", "uid"]), home.account);
        let own = Home { account: &account, role: Some(ResourceRole::Actor), ..*home };
        let access_key_id = text(user, &["credentialUid"]).or(text(user, &["accessKeyId"]));
        let principal = Principal {
            kind: PrincipalType::named(text(user, &["type"]).as_deref().unwrap_or("unknown")),
            name: text(user, &["name"]),
            id: text(user, &["uid"]),
        };
        if access_key_id.is_some() || principal.name.is_some() {
            add(own.plain(ResourceKind::AccessKey { access_key_id, principal }));
        }
    }
    targets
}

/// The cluster that a sequence is about, where it names just one.
fn cluster_of(sequence: &Value) -> Option<String> {
    let mut clusters = elements(sequence, &["resources"])
        .into_iter()
        .filter(|resource| text(resource, &["resourceType"]).as_deref() == Some("EKS_CLUSTER"));
    let uid = text(clusters.next()?, &["uid"])?;
    let name = uid.rsplit('/').next().unwrap_or(&uid).to_owned();
    clusters.next().is_none().then_some(name)
}

/// The cluster in a workload's uid, where that is an ARN below the cluster's.
fn eks_cluster(uid: &str) -> Option<String> {
    let (_, rest) = uid.split_once(":cluster/")?;
    rest.split('/').next().map(str::to_owned)
}

/// `KubernetesWorkload` of the sequence calls its type `KubernetesResourcesTypes`
/// and has its name beside it (GuardDuty API reference).
fn sequence_workload(data: &Value, name: Option<&str>) -> Option<Workload> {
    Some(Workload {
        kind: first_text(data, &[&["type"], &["kubernetesResourcesTypes"]])?.to_ascii_lowercase(),
        namespace: text(data, &["namespace"]).unwrap_or_else(|| "default".to_owned()),
        name: text(data, &["name"]).or_else(|| name.map(str::to_owned))?,
    })
}

fn sequence_resource(sequence: &Value, resource: &Value, home: &Home<'_>) -> Target {
    let kind = text(resource, &["resourceType"]).unwrap_or_else(|| "unknown".to_owned());
    let uid = text(resource, &["uid"]);
    let last = |uid: &str| uid.rsplit(['/', ':']).next().unwrap_or(uid).to_owned();
    let tags = tags(resource, &["tags"]);
    let name = text(resource, &["name"]);
    match (kind.as_str(), uid) {
        ("EC2_INSTANCE", Some(uid)) => {
            home.target(ResourceKind::Instance { instance_id: last(&uid) }, tags)
        }
        ("S3_BUCKET", Some(uid)) => {
            home.target(ResourceKind::Bucket { name: name.unwrap_or_else(|| last(&uid)) }, tags)
        }
        ("ACCESS_KEY", uid) => {
            let data = super::fields::at(resource, &["data", "accessKey"]).unwrap_or(&Value::Null);
            let principal = Principal {
                kind: PrincipalType::named(
                    text(data, &["userType"]).as_deref().unwrap_or("unknown"),
                ),
                name: text(data, &["userName"]),
                id: text(data, &["principalId"]),
            };
            let access_key_id = uid.as_deref().map(last);
            home.target(ResourceKind::AccessKey { access_key_id, principal }, tags)
        }
        ("EC2_NETWORK_INTERFACE", Some(uid)) => {
            let data = super::fields::at(resource, &["data", "ec2NetworkInterface"]);
            match data.and_then(|data| text(data, &["instanceId"])) {
                Some(instance_id) => home.target(ResourceKind::Instance { instance_id }, tags),
                None => {
                    home.target(ResourceKind::Other { name: kind.clone(), id: Some(uid) }, tags)
                }
            }
        }
        ("S3_OBJECT", Some(uid)) => {
            let bucket = uid.split_once(":::").map_or(uid.as_str(), |(_, rest)| rest);
            let name = bucket.split('/').next().unwrap_or(bucket).to_owned();
            home.target(ResourceKind::Bucket { name }, tags)
        }
        ("EKS_CLUSTER", Some(uid)) => {
            let name = last(&uid);
            home.target(ResourceKind::EksCluster { name, workload: None, username: None }, tags)
        }
        ("KUBERNETES_WORKLOAD", uid) => {
            let data = super::fields::at(resource, &["data", "kubernetesWorkload"]);
            let cluster = cluster_of(sequence).or_else(|| uid.as_deref().and_then(eks_cluster));
            match (cluster, data.and_then(|data| sequence_workload(data, name.as_deref()))) {
                (Some(name), Some(workload)) => home.target(
                    ResourceKind::EksCluster { name, workload: Some(workload), username: None },
                    tags,
                ),
                _ => home.target(ResourceKind::Other { name: kind.clone(), id: uid }, tags),
            }
        }
        ("ECS_CLUSTER", Some(uid)) => {
            let cluster = last(&uid);
            home.target(ResourceKind::EcsCluster { cluster, task: None, service: None }, tags)
        }
        ("ECS_TASK", Some(uid)) => home.target(ecs_task(&uid, None), tags),
        ("RDS_DB_INSTANCE", Some(uid)) => {
            home.target(ResourceKind::DbInstance { identifier: last(&uid) }, tags)
        }
        ("LAMBDA" | "LAMBDA_FUNCTION", Some(uid)) => {
            home.target(ResourceKind::Function { name: function_name(&uid) }, tags)
        }
        (other, uid) => {
            home.target(ResourceKind::Other { name: other.to_owned(), id: uid.or(name) }, tags)
        }
    }
}
