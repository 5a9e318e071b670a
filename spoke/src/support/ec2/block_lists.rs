//! Entries in lists of addresses that the organization keeps: an IP set of AWS
//! WAF, and a managed prefix list. What blocks the addresses in them (a web
//! ACL, a route, a firewall) is the organization's.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{AddPrefixListEntry, ManagedPrefixList, RemovePrefixListEntry};
use aws_sdk_wafv2::types::{IpAddressVersion, IpSet as WafIpSet, Scope as WafScope};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{ActionContext, Undone};
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

/// An IP set of the scope `REGIONAL`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct IpSet {
    /// Its name.
    pub(crate) name: String,
    /// Its id.
    pub(crate) id: String,
}

impl IpSet {
    async fn read(&self, context: ActionContext<'_>) -> Result<(WafIpSet, String), ActionError> {
        let call = context.account.wafv2().await.get_ip_set();
        let call = call.name(&self.name).id(&self.id).scope(WafScope::Regional);
        let output = call.send().await;
        let output = output.map_err(|error| from_sdk("wafv2:GetIPSet", &error))?;
        match (output.ip_set, output.lock_token) {
            (Some(set), Some(token)) => Ok((set, token)),
            _ => Err(ActionError::new(ErrorKind::Failed, "wafv2:GetIPSet returned no IP set")),
        }
    }

    /// What it lists.
    pub(crate) async fn listed(&self, context: ActionContext<'_>) -> Result<Listed, ActionError> {
        let (set, _) = self.read(context).await?;
        let blocks = set.addresses().iter().filter_map(|text| text.parse().ok()).collect();
        Ok(Listed { blocks, is_ipv6: *set.ip_address_version() == IpAddressVersion::Ipv6 })
    }

    /// Adds and removes blocks in one update of the present list; `false` where there
    /// was nothing to do.
    pub(crate) async fn change(
        &self,
        context: ActionContext<'_>,
        add: &BTreeSet<IpNet>,
        remove: &BTreeSet<IpNet>,
    ) -> Result<bool, ActionError> {
        let (set, token) = self.read(context).await?;
        let before: BTreeSet<&str> = set.addresses().iter().map(String::as_str).collect();
        let text = |blocks: &BTreeSet<IpNet>| -> BTreeSet<String> {
            blocks.iter().map(IpNet::to_string).collect()
        };
        let (add, remove) = (text(add), text(remove));
        let after: BTreeSet<&str> = before
            .iter()
            .copied()
            .filter(|block| !remove.contains(*block))
            .chain(add.iter().map(String::as_str))
            .collect();
        if after == before {
            return Ok(false);
        }
        // The update replaces all of it, the description too.
        let call = context
            .account
            .wafv2()
            .await
            .update_ip_set()
            .name(&self.name)
            .id(&self.id)
            .scope(WafScope::Regional)
            .set_description(set.description().filter(|it| !it.is_empty()).map(str::to_owned))
            .set_addresses(Some(after.into_iter().map(str::to_owned).collect()))
            .lock_token(token);
        let result = call.send().await.map(|_| true);
        result.map_err(|error| from_sdk("wafv2:UpdateIPSet", &error))
    }
}

/// What a list has. It takes addresses of one version only: an update with another one is
/// refused whole (WAF API reference, IPSet; EC2 API reference, ManagedPrefixList).
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    blocks: BTreeSet<IpNet>,
    is_ipv6: bool,
}

impl Listed {
    /// Whether the list takes this block.
    pub(crate) fn takes(&self, block: &IpNet) -> bool {
        matches!(block, IpNet::V6(_)) == self.is_ipv6
    }

    /// The blocks among these that it takes and lacks.
    pub(crate) fn lacks(&self, wanted: &BTreeSet<IpNet>) -> BTreeSet<IpNet> {
        wanted.difference(&self.blocks).filter(|block| self.takes(block)).copied().collect()
    }
}

/// A managed prefix list, by id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PrefixList<'a>(pub(crate) &'a str);

