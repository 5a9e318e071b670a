//! The security groups that isolate instances: found, checked, created, repaired and, if
//! no interface uses them, deleted. The isolation group is one for each VPC. A transit
//! group belongs to one response and is deleted as soon as it was passed through: it
//! allows everything, and whatever reads or repairs groups would report it or change it.
//!
//! Only Firebreak uses these names: a rule that others add to one is an opening in
//! the isolation of every instance in it. It is removed, the plan shows it, and no undo
//! restores it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, Ipv6Range, ResourceType, SecurityGroup, Tag, TagSpecification,
};
use firebreak_model::digest::sha256_hex_of_parts;
use futures::future::join_all;
use ipnet::IpNet;

use crate::account::AccountSession;
use crate::contract::{ActionContext, Change};
use crate::support::ec2::isolation_rules::{self, Direction};
use crate::support::ec2::reads;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

/// What a group is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose<'a> {
    /// No traffic, except connections that these blocks begin.
    Isolation { allow: &'a [IpNet] },
    /// All traffic, so that the flows of an interface become untracked; for one response.
    Transit { response: &'a str },
}

impl Purpose<'_> {
    /// No traffic.
    pub(crate) const ISOLATION: Purpose<'static> = Purpose::Isolation { allow: &[] };

    /// The group's name in every VPC. A group with openings is another than
    /// the one without, and one for each set of openings.
    pub(crate) fn group_name(self) -> Cow<'static, str> {
        match self {
            Self::Isolation { allow: [] } => Cow::Borrowed(ISOLATION),
            Self::Isolation { allow } => {
                let blocks: BTreeSet<String> = allow.iter().map(IpNet::to_string).collect();
                let mut digits = sha256_hex_of_parts(blocks);
                digits.truncate(8);
                Cow::Owned(format!("{ISOLATION}-{digits}"))
            }
            Self::Transit { response } => Cow::Owned(format!("{TRANSIT}-{response}")),
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Isolation { allow: [] } => "Firebreak: no traffic in or out. Do not add rules.",
            Self::Isolation { .. } => "Firebreak: forensics only. Do not add rules.",
            Self::Transit { .. } => {
                "Firebreak: passed through for a moment to cut tracked connections."
            }
        }
    }

    /// The blocks with which all traffic is allowed in this direction.
    fn blocks(self, direction: Direction) -> Vec<String> {
        match (self, direction) {
            (Self::Isolation { allow }, Direction::Ingress) => {
                allow.iter().map(IpNet::to_string).collect()
            }
            (Self::Isolation { .. }, Direction::Egress) => Vec::new(),
            (Self::Transit { .. }, _) => [EVERYONE_V4, EVERYONE_V6].map(str::to_owned).to_vec(),
        }
    }

    fn is_clean(self, group: &SecurityGroup) -> bool {
        Direction::BOTH.iter().all(|direction| {
            let GroupRepair { revoke, authorize } =
                repair_of(direction.permissions(group), &self.blocks(*direction));
            revoke.is_empty() && authorize.is_empty()
        })
    }
}

const ISOLATION: &str = "firebreak-isolation";
const TRANSIT: &str = "firebreak-transit";

/// The permissions that a group has and should not, and those that it lacks.
struct GroupRepair {
    revoke: Vec<IpPermission>,
    authorize: Vec<IpPermission>,
}

/// All groups of Firebreak's names: in one VPC, or in all.
pub(crate) async fn describe(
    context: ActionContext<'_>,
    vpc: Option<&str>,
) -> Result<Vec<SecurityGroup>, ActionError> {
    match vpc {
        Some(_) => describe_in(context.account, vpc).await,
        None => reads::groups(context.account).await,
    }
}

/// Whether a group is the account's own. The owner of a shared VPC also sees the groups of the
/// participants, which may have the same names, and cannot use them (VPC user guide, "Share
/// your VPC subnets with other accounts").
pub(crate) fn is_own(group: &SecurityGroup, account: &AccountSession) -> bool {
    group.owner_id().is_none_or(|owner| owner == account.id.as_str())
}

