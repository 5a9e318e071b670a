//! Deep links into AWS's consoles. Whoever follows one has to be signed in to
//! the account that it is of.
//!
//! Sources: GuardDuty user guide, "Creating custom responses … with EventBridge"
//! (the finding's link); each service's console for the others, which AWS does
//! not promise to keep.

use firebreak_model::resource::{Partition, PrincipalType, Resource, ResourceKind};

use crate::record::FindingSummary;

/// Where a partition's console is; `None` where AWS publishes no address.
fn console(partition: &Partition) -> Option<&'static str> {
    match partition.as_str() {
        "aws" => Some("https://console.aws.amazon.com"),
        "aws-us-gov" => Some("https://console.amazonaws-us-gov.com"),
        "aws-cn" => Some("https://console.amazonaws.cn"),
        "aws-eusc" => Some("https://console.amazonaws-eusc.eu"),
        _ => None,
    }
}

/// The finding in GuardDuty's console, for one of GuardDuty's.
pub(super) fn guardduty(partition: &Partition, finding: &FindingSummary) -> Option<String> {
    if finding.product != "GuardDuty" {
        return None;
    }
    let (console, region) = (console(partition)?, &finding.region);
    let id = encode(&finding.id);
    Some(format!("{console}/guardduty/home?region={region}#/findings?search=id%3D{id}"))
}

/// The finding in Security Hub's console, for one that Security Hub may know.
pub(super) fn security_hub(partition: &Partition, finding: &FindingSummary) -> Option<String> {
    let id = finding.security_hub.as_ref()?.id();
    let (console, region) = (console(partition)?, &finding.region);
    // The console's own way to write `Id = <id>`: encoded twice.
    let id = encode(&encode(id));
    Some(format!(
        "{console}/securityhub/home?region={region}#/findings?search=Id%3D%255Coperator%255C%253AEQUALS%255C%253A{id}"
    ))
}

/// The resource in its service's console.
pub(super) fn resource(resource: &Resource) -> Option<String> {
    let Resource { partition, region, kind, .. } = resource;
    let console = console(partition)?;
    let path = match kind {
        ResourceKind::Instance { instance_id } => {
            format!("ec2/home?region={region}#InstanceDetails:instanceId={}", encode(instance_id))
        }
        ResourceKind::AccessKey { principal, .. } => {
            let name = encode(principal.name.as_deref()?);
            match principal.kind {
                PrincipalType::IamUser => format!("iam/home#/users/details/{name}"),
                PrincipalType::AssumedRole | PrincipalType::Role => {
                    format!("iam/home#/roles/details/{name}")
                }
                PrincipalType::FederatedUser
                | PrincipalType::Root
                | PrincipalType::IdentityCenterUser
                | PrincipalType::AwsAccount
                | PrincipalType::AwsService
                | PrincipalType::Other(_) => return None,
            }
        }
        ResourceKind::User { name } => format!("iam/home#/users/details/{}", encode(name)),
        ResourceKind::Role { name } => format!("iam/home#/roles/details/{}", encode(name)),
        ResourceKind::Bucket { name } => format!("s3/buckets/{}?region={region}", encode(name)),
        ResourceKind::DbInstance { identifier } => {
            let id = encode(identifier);
            format!("rds/home?region={region}#database:id={id};is-cluster=false")
        }
        ResourceKind::DbCluster { identifier } => {
            let id = encode(identifier);
            format!("rds/home?region={region}#database:id={id};is-cluster=true")
        }
        ResourceKind::Function { name } => {
            format!("lambda/home?region={region}#/functions/{}", encode(name))
        }
        ResourceKind::EcsCluster { cluster, .. } => {
            format!("ecs/v2/clusters/{}?region={region}", encode(cluster))
        }
        ResourceKind::EksCluster { name, .. } => {
            format!("eks/home?region={region}#/clusters/{}", encode(name))
        }
        ResourceKind::Other { .. } => return None,
    };
    Some(format!("{console}/{path}"))
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
