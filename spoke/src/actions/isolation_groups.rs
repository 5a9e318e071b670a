//! The two security groups of each VPC that isolate instances: found, checked,
//! made, repaired and, when no interface uses them, deleted.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, Ipv6Range, ResourceType, SecurityGroup, Tag, TagSpecification,
};
use serde::{Deserialize, Serialize};

use super::Scope;
use crate::error::{ActionError, Kind};
use crate::pace::Class;

/// The name of the group without rules.
pub(super) const ISOLATION: &str = "firebreak-isolation";
/// The name of the group that allows everything, through which an interface
/// passes so that its flows become untracked.
pub(super) const TRANSIT: &str = "firebreak-transit";

/// What a group is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Isolation,
    Transit,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Isolation => ISOLATION,
            Self::Transit => TRANSIT,
        }
    }
}

/// The groups of one VPC that were there and as they should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) isolation: Option<String>,
    pub(super) transit: Option<String>,
}

impl Found {
    pub(super) fn of(&self, purpose: Purpose) -> Option<&String> {
        match purpose {
            Purpose::Isolation => self.isolation.as_ref(),
            Purpose::Transit => self.transit.as_ref(),
        }
    }
}

/// The clean groups by VPC: of one, or of all.
pub(super) async fn find(
    scope: Scope<'_>,
    vpc: Option<&str>,
) -> Result<BTreeMap<String, Found>, ActionError> {
    let mut vpcs: BTreeMap<String, Found> = BTreeMap::new();
    for group in describe(scope, vpc).await? {
        let (Some(id), Some(vpc)) = (group.group_id(), group.vpc_id()) else { continue };
        let found = vpcs.entry(vpc.to_owned()).or_default();
        if group.group_name() == Some(ISOLATION) && is_empty(&group) {
            found.isolation = Some(id.to_owned());
        }
        if group.group_name() == Some(TRANSIT) && allows_everything(&group) {
            found.transit = Some(id.to_owned());
        }
    }
    Ok(vpcs)
}

/// The ids of all groups of both names, clean or not: of one VPC, or of all.
pub(super) async fn ids(scope: Scope<'_>, vpc: Option<&str>) -> Result<Vec<String>, ActionError> {
    let groups = describe(scope, vpc).await?;
    Ok(groups.iter().filter_map(|group| group.group_id().map(str::to_owned)).collect())
}

/// Makes the VPC's group of this purpose, or repairs it, and returns its id.
pub(super) async fn ensure(
    scope: Scope<'_>,
    vpc: &str,
    purpose: Purpose,
) -> Result<String, ActionError> {
    let id = match describe_one(scope, vpc, purpose).await? {
        Some(group) => group.group_id().map(str::to_owned),
        None => create(scope, vpc, purpose).await?,
    };
    // Read back in either case: a new group allows all egress, in IPv6 too
    // where the VPC has it, and another worker may have made it meanwhile.
    let group = describe_one(scope, vpc, purpose).await?;
    let (Some(group), Some(id)) = (group, id) else {
        let name = purpose.name();
        return Err(ActionError::new(
            Kind::Transient,
            format!("the group `{name}` in {vpc} cannot be read yet"),
        ));
    };
    match purpose {
        Purpose::Isolation => clear(scope, &id, &group).await?,
        Purpose::Transit => open(scope, &id, &group).await?,
    }
    Ok(id)
}

/// Deletes the VPC's groups that Firebreak made and no interface uses; says
/// which. A group without our tag was made by the organization and stays.
pub(super) async fn delete_unused(
    scope: Scope<'_>,
    vpc: &str,
) -> Result<Vec<String>, ActionError> {
    let mut deleted = Vec::new();
    for group in describe(scope, Some(vpc)).await? {
        let ours = group
            .tags()
            .iter()
            .any(|tag| tag.key() == Some("firebreak") && tag.value() == Some("managed"));
        let (true, Some(id)) = (ours, group.group_id()) else { continue };
        let call = scope.account.ec2(Class::Ec2Write).await.delete_security_group().group_id(id);
        let result = call.send().await.map(|_| ());
        match result.map_err(|error| ActionError::from_sdk("ec2:DeleteSecurityGroup", &error)) {
            Ok(()) => deleted.push(format!("the unused group {id} is deleted")),
            // Another response still needs it, or deleted it.
            Err(error) if error.has_code("DependencyViolation") || error.kind == Kind::Gone => {}
            Err(error) => return Err(error),
        }
    }
    Ok(deleted)
}

