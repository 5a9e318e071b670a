//! Network interfaces and their security groups.

use aws_sdk_ec2::types::{Filter, NetworkInterface};
use serde::{Deserialize, Serialize};

use crate::account::AccountSession;
use crate::contract::{ActionContext, Undone};
use crate::support::ec2::reads;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

/// A network interface, as far as isolation needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Interface {
    pub(crate) id: String,
    pub(crate) vpc: String,
    pub(crate) subnet: String,
    /// In the order in which EC2 returned them.
    pub(crate) groups: Vec<String>,
    /// Whether an AWS service made it: then only that service may change it.
    pub(crate) requester_managed: bool,
}

/// Every interface that is attached to the instance, in every VPC.
pub(crate) async fn of_instance(
    context: ActionContext<'_>,
    instance_id: &str,
) -> Result<Vec<Interface>, ActionError> {
    reads::interfaces_of(context.account, instance_id).await
}

/// Those of these interfaces that exist, attached to an instance or not.
pub(crate) async fn by_id(
    context: ActionContext<'_>,
    ids: &[&str],
) -> Result<Vec<Interface>, ActionError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids = ids.iter().map(|&id| id.to_owned()).collect();
    let filter = Filter::builder().name("network-interface-id").set_values(Some(ids)).build();
    let described = describe(context.account, filter).await?;
    Ok(described.iter().filter_map(from_sdk_interface).collect())
}

pub(super) async fn describe(
    account: &AccountSession,
    filter: Filter,
) -> Result<Vec<NetworkInterface>, ActionError> {
    describe_filtered(account, vec![filter]).await
}

/// The interfaces that pass every filter.
pub(super) async fn describe_filtered(
    account: &AccountSession,
    filters: Vec<Filter>,
) -> Result<Vec<NetworkInterface>, ActionError> {
    let mut interfaces = Vec::new();
    let mut next = None;
    loop {
        let page = account
            .ec2(Class::Ec2Read)
            .await
            .describe_network_interfaces()
            .set_filters(Some(filters.clone()))
            .set_next_token(next)
            .send()
            .await
            .map_err(|error| from_sdk("ec2:DescribeNetworkInterfaces", &error))?;
        next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        interfaces.extend(page.network_interfaces.unwrap_or_default());
        if next.is_none() {
            return Ok(interfaces);
        }
    }
}

/// `None` where EC2 returned no id or no VPC.
pub(super) fn from_sdk_interface(described: &NetworkInterface) -> Option<Interface> {
    let groups = described.groups().iter();
    Some(Interface {
        id: described.network_interface_id()?.to_owned(),
        vpc: described.vpc_id()?.to_owned(),
        subnet: described.subnet_id().unwrap_or_default().to_owned(),
        groups: groups.filter_map(|group| group.group_id().map(str::to_owned)).collect(),
        requester_managed: described.requester_managed().unwrap_or(false),
    })
}

/// Replaces all groups of an interface with these.
pub(crate) async fn set_groups(
    context: ActionContext<'_>,
    interface: &str,
    groups: &[String],
) -> Result<(), ActionError> {
    context.account.permits(Class::NetworkInterface, 1).await;
    set_groups_permitted(context, interface, groups).await
}

/// The same without a wait: the rate limits have allowed the call already.
pub(crate) async fn set_groups_permitted(
    context: ActionContext<'_>,
    interface: &str,
    groups: &[String],
) -> Result<(), ActionError> {
    let call = context
        .account
        .ec2_permitted()
        .modify_network_interface_attribute()
        .network_interface_id(interface)
        .set_groups(Some(groups.to_vec()));
    call.send().await.map(|_| ()).map_err(|error| {
        let error = from_sdk("ec2:ModifyNetworkInterfaceAttribute", &error);
        let message = format!("cannot change the groups of `{interface}`: {}", error.message);
        ActionError { message, ..error }
    })
}

/// Gives one interface the groups that it had before, unless others changed them since.
/// `before` is the recorded state, `now` the present one, `None` where the interface is
/// gone. `is_ours` says whether the action set these groups.
pub(crate) async fn restore_groups(
    context: ActionContext<'_>,
    before: &Interface,
    now: Option<&Interface>,
    is_ours: impl Fn(&[String]) -> bool,
) -> Result<Undone, ActionError> {
    let Interface { id, groups, .. } = before;
    let drift = |what: String| Ok(Undone { drift: vec![what], ..Undone::default() });
    let Some(now) = now else { return drift(format!("`{id}` does not exist any more")) };
    if same_groups(&now.groups, groups) {
        return Ok(Undone::default());
    }
    if !is_ours(&now.groups) {
        return drift(format!("`{id}` was put into {} since", now.groups.join(", ")));
    }
    let groups_text = groups.join(", ");
    match set_groups(context, id, groups).await {
        Ok(()) => {
            let restored = vec![format!("{id} is in {groups_text} again")];
            Ok(Undone { restored, ..Undone::default() })
        }
        Err(error) if is_missing_group(&error) => drift(format!(
            "`{id}` stays as it is, because one of its groups {groups_text} was deleted since: {}",
            error.message
        )),
        Err(error) if error.kind == ErrorKind::Gone => {
            drift(format!("`{id}` does not exist any more"))
        }
        Err(error) => Err(error),
    }
}

/// Whether two lists name the same groups: neither EC2 nor RDS promises their
/// order.
pub(crate) fn same_groups(one: &[String], other: &[String]) -> bool {
    one.len() == other.len() && one.iter().all(|group| other.contains(group))
}

/// Whether a call failed because a security group does not exist, and not the interface.
pub(crate) fn is_missing_group(error: &ActionError) -> bool {
    ["InvalidGroup.NotFound", "InvalidGroupId.NotFound", "InvalidSecurityGroupID.NotFound"]
        .iter()
        .any(|code| error.has_code(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_in_another_order_are_the_same() {
        let check = |one: &[&str], other: &[&str], same: bool| {
            let owned = |groups: &[&str]| -> Vec<String> {
                groups.iter().map(|&group| group.to_owned()).collect()
            };
            assert_eq!(same_groups(&owned(one), &owned(other)), same, "{one:?} {other:?}");
        };
        check(&["sg-1", "sg-2"], &["sg-2", "sg-1"], true);
        check(&["sg-1"], &["sg-1"], true);
        check(&["sg-1", "sg-2"], &["sg-1"], false);
        check(&["sg-1"], &["sg-2"], false);
    }
}
