//! Deny entries in network ACLs, under rule numbers that are free.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{Filter, NetworkAcl, NetworkAclEntry, RuleAction};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::contract::{ActionContext, Undone};
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

/// One deny entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deny {
    pub(crate) acl: String,
    pub(crate) number: i32,
    pub(crate) way: Way,
    pub(crate) block: IpNet,
}

/// Into the subnets or out of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Way {
    Ingress,
    Egress,
}

impl Way {
    pub(crate) const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    fn is_of(self, entry: &NetworkAclEntry) -> bool {
        entry.egress() == Some(self == Self::Egress)
    }
}

/// The ACLs that govern these subnets.
pub(crate) async fn of_subnets(
    context: ActionContext<'_>,
    subnets: &BTreeSet<String>,
) -> Result<Vec<NetworkAcl>, ActionError> {
    describe(context, "association.subnet-id", subnets).await
}

/// The ACLs among these that exist.
pub(crate) async fn by_id(
    context: ActionContext<'_>,
    ids: &BTreeSet<String>,
) -> Result<Vec<NetworkAcl>, ActionError> {
    describe(context, "network-acl-id", ids).await
}

async fn describe(
    context: ActionContext<'_>,
    filter: &str,
    values: &BTreeSet<String>,
) -> Result<Vec<NetworkAcl>, ActionError> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let values = values.iter().cloned().collect();
    let filter = Filter::builder().name(filter).set_values(Some(values)).build();
    let mut acls = Vec::new();
    let mut next = None;
    loop {
        let ec2 = context.account.ec2(Class::Ec2Read).await;
        let call = ec2.describe_network_acls().filters(filter.clone()).set_next_token(next);
        let page =
            call.send().await.map_err(|error| from_sdk("ec2:DescribeNetworkAcls", &error))?;
        acls.extend(page.network_acls().iter().cloned());
        next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if next.is_none() {
            return Ok(acls);
        }
    }
}

fn block(entry: &NetworkAclEntry) -> Option<IpNet> {
    entry.cidr_block().or(entry.ipv6_cidr_block())?.parse().ok()
}

fn denies_all_of(entry: &NetworkAclEntry, address: &IpNet) -> bool {
    entry.rule_action() == Some(&RuleAction::Deny)
        && entry.protocol() == Some("-1")
        && block(entry).is_some_and(|block| block.contains(address))
}

/// The entries that one ACL lacks for these addresses, in this direction. They must
/// precede every entry that allows: the lowest number that matches decides (VPC user
/// guide, "Network ACL rules").
pub(crate) fn missing(
    acl: &NetworkAcl,
    way: Way,
    addresses: &[IpNet],
) -> Result<Vec<Deny>, ActionError> {
    let Some(id) = acl.network_acl_id() else { return Ok(Vec::new()) };
    let entries = || acl.entries().iter().filter(|entry| way.is_of(entry));
    let number = |entry: &NetworkAclEntry| entry.rule_number().unwrap_or(0);
    let first_allow = entries()
        .filter(|entry| entry.rule_action() == Some(&RuleAction::Allow))
        .map(number)
        .min()
        .unwrap_or(LAST);
    let taken: BTreeSet<i32> = entries().map(number).collect();
    let mut free = (1..first_allow).filter(|number| !taken.contains(number));
    let mut lacking = Vec::new();
    for address in addresses {
        let denied =
            entries().any(|entry| number(entry) < first_allow && denies_all_of(entry, address));
        if denied {
            continue;
        }
        let Some(number) = free.next() else {
            let message = format!(
                "the network ACL `{id}` has no free rule number before {first_allow}, the first that allows"
            );
            let help = "renumber its entries, so that those that allow begin at 100";
            let error = ActionError::new(ErrorKind::Failed, message);
            return Err(ActionError { help: Some(help.to_owned()), ..error });
        };
        lacking.push(Deny { acl: id.to_owned(), number, way, block: *address });
    }
    Ok(lacking)
}

/// "Rule numbers from 1 to 32766" (VPC user guide, "Network ACL rules").
const LAST: i32 = 32_767;

/// The present entry at a rule number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum There {
    Ours,
    Nothing,
    Another,
    NoAcl,
}

pub(crate) fn look(acls: &[NetworkAcl], deny: &Deny) -> There {
    let found = acls.iter().find(|acl| acl.network_acl_id() == Some(deny.acl.as_str()));
    let Some(acl) = found else { return There::NoAcl };
    let mut entries = acl.entries().iter().filter(|entry| deny.way.is_of(entry));
    match entries.find(|entry| entry.rule_number() == Some(deny.number)) {
        None => There::Nothing,
        Some(entry) if denies_all_of(entry, &deny.block) && block(entry) == Some(deny.block) => {
            There::Ours
        }
        Some(_) => There::Another,
    }
}

