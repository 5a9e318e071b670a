//! Denies the finding's remote addresses: in the network ACLs of the instance's
//! subnets, and where policy names them in an IP set of AWS WAF and in a managed
//! prefix list. Undo removes exactly the entries that were added.
//!
//! A network ACL governs its whole subnet, and cuts tracked connections as well
//! ("Network ACLs are stateless", VPC user guide): only single, public addresses are
//! denied, at most `at-most` of them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use aws_sdk_ec2::types::{Instance, NetworkAcl};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Reversal, Undone, Verification,
};
use crate::grant::{Grant, GrantScope};
use crate::support::ec2::block_lists::{IpSet, Listed, PrefixList, taken_out};
use crate::support::ec2::instance;
use crate::support::ec2::instance_state::id;
use crate::support::ec2::network_acl::{self, Deny, There, Way};
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct BlockRemoteIp;

/// Where the addresses are denied.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Parameters {
    /// In the network ACLs of the instance's subnets, both ways.
    network_acl: bool,
    /// In this IP set of AWS WAF as well, of the scope `REGIONAL`.
    ip_set: Option<IpSet>,
    /// In this managed prefix list as well, by id.
    prefix_list: Option<String>,
    /// A finding with more addresses than this is refused: an ACL has room for few
    /// entries.
    at_most: usize,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { network_acl: true, ip_set: None, prefix_list: None, at_most: 10 }
    }
}

/// The entries that are added. What was there before stays, so it is not recorded.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    acl_entries: Vec<Deny>,
    ip_set: BTreeSet<IpNet>,
    prefix_list: BTreeSet<IpNet>,
}

impl Prior {
    fn acls(&self) -> BTreeSet<String> {
        self.acl_entries.iter().map(|deny| deny.acl.clone()).collect()
    }
}

const BLOCK_ADDRESSES: GrantScope = GrantScope {
    sid: "BlockAddresses",
    why: "The lists and network ACLs that policies name.",
    resources: &[
        "arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:network-acl/*",
        "arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:prefix-list/*",
        "arn:${AWS::Partition}:wafv2:*:${AWS::AccountId}:*/ipset/*",
    ],
    conditions: &[],
    within: None,
};