/// The same, with a call of its own.
pub(super) async fn describe_in(
    account: &AccountSession,
    vpc: Option<&str>,
) -> Result<Vec<SecurityGroup>, ActionError> {
    let names = Filter::builder()
        .name("group-name")
        .values(format!("{ISOLATION}*"))
        .values(format!("{TRANSIT}*"))
        .build();
    let vpc = vpc.map(|vpc| Filter::builder().name("vpc-id").values(vpc).build());
    let filters: Vec<Filter> = std::iter::once(names).chain(vpc).collect();
    let mut groups = Vec::new();
    let mut next = None;
    loop {
        let page = account
            .ec2(Class::Ec2Read)
            .await
            .describe_security_groups()
            .set_filters(Some(filters.clone()))
            .set_next_token(next)
            .send()
            .await
            .map_err(|error| from_sdk("ec2:DescribeSecurityGroups", &error))?;
        groups.extend(page.security_groups().iter().filter(|it| is_own(it, account)).cloned());
        next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if next.is_none() {
            return Ok(groups);
        }
    }
}

/// The groups of this purpose among these that have the right rules: their ids by VPC.
pub(crate) fn clean(groups: &[SecurityGroup], purpose: Purpose<'_>) -> BTreeMap<String, String> {
    let name = purpose.group_name();
    groups
        .iter()
        .filter(|group| group.group_name() == Some(&*name) && purpose.is_clean(group))
        .filter_map(|group| Some((group.vpc_id()?.to_owned(), group.group_id()?.to_owned())))
        .collect()
}

/// The changes of a plan to groups in a VPC whose rules have to be repaired.
pub(crate) fn repairs(groups: &[SecurityGroup], vpc: &str, purpose: Purpose<'_>) -> Vec<Change> {
    let name = purpose.group_name();
    groups
        .iter()
        .filter(|group| group.vpc_id() == Some(vpc) && group.group_name() == Some(&*name))
        .filter(|group| !purpose.is_clean(group))
        .map(|group| Change {
            what: format!("rules of {name} ({}) in {vpc}", group.group_id().unwrap_or_default()),
            before: format!(
                "{} permission(s) in, {} out",
                group.ip_permissions().len(),
                group.ip_permissions_egress().len()
            ),
            after: match purpose {
                Purpose::Isolation { allow: [] } => "none".to_owned(),
                Purpose::Isolation { allow } => format!("only what {allow:?} begin"),
                Purpose::Transit { .. } => "all traffic in and out".to_owned(),
            },
        })
        .collect()
}

/// How long to wait before each further try: EC2 is eventually consistent.
const WAITS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// Makes the VPC's group of this purpose, or repairs it, and returns its id.
pub(crate) async fn ensure(
    context: ActionContext<'_>,
    vpc: &str,
    purpose: Purpose<'_>,
) -> Result<String, ActionError> {
    create(context, vpc, purpose).await?;
    // Read back in every case: a new group allows all egress, in IPv6 too where
    // the VPC has it, and another worker may have made it in the same moment.
    for wait in WAITS {
        tokio::time::sleep(wait).await;
        let groups = describe(context, Some(vpc)).await?;
        let of_purpose =
            |group: &&SecurityGroup| group.group_name() == Some(&*purpose.group_name());
        let Some(group) = groups.iter().find(of_purpose) else { continue };
        let Some(id) = group.group_id() else { continue };
        // Boxed, so that the rare repair does not enlarge every isolation's future.
        if Box::pin(repair(context, id, group, purpose)).await? {
            return Ok(id.to_owned());
        }
    }
    Err(not_ready(vpc, purpose))
}

fn not_ready(vpc: &str, purpose: Purpose<'_>) -> ActionError {
    let name = purpose.group_name();
    let message = format!("the group `{name}` in {vpc} is not ready yet");
    ActionError::new(ErrorKind::Transient, message)
}

/// Makes the transit group of this response in a VPC, and returns its id. One that a crash
/// left is used as it is, or deleted and made again if its rules were changed.
pub(crate) async fn make_transit(
    context: ActionContext<'_>,
    vpc: &str,
) -> Result<String, ActionError> {
    let purpose = Purpose::Transit { response: context.response };
    let mut made = None;
    for wait in WAITS {
        tokio::time::sleep(wait).await;
        if made.is_none() {
            made = create(context, vpc, purpose).await?;
        }
        if let Some(id) = &made {
            // A new group allows all traffic out, in IPv6 too where the VPC has it (EC2
            // user guide, "Default security groups"): only traffic in is missing.
            let everything = purpose.blocks(Direction::Ingress);
            let GroupRepair { authorize, .. } = repair_of(&[], &everything);
            if isolation_rules::authorize_ingress(context, id, authorize).await? {
                return Ok(id.clone());
            }
            // It is not visible yet, or a try whose answer was lost has added the rule.
        }
        let name = purpose.group_name();
        let groups = describe(context, Some(vpc)).await?;
        let left = groups.iter().find(|group| group.group_name() == Some(&*name));
        let Some((left, id)) = left.and_then(|left| Some((left, left.group_id()?))) else {
            continue;
        };
        let lets_all_in = || {
            let everything = purpose.blocks(Direction::Ingress);
            repair_of(Direction::Ingress.permissions(left), &everything).authorize.is_empty()
        };
        if purpose.is_clean(left) || (made.is_some() && lets_all_in()) {
            return Ok(id.to_owned());
        }
        if made.is_none() {
            delete(context, id).await?;
        }
    }
    Err(not_ready(vpc, purpose))
}