pub(crate) async fn create(context: ActionContext<'_>, deny: &Deny) -> Result<(), ActionError> {
    let Deny { acl, number, way, block } = deny;
    let call = context
        .account
        .ec2(Class::Ec2Write)
        .await
        .create_network_acl_entry()
        .network_acl_id(acl)
        .rule_number(*number)
        .egress(*way == Way::Egress)
        .protocol("-1")
        .rule_action(RuleAction::Deny);
    let call = match block {
        IpNet::V4(_) => call.cidr_block(block.to_string()),
        IpNet::V6(_) => call.ipv6_cidr_block(block.to_string()),
    };
    let result = call.send().await.map(|_| ());
    result.map_err(|error| {
        let error = from_sdk("ec2:CreateNetworkAclEntry", &error);
        let help = error.has_code("NetworkAclEntryLimitExceeded").then(|| {
            "a network ACL has 20 entries each way unless the quota is raised: lower `at-most`, or use an IP set or a prefix list".to_owned()
        });
        let message = format!("cannot deny {block} in `{acl}`: {}", error.message);
        ActionError { message, help: help.or(error.help), ..error }
    })
}

/// Deletes an entry, if it is still ours.
pub(crate) async fn delete(
    context: ActionContext<'_>,
    acls: &[NetworkAcl],
    deny: &Deny,
) -> Result<Undone, ActionError> {
    let Deny { acl, number, way, block } = deny;
    match look(acls, deny) {
        There::Nothing | There::NoAcl => return Ok(Undone::default()),
        There::Another => {
            let drift = vec![format!("entry {number} of {acl} was replaced since")];
            return Ok(Undone { drift, ..Undone::default() });
        }
        There::Ours => {}
    }
    let ec2 = context.account.ec2(Class::Ec2Write).await;
    let call = ec2.delete_network_acl_entry().network_acl_id(acl).rule_number(*number);
    let result = call.egress(*way == Way::Egress).send().await.map(|_| ());
    match result.map_err(|error| from_sdk("ec2:DeleteNetworkAclEntry", &error)) {
        Err(error) if error.has_code("InvalidNetworkAclEntry.NotFound") => Ok(Undone::default()),
        Err(error) => Err(error),
        Ok(()) => {
            let restored = vec![format!("{block} is not denied by {acl} any more")];
            Ok(Undone { restored, ..Undone::default() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: i32, action: RuleAction, block: &str) -> NetworkAclEntry {
        NetworkAclEntry::builder()
            .rule_number(number)
            .rule_action(action)
            .protocol("-1")
            .egress(false)
            .cidr_block(block)
            .build()
    }

    fn acl(entries: Vec<NetworkAclEntry>) -> NetworkAcl {
        NetworkAcl::builder().network_acl_id("acl-1").set_entries(Some(entries)).build()
    }

    fn numbers(acl: &NetworkAcl, addresses: &[&str]) -> Vec<i32> {
        let addresses: Vec<IpNet> = addresses.iter().map(|it| it.parse().unwrap()).collect();
        let lacking = missing(acl, Way::Ingress, &addresses).unwrap();
        lacking.iter().map(|deny| deny.number).collect()
    }

    #[test]
    fn free_numbers_before_the_first_that_allows_are_taken() {
        let default = acl(vec![entry(100, RuleAction::Allow, "0.0.0.0/0")]);
        assert_eq!(numbers(&default, &["198.51.100.7/32", "198.51.100.8/32"]), [1, 2]);
        let used = acl(vec![
            entry(1, RuleAction::Deny, "192.0.2.0/24"),
            entry(100, RuleAction::Allow, "0.0.0.0/0"),
        ]);
        assert_eq!(numbers(&used, &["198.51.100.7/32"]), [2]);
    }

    #[test]
    fn an_address_that_is_denied_already_needs_no_entry_unless_it_is_allowed_before() {
        let denied = acl(vec![
            entry(50, RuleAction::Deny, "198.51.100.0/24"),
            entry(100, RuleAction::Allow, "0.0.0.0/0"),
        ]);
        assert!(numbers(&denied, &["198.51.100.7/32"]).is_empty());
        let too_late = acl(vec![
            entry(40, RuleAction::Allow, "0.0.0.0/0"),
            entry(50, RuleAction::Deny, "198.51.100.0/24"),
        ]);
        assert_eq!(numbers(&too_late, &["198.51.100.7/32"]), [1]);
    }

    #[test]
    fn an_acl_without_a_free_number_is_reported() {
        let full = acl(vec![entry(1, RuleAction::Allow, "0.0.0.0/0")]);
        let address = ["198.51.100.7/32".parse().unwrap()];
        let error = missing(&full, Way::Ingress, &address).unwrap_err();
        assert!(error.help.is_some(), "{error}");
    }
}