impl Action for BlockRemoteIp {
    const SPEC: ActionSpec = ActionSpec {
        name: "block-remote-ip",
        sentence: "Denies the finding's remote addresses in the instance's network ACLs, and in an IP set or prefix list.",
        resource_types: &["Instance"],
        reads: &[
            "ec2:DescribeInstances",
            "ec2:DescribeManagedPrefixLists",
            "ec2:DescribeNetworkAcls",
            "ec2:GetManagedPrefixListEntries",
            "wafv2:GetIPSet",
        ],
        writes: &[
            "ec2:CreateNetworkAclEntry",
            "ec2:DeleteNetworkAclEntry",
            "ec2:ModifyManagedPrefixList",
            "wafv2:UpdateIPSet",
        ],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[BLOCK_ADDRESSES.allows(&[
        "ec2:CreateNetworkAclEntry",
        "ec2:DeleteNetworkAclEntry",
        "ec2:ModifyManagedPrefixList",
        "wafv2:UpdateIPSet",
    ])];
    const PER_FINDING: bool = true;
    type Parameters = Parameters;
    type Prior = Prior;

    fn check(parameters: &Parameters) -> Result<(), String> {
        let Parameters { network_acl, ip_set, prefix_list, at_most } = parameters;
        if !network_acl && ip_set.is_none() && prefix_list.is_none() {
            return Err("it needs `network-acl: true`, an `ip-set` or a `prefix-list`".to_owned());
        }
        if *at_most == 0 { Err("`at-most` is 1 or more".to_owned()) } else { Ok(()) }
    }

    async fn capture(
        context: ActionContext<'_>,
        parameters: &Parameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let instance_id = id(context.resource)?;
        let addresses = addresses(context.remote_addresses, parameters.at_most)?;
        let instance = context.cache.instance(context.account, instance_id).await?;
        let mut prior = Prior::default();
        if parameters.network_acl {
            prior.acl_entries = missing(&acls_of(context, instance).await?, &addresses)?;
        }
        let wanted: BTreeSet<IpNet> = addresses.into_iter().collect();
        let mut lists = Vec::new();
        if let Some(ip_set) = &parameters.ip_set {
            let listed = ip_set.listed(context).await?;
            prior.ip_set = listed.lacks(&wanted);
            lists.push(listed);
        }
        if let Some(list) = &parameters.prefix_list {
            let listed = PrefixList(list).listed(context).await?;
            prior.prefix_list = listed.lacks(&wanted);
            lists.push(listed);
        }
        // Where some are taken they are denied, and the verification reports the others.
        let is_taken = |block: &IpNet| lists.iter().any(|listed| listed.takes(block));
        if !wanted.iter().any(is_taken)
            && let Some(why) = taken_by_none(parameters, &wanted, &lists)
        {
            return Err(ActionError::new(ErrorKind::Failed, why));
        }
        let changes = changes(parameters, &prior);
        Ok(CapturedState { prior, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        instance::describe(context.account, id(context.resource)?).await?;
        let acls = network_acl::by_id(context, &prior.acls()).await?;
        let mut failed = Vec::new();
        for deny in &prior.acl_entries {
            failed.extend(put(context, &acls, deny).await.err());
        }
        if let Some(ip_set) = &parameters.ip_set {
            failed.extend(ip_set.change(context, &prior.ip_set, &BTreeSet::new()).await.err());
        }
        if let Some(list) = &parameters.prefix_list {
            let put = PrefixList(list).change(context, &prior.prefix_list, &BTreeSet::new()).await;
            failed.extend(put.err());
        }
        ActionError::all(failed).map_or(Ok(()), Err)
    }

    async fn verify(
        context: ActionContext<'_>,
        parameters: &Parameters,
        _: &Prior,
    ) -> Result<Verification, ActionError> {
        let addresses = addresses(context.remote_addresses, parameters.at_most)?;
        let mut lacking = Vec::new();
        let mut where_denied = Vec::new();
        if parameters.network_acl {
            // By the subnets that the instance is in now: it may have got another interface.
            let instance = instance::describe(context.account, id(context.resource)?).await;
            let instance = match instance {
                Ok(instance) => instance,
                Err(error) => return Verification::if_gone(error),
            };
            let acls = acls_of(context, &instance).await?;
            let missing = missing(&acls, &addresses)?;
            lacking.extend(
                missing.iter().map(|it| format!("{} is not denied by {}", it.block, it.acl)),
            );
            where_denied.push(format!("{} network ACL(s)", acls.len()));
        }
        let wanted: BTreeSet<IpNet> = addresses.iter().copied().collect();
        let mut lists = Vec::new();
        if let Some(ip_set) = &parameters.ip_set {
            lists.push((ip_set.listed(context).await?, ip_set.name.as_str()));
        }
        if let Some(list) = &parameters.prefix_list {
            lists.push((PrefixList(list).listed(context).await?, list.as_str()));
        }
        for (listed, name) in &lists {
            let lacks = listed.lacks(&wanted);
            lacking.extend(lacks.iter().map(|block| format!("{block} is not in {name}")));
            where_denied.push((*name).to_owned());
        }
        let lists: Vec<Listed> = lists.into_iter().map(|(listed, _)| listed).collect();
        lacking.extend(taken_by_none(parameters, &wanted, &lists));
        Ok(if lacking.is_empty() {
            let (count, by) = (addresses.len(), where_denied.join(", "));
            Verification::InEffect(format!("{count} remote address(es) denied by {by}"))
        } else {
            Verification::NotInEffect(lacking.join("; "))
        })
    }

    async fn undo(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let acls = network_acl::by_id(context, &prior.acls()).await?;
        let mut ended = Vec::new();
        for deny in &prior.acl_entries {
            ended.push(network_acl::delete(context, &acls, deny).await);
        }
        if let Some(ip_set) = &parameters.ip_set {
            let changed = ip_set.change(context, &BTreeSet::new(), &prior.ip_set).await;
            ended.push(changed.map(|changed| taken_out(&ip_set.name, &prior.ip_set, changed)));
        }
        if let Some(list) = &parameters.prefix_list {
            let changed =
                PrefixList(list).change(context, &BTreeSet::new(), &prior.prefix_list).await;
            ended.push(changed.map(|changed| taken_out(list, &prior.prefix_list, changed)));
        }
        Undone::all(ended)
    }
}

/// The network ACLs that govern the subnets of an instance.
///
/// # Errors
///
/// `Failed` where a subnet shows none, or the instance no subnet: nothing would be denied. A
/// participant of a shared VPC does not see the ACLs of its owner (VPC user guide, "Share your
/// VPC subnets with other accounts").
async fn acls_of(
    context: ActionContext<'_>,
    instance: &Instance,
) -> Result<Vec<NetworkAcl>, ActionError> {
    let id = instance.instance_id().unwrap_or_default();
    let interfaces = instance.network_interfaces().iter();
    let subnets: BTreeSet<String> =
        interfaces.filter_map(|interface| interface.subnet_id().map(str::to_owned)).collect();
    if subnets.is_empty() {
        let message = format!("the instance `{id}` has no network interface");
        return Err(ActionError::new(ErrorKind::Failed, message));
    }
    let acls = network_acl::of_subnets(context, &subnets).await?;
    let governs = |acl: &NetworkAcl, subnet: &str| {
        acl.associations().iter().any(|it| it.subnet_id() == Some(subnet))
    };
    if let Some(subnet) = subnets.iter().find(|subnet| !acls.iter().any(|it| governs(it, subnet))) {
        let message = format!("no network ACL is shown for `{subnet}`, where `{id}` is");
        let help = "in a shared VPC only its owner has the network ACLs: use isolate-instance, or an `ip-set` or `prefix-list`".to_owned();
        let error = ActionError::new(ErrorKind::Failed, message);
        return Err(ActionError { help: Some(help), ..error });
    }
    Ok(acls)
}

/// The entries that these ACLs lack, each way.
fn missing(acls: &[NetworkAcl], addresses: &[IpNet]) -> Result<Vec<Deny>, ActionError> {
    let mut lacking = Vec::new();
    for acl in acls {
        for way in Way::BOTH {
            lacking.extend(network_acl::missing(acl, way, addresses)?);
        }
    }
    Ok(lacking)
}

/// Why some addresses are denied nowhere: lists take addresses of one version, a network ACL
/// both.
fn taken_by_none(
    parameters: &Parameters,
    wanted: &BTreeSet<IpNet>,
    lists: &[Listed],
) -> Option<String> {
    let is_taken = |block: &IpNet| lists.iter().any(|listed| listed.takes(block));
    let left: Vec<String> =
        wanted.iter().filter(|block| !is_taken(block)).map(IpNet::to_string).collect();
    (!parameters.network_acl && !left.is_empty())
        .then(|| format!("no list takes {}: its addresses are of another version", left.join(", ")))
}

/// The finding's addresses that may be denied, each as a block of one address.
fn addresses(named: &[String], at_most: usize) -> Result<Vec<IpNet>, ActionError> {
    let public: BTreeSet<IpNet> = named
        .iter()
        .filter_map(|text| text.parse::<IpAddr>().ok())
        .filter(is_public)
        .map(IpNet::from)
        .collect();
    if public.is_empty() {
        let message = "the finding names no public remote address";
        return Err(ActionError::new(ErrorKind::NotApplicable, message));
    }
    if public.len() > at_most {
        let count = public.len();
        let message = format!("the finding names {count} remote addresses, more than {at_most}");
        let help = "raise `at-most`, or use isolate-instance for this finding".to_owned();
        let error = ActionError::new(ErrorKind::Refused, message);
        return Err(ActionError { help: Some(help), ..error });
    }
    Ok(public.into_iter().collect())
}

/// A private address is never denied: a finding may name another host of the same
/// network, and the ACL governs the whole subnet.
fn is_public(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            // 100.64.0.0/10 is shared address space (RFC 6598).
            let shared = first == 100 && (64..128).contains(&second);
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_broadcast()
                || address.is_multicast()
                || shared)
        }
        IpAddr::V6(address) => {
            !(address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unique_local()
                || address.is_unicast_link_local())
        }
    }
}

