//! The actors and resources of an attack sequence or a custom detection: many,
//! each with its own account and Region.

use std::collections::HashSet;

use firebreak_model::finding::{ResourceRole, Target};
use firebreak_model::resource::{Principal, PrincipalType, ResourceKind, Workload};
use serde_json::Value;

use super::{Home, ecs_task};
use crate::fields::{at, elements, first_text, function_name, own_account, own_region, tags, text};

pub(super) fn sequence(detail: &Value, home: &Home<'_>) -> Vec<Target> {
    let path = &["service", "detection", "sequence"];
    let Some(sequence) = at(detail, path) else { return Vec::new() };
    let mut targets: Vec<Target> = Vec::new();
    let mut arns = HashSet::new();
    let mut add = |target: Target| {
        if arns.insert(target.resource.arn()) {
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
        let Some(user) = actor.get("user") else { continue };
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

/// The cluster of a sequence that names exactly one.
fn cluster_of(sequence: &Value) -> Option<String> {
    let mut clusters = elements(sequence, &["resources"])
        .into_iter()
        .filter(|resource| text(resource, &["resourceType"]).as_deref() == Some("EKS_CLUSTER"));
    let uid = text(clusters.next()?, &["uid"])?;
    let name = uid.rsplit('/').next().unwrap_or(&uid).to_owned();
    clusters.next().is_none().then_some(name)
}

/// The cluster's name from a workload's uid, if that is an ARN below the cluster's.
fn eks_cluster(uid: &str) -> Option<String> {
    let (_, rest) = uid.split_once(":cluster/")?;
    rest.split('/').next().map(str::to_owned)
}

/// A sequence's `KubernetesWorkload` has its type in `KubernetesResourcesTypes` and
/// its name in the resource (GuardDuty API reference).
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
            let data = at(resource, &["data", "accessKey"]).unwrap_or(&Value::Null);
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
            let data = at(resource, &["data", "ec2NetworkInterface"]);
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
            let data = at(resource, &["data", "kubernetesWorkload"]);
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