async fn describe(
    scope: Scope<'_>,
    vpc: Option<&str>,
) -> Result<Vec<SecurityGroup>, ActionError> {
    let mut groups = Vec::new();
    let mut next = None;
    loop {
        let names = Filter::builder().name("group-name").values(ISOLATION).values(TRANSIT).build();
        let vpc = vpc.map(|vpc| Filter::builder().name("vpc-id").values(vpc).build());
        let page = scope
            .account
            .ec2(Class::Ec2Read)
            .await
            .describe_security_groups()
            .set_filters(Some(std::iter::once(names).chain(vpc).collect()))
            .set_next_token(next)
            .send()
            .await
            .map_err(|error| ActionError::from_sdk("ec2:DescribeSecurityGroups", &error))?;
        groups.extend(page.security_groups().iter().cloned());
        next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if next.is_none() {
            return Ok(groups);
        }
    }
}

async fn describe_one(
    scope: Scope<'_>,
    vpc: &str,
    purpose: Purpose,
) -> Result<Option<SecurityGroup>, ActionError> {
    let groups = describe(scope, Some(vpc)).await?;
    Ok(groups.into_iter().find(|group| group.group_name() == Some(purpose.name())))
}

async fn create(
    scope: Scope<'_>,
    vpc: &str,
    purpose: Purpose,
) -> Result<Option<String>, ActionError> {
    let description = match purpose {
        Purpose::Isolation => "Firebreak: no traffic in or out. Do not add rules.",
        Purpose::Transit => "Firebreak: passed through for a moment to cut tracked connections.",
    };
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::SecurityGroup)
        .tags(Tag::builder().key("firebreak").value("managed").build())
        .build();
    let call = scope
        .account
        .ec2(Class::Ec2Write)
        .await
        .create_security_group()
        .group_name(purpose.name())
        .description(description)
        .vpc_id(vpc)
        .tag_specifications(tags);
    let result = call.send().await.map(|answer| answer.group_id);
    match result.map_err(|error| ActionError::from_sdk("ec2:CreateSecurityGroup", &error)) {
        Ok(id) => Ok(id),
        // Another worker was faster; its group is the one.
        Err(error) if error.has_code("InvalidGroup.Duplicate") => {
            let group = describe_one(scope, vpc, purpose).await?;
            Ok(group.and_then(|group| group.group_id))
        }
        Err(error) => Err(error),
    }
}

/// Takes every rule off a group.
async fn clear(scope: Scope<'_>, id: &str, group: &SecurityGroup) -> Result<(), ActionError> {
    if !group.ip_permissions().is_empty() {
        let call = scope.account.ec2(Class::Ec2Write).await.revoke_security_group_ingress();
        let call = call.group_id(id).set_ip_permissions(Some(group.ip_permissions().to_vec()));
        let result = call.send().await.map(|_| ());
        let result = result
            .map_err(|error| ActionError::from_sdk("ec2:RevokeSecurityGroupIngress", &error));
        tolerate(result, "InvalidPermission.NotFound")?;
    }
    if !group.ip_permissions_egress().is_empty() {
        let egress = group.ip_permissions_egress().to_vec();
        let call = scope.account.ec2(Class::Ec2Write).await.revoke_security_group_egress();
        let result =
            call.group_id(id).set_ip_permissions(Some(egress)).send().await.map(|_| ());
        let result =
            result.map_err(|error| ActionError::from_sdk("ec2:RevokeSecurityGroupEgress", &error));
        tolerate(result, "InvalidPermission.NotFound")?;
    }
    Ok(())
}