/// Makes the group unless it is there; returns the id of a new one.
async fn create(
    context: ActionContext<'_>,
    vpc: &str,
    purpose: Purpose<'_>,
) -> Result<Option<String>, ActionError> {
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::SecurityGroup)
        .tags(Tag::builder().key(TAG_KEY).value(TAG_VALUE).build())
        .build();
    let call = context
        .account
        .ec2(Class::Ec2Write)
        .await
        .create_security_group()
        .group_name(purpose.group_name())
        .description(purpose.description())
        .vpc_id(vpc)
        .tag_specifications(tags);
    match call.send().await.map_err(|error| from_sdk("ec2:CreateSecurityGroup", &error)) {
        Ok(output) => Ok(output.group_id),
        Err(error) if error.has_code("InvalidGroup.Duplicate") => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives a group the rules of its purpose, with concurrent calls. `false` when another caller
/// changed it at the same time: then it has to be read again.
async fn repair(
    context: ActionContext<'_>,
    id: &str,
    group: &SecurityGroup,
    purpose: Purpose<'_>,
) -> Result<bool, ActionError> {
    let [ingress, egress] = Direction::BOTH
        .map(|direction| repair_of(direction.permissions(group), &purpose.blocks(direction)));
    let (ingress_revoked, ingress_authorized, egress_revoked) = futures::try_join!(
        isolation_rules::revoke(context, id, Direction::Ingress, ingress.revoke),
        isolation_rules::authorize_ingress(context, id, ingress.authorize),
        isolation_rules::revoke(context, id, Direction::Egress, egress.revoke)
    )?;
    // No isolation group allows traffic out; a transit group is made anew instead.
    Ok(ingress_revoked && ingress_authorized && egress_revoked && egress.authorize.is_empty())
}

const TAG_KEY: &str = "firebreak";
const TAG_VALUE: &str = "managed";

fn is_ours(group: &SecurityGroup) -> bool {
    group.tags().iter().any(|tag| tag.key() == Some(TAG_KEY) && tag.value() == Some(TAG_VALUE))
}

/// Deletes those of these groups in these VPCs that Firebreak made and no
/// interface uses; says which. A group without our tag was made by the
/// organization and stays.
pub(crate) async fn delete_unused(
    context: ActionContext<'_>,
    groups: &[SecurityGroup],
    isolation: Purpose<'_>,
    vpcs: &[String],
) -> Result<Vec<String>, ActionError> {
    let ended = vpcs.iter().map(|vpc| delete_pair(context, groups, isolation, vpc));
    let ended = join_all(ended).await;
    let (deleted, failed): (Vec<_>, Vec<_>) = ended.into_iter().partition(Result::is_ok);
    match ActionError::all(failed.into_iter().filter_map(Result::err).collect()) {
        Some(error) => Err(error),
        None => Ok(deleted.into_iter().filter_map(Result::ok).flatten().collect()),
    }
}

/// One VPC's groups: the isolation group, and a transit group that a crash left.
async fn delete_pair(
    context: ActionContext<'_>,
    groups: &[SecurityGroup],
    isolation: Purpose<'_>,
    vpc: &str,
) -> Result<Vec<String>, ActionError> {
    let mut deleted = Vec::new();
    for purpose in [isolation, Purpose::Transit { response: context.response }] {
        let ours = groups.iter().find(|group| {
            group.vpc_id() == Some(vpc)
                && group.group_name() == Some(&*purpose.group_name())
                && is_ours(group)
        });
        let Some(id) = ours.and_then(SecurityGroup::group_id) else { continue };
        match delete(context, id).await? {
            Deleted::Yes => deleted.push(format!("the unused group {id} is deleted")),
            // Another response still needs it.
            Deleted::Gone | Deleted::InUse => {}
        }
    }
    Ok(deleted)
}

/// What became of a group that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deleted {
    Yes,
    /// It did not exist.
    Gone,
    /// An interface is in it.
    InUse,
}