impl PrefixList<'_> {
    /// What it lists.
    pub(crate) async fn listed(self, context: ActionContext<'_>) -> Result<Listed, ActionError> {
        let (list, blocks) = futures::try_join!(self.describe(context), self.blocks(context))?;
        Ok(Listed { blocks, is_ipv6: list.address_family() == Some("IPv6") })
    }

    async fn blocks(self, context: ActionContext<'_>) -> Result<BTreeSet<IpNet>, ActionError> {
        let mut blocks = BTreeSet::new();
        let mut next = None;
        loop {
            let ec2 = context.account.ec2(Class::Ec2Read).await;
            let call = ec2.get_managed_prefix_list_entries().prefix_list_id(self.0);
            let page = call
                .set_next_token(next)
                .send()
                .await
                .map_err(|error| from_sdk("ec2:GetManagedPrefixListEntries", &error))?;
            blocks.extend(page.entries().iter().filter_map(|it| it.cidr()?.parse::<IpNet>().ok()));
            next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if next.is_none() {
                return Ok(blocks);
            }
        }
    }

    async fn describe(self, context: ActionContext<'_>) -> Result<ManagedPrefixList, ActionError> {
        let ec2 = context.account.ec2(Class::Ec2Read).await;
        let call = ec2.describe_managed_prefix_lists().prefix_list_ids(self.0);
        let output = call
            .send()
            .await
            .map_err(|error| from_sdk("ec2:DescribeManagedPrefixLists", &error))?;
        let list = output.prefix_lists.unwrap_or_default().into_iter().next();
        list.ok_or_else(|| {
            ActionError::new(ErrorKind::Failed, format!("there is no prefix list `{}`", self.0))
        })
    }

    /// Adds and removes blocks; `false` where there was nothing to do.
    pub(crate) async fn change(
        self,
        context: ActionContext<'_>,
        add: &BTreeSet<IpNet>,
        remove: &BTreeSet<IpNet>,
    ) -> Result<bool, ActionError> {
        // The version first: a change by another caller in between fails this one,
        // which is then tried again.
        let version = self.describe(context).await?.version().ok_or_else(|| {
            let message = format!("EC2 shows no version of the prefix list `{}`", self.0);
            ActionError::new(ErrorKind::Failed, message)
        })?;
        let present = self.blocks(context).await?;
        let entry = |block: &IpNet| {
            let description = format!("firebreak {}", context.response);
            AddPrefixListEntry::builder().cidr(block.to_string()).description(description).build()
        };
        let add: Vec<_> = add.difference(&present).map(entry).collect();
        let remove: Vec<_> = remove
            .intersection(&present)
            .map(|block| RemovePrefixListEntry::builder().cidr(block.to_string()).build())
            .collect();
        if add.is_empty() && remove.is_empty() {
            return Ok(false);
        }
        let ec2 = context.account.ec2(Class::Ec2Write).await;
        let mut call =
            ec2.modify_managed_prefix_list().prefix_list_id(self.0).current_version(version);
        for entry in add {
            call = call.add_entries(entry);
        }
        for entry in remove {
            call = call.remove_entries(entry);
        }
        let result = call.send().await.map(|_| true);
        result.map_err(|error| {
            let error = from_sdk("ec2:ModifyManagedPrefixList", &error);
            // It was changed at the same time, or a change is still in progress.
            if error.has_code("PrefixListVersionMismatch") || error.has_code("IncorrectState") {
                return ActionError { kind: ErrorKind::Transient, ..error };
            }
            error
        })
    }
}

/// The result of removing blocks from a list.
pub(crate) fn taken_out(list: &str, blocks: &BTreeSet<IpNet>, changed: bool) -> Undone {
    if !changed {
        return Undone::default();
    }
    let blocks: Vec<String> = blocks.iter().map(IpNet::to_string).collect();
    let restored = vec![format!("{} out of {list} again", blocks.join(", "))];
    Undone { restored, ..Undone::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_lacks_only_addresses_of_its_own_version() {
        let block = |text: &str| text.parse::<IpNet>().unwrap();
        let (one, two, six) =
            (block("198.51.100.7/32"), block("198.51.100.8/32"), block("2001:db8::1/128"));
        let wanted = BTreeSet::from([one, two, six]);
        let listed = |is_ipv6| Listed { blocks: BTreeSet::from([one]), is_ipv6 };
        assert_eq!(listed(false).lacks(&wanted), BTreeSet::from([two]));
        assert_eq!(listed(true).lacks(&wanted), BTreeSet::from([six]));
    }
}
