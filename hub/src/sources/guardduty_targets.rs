//! What a GuardDuty finding names, by its resource *type*: not by which section
//! happens to be there, for sections of other types may be filled as well.

use std::collections::BTreeMap;

use firebreak_spoke::resource::{
    AccountId, Partition, Principal, PrincipalType, Region, Resource, ResourceKind,
};
use serde_json::Value;

use super::fields::{elements, first_text, tags, text};
use crate::finding::{ResourceRole, Target};

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

/// The best id of a resource that no action here acts on.
fn other_id(resource: &Value, resource_type: &str) -> Option<String> {
    let section = match resource_type {
        "EKSCluster" | "KubernetesCluster" => "eksClusterDetails",
        "ECSCluster" => "ecsClusterDetails",
        "Container" => "containerDetails",
        "RDSDBInstance" | "DBInstance" => "rdsDbInstanceDetails",
        "RDSLimitlessDB" => "rdsLimitlessDbDetails",
        "Lambda" => "lambdaDetails",
        "EBSVolume" => "ebsVolumeDetails",
        _ => return None,
    };
    let details = resource.get(section)?;
    first_text(
        details,
        &[
            &["arn"],
            &["functionArn"],
            &["dbInstanceArn"],
            &["dbShardGroupArn"],
            &["id"],
            &["name"],
            &["dbInstanceIdentifier"],
            &["functionName"],
        ],
    )
}

/// The actors and resources of an attack sequence or custom detection: many,
/// each with its own account and Region.
fn sequence(detail: &Value, home: &Home<'_>) -> Vec<Target> {
    let path = &["service", "detection", "sequence"];
    let Some(sequence) = super::fields::at(detail, path) else { return Vec::new() };
    let mut targets: Vec<Target> = Vec::new();
    let mut add = |target: Target| {
        let known = targets.iter().any(|other| other.resource.arn() == target.resource.arn());
        if !known {
            targets.push(target);
        }
    };
    for resource in elements(sequence, &["resources"]) {
        let account = text(resource, &["accountId"]).and_then(|text| text.parse().ok());
        let region = text(resource, &["region"]).and_then(|text| text.parse().ok());
        let own = Home {
            account: account.as_ref().unwrap_or(home.account),
            region: region.as_ref().unwrap_or(home.region),
            role: None,
            ..*home
        };
        add(sequence_resource(resource, &own));
    }
    for actor in elements(sequence, &["actors"]) {
        let user = actor.get("user");
        let account = user
            .and_then(|user| text(user, &["account", "uid"]))
            .and_then(|text| text.parse().ok());
        let own = Home {
            account: account.as_ref().unwrap_or(home.account),
            role: Some(ResourceRole::Actor),
            ..*home
        };
        let Some(user) = user else { continue };
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

fn sequence_resource(resource: &Value, home: &Home<'_>) -> Target {
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
        (other, uid) => {
            home.target(ResourceKind::Other { name: other.to_owned(), id: uid.or(name) }, tags)
        }
    }
}