/// Allows all traffic both ways, in IPv4 and IPv6.
async fn open(scope: Scope<'_>, id: &str, group: &SecurityGroup) -> Result<(), ActionError> {
    let ingress = missing(group.ip_permissions());
    if !ingress.is_empty() {
        let call = scope.account.ec2(Class::Ec2Write).await.authorize_security_group_ingress();
        let result =
            call.group_id(id).set_ip_permissions(Some(ingress)).send().await.map(|_| ());
        let result = result
            .map_err(|error| ActionError::from_sdk("ec2:AuthorizeSecurityGroupIngress", &error));
        tolerate(result, "InvalidPermission.Duplicate")?;
    }
    let egress = missing(group.ip_permissions_egress());
    if !egress.is_empty() {
        let call = scope.account.ec2(Class::Ec2Write).await.authorize_security_group_egress();
        let result = call.group_id(id).set_ip_permissions(Some(egress)).send().await.map(|_| ());
        let result = result
            .map_err(|error| ActionError::from_sdk("ec2:AuthorizeSecurityGroupEgress", &error));
        tolerate(result, "InvalidPermission.Duplicate")?;
    }
    Ok(())
}

/// What another worker did in the same moment is done.
fn tolerate(result: Result<(), ActionError>, code: &str) -> Result<(), ActionError> {
    match result {
        Err(error) if error.has_code(code) => Ok(()),
        result => result,
    }
}

fn is_empty(group: &SecurityGroup) -> bool {
    group.ip_permissions().is_empty() && group.ip_permissions_egress().is_empty()
}

fn allows_everything(group: &SecurityGroup) -> bool {
    missing(group.ip_permissions()).is_empty() && missing(group.ip_permissions_egress()).is_empty()
}

const EVERYONE_V4: &str = "0.0.0.0/0";
const EVERYONE_V6: &str = "::/0";

/// The permissions that are missing for all traffic with everyone.
fn missing(permissions: &[IpPermission]) -> Vec<IpPermission> {
    let all = || permissions.iter().filter(|it| it.ip_protocol() == Some("-1"));
    let v4 = all().flat_map(IpPermission::ip_ranges).any(|it| it.cidr_ip() == Some(EVERYONE_V4));
    let v6 =
        all().flat_map(IpPermission::ipv6_ranges).any(|it| it.cidr_ipv6() == Some(EVERYONE_V6));
    let mut missing = Vec::new();
    if !v4 {
        let range = IpRange::builder().cidr_ip(EVERYONE_V4).build();
        missing.push(IpPermission::builder().ip_protocol("-1").ip_ranges(range).build());
    }
    if !v6 {
        let range = Ipv6Range::builder().cidr_ipv6(EVERYONE_V6).build();
        missing.push(IpPermission::builder().ip_protocol("-1").ipv6_ranges(range).build());
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_v4() -> IpPermission {
        let range = IpRange::builder().cidr_ip(EVERYONE_V4).build();
        IpPermission::builder().ip_protocol("-1").ip_ranges(range).build()
    }

    #[test]
    fn a_new_group_s_default_egress_makes_it_not_empty() {
        let group = SecurityGroup::builder().ip_permissions_egress(all_v4()).build();
        assert!(!is_empty(&group));
        assert!(is_empty(&SecurityGroup::builder().build()));
    }

    #[test]
    fn what_a_transit_group_lacks_is_found_in_ipv4_and_ipv6() {
        assert_eq!(missing(&[]).len(), 2);
        assert_eq!(missing(&[all_v4()]).len(), 1);
        let https = IpPermission::builder()
            .ip_protocol("tcp")
            .ip_ranges(IpRange::builder().cidr_ip(EVERYONE_V4).build())
            .build();
        assert_eq!(missing(&[https]).len(), 2);
    }
}