async fn delete(context: ActionContext<'_>, id: &str) -> Result<Deleted, ActionError> {
    let call = context.account.ec2(Class::Ec2Write).await.delete_security_group().group_id(id);
    let result = call.send().await.map(|_| ());
    match result.map_err(|error| from_sdk("ec2:DeleteSecurityGroup", &error)) {
        Ok(()) => Ok(Deleted::Yes),
        Err(error) if error.kind == ErrorKind::Gone => Ok(Deleted::Gone),
        Err(error)
            if error.has_code("DependencyViolation") || error.has_code("InvalidGroup.InUse") =>
        {
            Ok(Deleted::InUse)
        }
        Err(error) => Err(error),
    }
}

/// Deletes a transit group that was passed through. An interface that has just left it
/// may still count as in it for a moment.
///
/// # Errors
///
/// `Transient` while an interface is in it.
pub(crate) async fn delete_transit(
    context: ActionContext<'_>,
    id: &str,
) -> Result<(), ActionError> {
    for wait in WAITS {
        tokio::time::sleep(wait).await;
        if delete(context, id).await? != Deleted::InUse {
            return Ok(());
        }
    }
    let message = format!("the group {id}, which allows all traffic, is still in use");
    Err(ActionError::new(ErrorKind::Transient, message))
}

const EVERYONE_V4: &str = "0.0.0.0/0";
const EVERYONE_V6: &str = "::/0";

