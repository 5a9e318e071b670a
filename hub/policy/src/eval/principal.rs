//! The principal whose credentials or identity a target is.

use firebreak_model::finding::Target;
use firebreak_model::resource::{Principal, PrincipalType, ResourceKind};

/// Whose credentials or identity a target is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TargetPrincipal {
    /// The principal has this ARN.
    Known(String),
    /// The finding does not name the principal well enough.
    Unknown,
    /// The target is no identity.
    None,
}

/// The principal behind a target, by its type and never by its name alone: a
/// user and a role may have the same name.
pub(super) fn principal_of(target: &Target) -> TargetPrincipal {
    let resource = &target.resource;
    let (partition, account) = (&resource.partition, &resource.account);
    let iam = |kind: &str, name: &str| {
        TargetPrincipal::Known(format!("arn:{partition}:iam::{account}:{kind}/{name}"))
    };
    let Principal { kind, name, .. } = match &resource.kind {
        ResourceKind::User { name } => return iam("user", name),
        ResourceKind::Role { name } => return iam("role", name),
        ResourceKind::AccessKey { principal, .. } => principal,
        ResourceKind::Instance { .. }
        | ResourceKind::Bucket { .. }
        | ResourceKind::DbInstance { .. }
        | ResourceKind::DbCluster { .. }
        | ResourceKind::Function { .. }
        | ResourceKind::EcsCluster { .. }
        | ResourceKind::EksCluster { .. }
        | ResourceKind::Other { .. } => return TargetPrincipal::None,
    };
    match (kind, name) {
        (PrincipalType::Root, _) => {
            TargetPrincipal::Known(format!("arn:{partition}:iam::{account}:root"))
        }
        (PrincipalType::IamUser, Some(name)) => iam("user", name),
        (PrincipalType::AssumedRole | PrincipalType::Role, Some(name)) => iam("role", name),
        (PrincipalType::FederatedUser, Some(name)) => {
            TargetPrincipal::Known(format!("arn:{partition}:sts::{account}:federated-user/{name}"))
        }
        (
            PrincipalType::IamUser
            | PrincipalType::AssumedRole
            | PrincipalType::Role
            | PrincipalType::FederatedUser,
            None,
        )
        | (
            PrincipalType::IdentityCenterUser
            | PrincipalType::AwsAccount
            | PrincipalType::AwsService
            | PrincipalType::Other(_),
            _,
        ) => TargetPrincipal::Unknown,
    }
}