fn changes(parameters: &Parameters, prior: &Prior) -> Vec<Change> {
    let change =
        |what: String, after: String| Change { what, before: "not there".to_owned(), after };
    let entries = prior.acl_entries.iter().map(|Deny { acl, number, way, block }| {
        let way = match way {
            Way::Ingress => "ingress",
            Way::Egress => "egress",
        };
        change(format!("{way} entry {number} of {acl}"), format!("deny all of {block}"))
    });
    let listed = |list: String, blocks: &BTreeSet<IpNet>| -> Vec<Change> {
        let one = |block: &IpNet| change(format!("{block} in {list}"), "listed".to_owned());
        blocks.iter().map(one).collect()
    };
    let ip_set =
        parameters.ip_set.as_ref().map(|set| listed(format!("IP set {}", set.name), &prior.ip_set));
    let prefix_list =
        parameters.prefix_list.as_ref().map(|list| listed(list.clone(), &prior.prefix_list));
    entries.chain(ip_set.into_iter().flatten()).chain(prefix_list.into_iter().flatten()).collect()
}

async fn put(
    context: ActionContext<'_>,
    acls: &[NetworkAcl],
    deny: &Deny,
) -> Result<(), ActionError> {
    match network_acl::look(acls, deny) {
        There::Ours => Ok(()),
        There::Nothing => network_acl::create(context, deny).await,
        There::NoAcl => Err(ActionError::new(
            ErrorKind::Gone,
            format!("the network ACL `{}` does not exist any more", deny.acl),
        )),
        There::Another => Err(ActionError::new(
            ErrorKind::Failed,
            format!(
                "entry {} of `{}` was taken by another rule since the plan was made",
                deny.number, deny.acl
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_denied_and_not_too_many() {
        let named = |texts: &[&str]| texts.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
        let check = |texts: &[&str], expected: Result<usize, ErrorKind>| {
            let found = addresses(&named(texts), 2).map(|it| it.len()).map_err(|it| it.kind);
            assert_eq!(found, expected, "{texts:?}");
        };
        check(&["198.51.100.7", "2001:db8::1"], Ok(2));
        check(&["198.51.100.7", "198.51.100.7", "10.0.0.1"], Ok(1));
        check(
            &["10.0.0.1", "fe80::1", "169.254.169.254", "nonsense"],
            Err(ErrorKind::NotApplicable),
        );
        check(&[], Err(ErrorKind::NotApplicable));
        check(&["198.51.100.1", "198.51.100.2", "198.51.100.3"], Err(ErrorKind::Refused));
    }
}