/// How permissions differ from "all traffic with these blocks".
/// Only a group that says exactly that makes flows untracked for certain: they
/// are tracked again where a narrower rule matches as well (EC2 user guide,
/// "Security group connection tracking").
fn repair_of(permissions: &[IpPermission], blocks: &[String]) -> GroupRepair {
    let (mut present, mut revoke) = (BTreeSet::new(), Vec::new());
    let mut wanted = |block: Option<&str>| {
        let wanted = block.filter(|block| blocks.iter().any(|wanted| wanted == block));
        present.extend(wanted.map(str::to_owned));
        wanted.is_some()
    };
    for permission in permissions {
        if permission.ip_protocol() != Some("-1") {
            revoke.push(permission.clone());
            continue;
        }
        let mut rest = permission.clone();
        if let Some(ranges) = &mut rest.ip_ranges {
            ranges.retain(|range| !wanted(range.cidr_ip()));
        }
        if let Some(ranges) = &mut rest.ipv6_ranges {
            ranges.retain(|range| !wanted(range.cidr_ipv6()));
        }
        let empty = rest.ip_ranges().is_empty()
            && rest.ipv6_ranges().is_empty()
            && rest.prefix_list_ids().is_empty()
            && rest.user_id_group_pairs().is_empty();
        if !empty {
            revoke.push(rest);
        }
    }
    let missing = blocks.iter().filter(|block| !present.contains(*block));
    let authorize = missing
        .map(|block| {
            let builder = IpPermission::builder().ip_protocol("-1");
            let builder = if block.contains(':') {
                builder.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(block).build())
            } else {
                builder.ip_ranges(IpRange::builder().cidr_ip(block).build())
            };
            builder.build()
        })
        .collect();
    GroupRepair { revoke, authorize }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::builders::{IpPermissionBuilder, SecurityGroupBuilder};
    use aws_sdk_ec2::types::{PrefixListId, UserIdGroupPair};

    use super::*;

    fn v4(block: &str) -> IpPermissionBuilder {
        let range = IpRange::builder().cidr_ip(block).build();
        IpPermission::builder().ip_protocol("-1").ip_ranges(range)
    }

    fn v6(block: &str) -> IpPermissionBuilder {
        let range = Ipv6Range::builder().cidr_ipv6(block).build();
        IpPermission::builder().ip_protocol("-1").ipv6_ranges(range)
    }

    const TRANSIT_OF_ONE: Purpose<'static> = Purpose::Transit { response: "r-1" };

    fn group() -> SecurityGroupBuilder {
        SecurityGroup::builder()
    }

    #[test]
    fn an_isolation_group_is_clean_without_any_rule_only() {
        let check = |group: SecurityGroupBuilder, clean: bool| {
            assert_eq!(Purpose::ISOLATION.is_clean(&group.clone().build()), clean, "{group:?}");
        };
        check(group(), true);
        check(group().ip_permissions_egress(v4(EVERYONE_V4).build()), false);
        check(group().ip_permissions_egress(v6(EVERYONE_V6).build()), false);
        check(group().ip_permissions(v4("10.0.0.1/32").build()), false);
        let list = PrefixListId::builder().prefix_list_id("pl-1").build();
        let list = IpPermission::builder().ip_protocol("-1").prefix_list_ids(list).build();
        check(group().ip_permissions_egress(list), false);
        let pair = UserIdGroupPair::builder().group_id("sg-1").build();
        let pair = IpPermission::builder().ip_protocol("tcp").user_id_group_pairs(pair).build();
        check(group().ip_permissions(pair), false);
    }

    #[test]
    fn a_transit_group_is_clean_with_everything_both_ways_and_nothing_else() {
        let both =
            || v4(EVERYONE_V4).ipv6_ranges(Ipv6Range::builder().cidr_ipv6(EVERYONE_V6).build());
        let check = |group: SecurityGroupBuilder, clean: bool| {
            assert_eq!(TRANSIT_OF_ONE.is_clean(&group.clone().build()), clean, "{group:?}");
        };
        check(group(), false);
        let open = || group().ip_permissions(both().build());
        check(open(), false);
        check(open().ip_permissions_egress(both().build()), true);
        let apart = open()
            .ip_permissions_egress(v4(EVERYONE_V4).build())
            .ip_permissions_egress(v6(EVERYONE_V6).build());
        check(apart.clone(), true);
        check(apart.ip_permissions(v4("10.0.0.0/8").build()), false);
    }

    #[test]
    fn mending_revokes_what_is_too_much_and_authorizes_what_is_missing() {
        let https = IpPermission::builder()
            .ip_protocol("tcp")
            .ip_ranges(IpRange::builder().cidr_ip(EVERYONE_V4).build())
            .build();
        let range = IpRange::builder().cidr_ip("10.0.0.0/8").build();
        let mixed = v4(EVERYONE_V4).ip_ranges(range).build();
        let GroupRepair { revoke, authorize } =
            repair_of(&[https.clone(), mixed], &TRANSIT_OF_ONE.blocks(Direction::Egress));
        assert_eq!(revoke, [https.clone(), v4("10.0.0.0/8").build()]);
        assert_eq!(authorize, [v6(EVERYONE_V6).build()]);
        let GroupRepair { revoke, authorize } = repair_of(std::slice::from_ref(&https), &[]);
        assert_eq!((revoke, authorize), (vec![https], Vec::new()));
    }

    #[test]
    fn only_clean_groups_are_found_and_the_others_are_said_to_be_repaired() {
        let named = |id: &str, purpose: Purpose<'_>| {
            group().group_id(id).vpc_id("vpc-1").group_name(purpose.group_name())
        };
        let dirty = named("sg-2", TRANSIT_OF_ONE).build();
        let groups = [named("sg-1", Purpose::ISOLATION).build(), dirty];
        let found = BTreeMap::from([("vpc-1".to_owned(), "sg-1".to_owned())]);
        assert_eq!(clean(&groups, Purpose::ISOLATION), found);
        assert!(repairs(&groups, "vpc-1", Purpose::ISOLATION).is_empty());
        let [change] = repairs(&groups, "vpc-1", TRANSIT_OF_ONE).try_into().unwrap();
        assert_eq!(change.what, "rules of firebreak-transit-r-1 (sg-2) in vpc-1");
    }

    #[test]
    fn an_isolation_with_openings_has_a_group_of_its_own_and_only_those_openings() {
        let allow: Vec<IpNet> =
            ["192.0.2.0/28", "2001:db8::/64"].map(|it| it.parse().unwrap()).into();
        let other: Vec<IpNet> = allow.iter().rev().copied().collect();
        let purpose = Purpose::Isolation { allow: &allow };
        assert_eq!(purpose.group_name(), Purpose::Isolation { allow: &other }.group_name());
        assert_ne!(purpose.group_name(), Purpose::ISOLATION.group_name());
        let open = group()
            .ip_permissions(v4("192.0.2.0/28").build())
            .ip_permissions(v6("2001:db8::/64").build());
        assert!(purpose.is_clean(&open.clone().build()));
        assert!(!purpose.is_clean(&group().build()));
        assert!(
            !purpose.is_clean(&open.clone().ip_permissions(v4("192.0.2.0/24").build()).build())
        );
        assert!(!purpose.is_clean(&open.ip_permissions_egress(v4("192.0.2.0/28").build()).build()));
    }
}
