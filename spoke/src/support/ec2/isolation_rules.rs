//! Revokes and authorizes rules of a security group, ingress or egress. A rule that
//! another worker has revoked or authorized already is no failure.

use aws_sdk_ec2::types::{IpPermission, SecurityGroup};

use crate::contract::ActionContext;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

/// Into the group or out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    pub(crate) const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    /// The group's permissions this way.
    pub(crate) fn permissions(self, group: &SecurityGroup) -> &[IpPermission] {
        match self {
            Self::Ingress => group.ip_permissions(),
            Self::Egress => group.ip_permissions_egress(),
        }
    }
}

/// Revokes permissions; without any there is no call. `false` where the group was
/// changed meanwhile: EC2 then refuses them all, and it has to be read again.
pub(crate) async fn revoke(
    context: ActionContext<'_>,
    group: &str,
    direction: Direction,
    permissions: Vec<IpPermission>,
) -> Result<bool, ActionError> {
    if permissions.is_empty() {
        return Ok(true);
    }
    let ec2 = context.account.ec2(Class::Ec2Write).await;
    let permissions = Some(permissions);
    let result = match direction {
        Direction::Ingress => {
            let call = ec2.revoke_security_group_ingress().group_id(group);
            let result = call.set_ip_permissions(permissions).send().await.map(|_| ());
            result.map_err(|error| from_sdk("ec2:RevokeSecurityGroupIngress", &error))
        }
        Direction::Egress => {
            let call = ec2.revoke_security_group_egress().group_id(group);
            let result = call.set_ip_permissions(permissions).send().await.map(|_| ());
            result.map_err(|error| from_sdk("ec2:RevokeSecurityGroupEgress", &error))
        }
    };
    settle(result, "InvalidPermission.NotFound")
}

/// Authorizes permissions of traffic in; without any there is no call. `false` as for
/// [`revoke`].
pub(crate) async fn authorize_ingress(
    context: ActionContext<'_>,
    group: &str,
    permissions: Vec<IpPermission>,
) -> Result<bool, ActionError> {
    if permissions.is_empty() {
        return Ok(true);
    }
    let ec2 = context.account.ec2(Class::Ec2Write).await;
    let call = ec2.authorize_security_group_ingress().group_id(group);
    let result = call.set_ip_permissions(Some(permissions)).send().await.map(|_| ());
    let result = result.map_err(|error| from_sdk("ec2:AuthorizeSecurityGroupIngress", &error));
    settle(result, "InvalidPermission.Duplicate")
}

fn settle(result: Result<(), ActionError>, raced: &str) -> Result<bool, ActionError> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.has_code(raced) || error.kind == ErrorKind::Gone => Ok(false),
        Err(error) => Err(error),
    }
}
