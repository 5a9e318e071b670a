//! Disassociates the Elastic IP addresses from an instance's network interfaces. Undo
//! associates each with the private address that it had.
//!
//! A public address that the subnet gave the instance is no Elastic IP address
//! and cannot be disassociated; the plan says so. Isolation cuts its traffic.

use aws_sdk_ec2::types::{Address, Filter};
use futures::future::join_all;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Reversal,
    Undone, Verification,
};
use crate::grant::{Grant, GrantScope};
use crate::support::ec2::grants::{INSTANCES, INTERFACES};
use crate::support::ec2::instance_state::id;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct DisassociateAddresses;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    instance_id: String,
    addresses: Vec<On>,
}

/// An address and what it was associated with. The association's id changes each
/// time, so it is looked up when it is needed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct On {
    allocation: String,
    public_ip: String,
    interface: String,
    private_ip: String,
}

const MOVE_ADDRESSES: GrantScope = GrantScope {
    sid: "MoveAddresses",
    why: "Elastic IP addresses come off, and go back on.",
    resources: &[
        "arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:elastic-ip/*",
        INTERFACES,
        INSTANCES,
    ],
    conditions: &[],
    within: None,
};

impl Action for DisassociateAddresses {
    const SPEC: ActionSpec = ActionSpec {
        name: "disassociate-addresses",
        sentence: "Disassociates the instance's Elastic IP addresses.",
        resource_types: &["Instance"],
        reads: &["ec2:DescribeAddresses", "ec2:DescribeInstances"],
        writes: &["ec2:AssociateAddress", "ec2:DisassociateAddress"],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] =
        &[MOVE_ADDRESSES.allows(&["ec2:AssociateAddress", "ec2:DisassociateAddress"])];
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let instance_id = id(context.resource)?;
        let filter = [instance_id.to_owned()];
        let (instance, present) = futures::join!(
            context.cache.instance(context.account, instance_id),
            describe(context, "instance-id", &filter)
        );
        instance?;
        let mut addresses: Vec<On> = present?.iter().filter_map(on).collect();
        addresses.sort_by(|one, other| one.allocation.cmp(&other.allocation));
        let changes = addresses.iter().map(|address| Change {
            what: format!("Elastic IP address {} ({})", address.public_ip, address.allocation),
            before: format!("{} {}", address.interface, address.private_ip),
            after: "on nothing".to_owned(),
        });
        let changes = changes.collect();
        let prior = Prior { instance_id: instance_id.to_owned(), addresses };
        Ok(CapturedState { prior, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        let (instance, present) = futures::join!(
            crate::support::ec2::instance::describe(context.account, &prior.instance_id),
            now(context, prior)
        );
        instance?;
        let present = present?;
        let ours = present
            .iter()
            .filter(|address| on(address).is_some_and(|on| prior.addresses.contains(&on)));
        let ended = join_all(ours.map(|address| disassociate(context, address))).await;
        let failed = ended.into_iter().filter_map(Result::err).collect();
        ActionError::all(failed).map_or(Ok(()), Err)
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let filter = [prior.instance_id.clone()];
        let left: Vec<String> = describe(context, "instance-id", &filter)
            .await?
            .iter()
            .filter_map(|address| address.public_ip().map(str::to_owned))
            .collect();
        let id = &prior.instance_id;
        Ok(if left.is_empty() {
            Verification::InEffect(format!("no Elastic IP address is on {id}"))
        } else {
            Verification::NotInEffect(format!("{} is on {id}", left.join(", ")))
        })
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let present = now(context, prior).await?;
        let ended = join_all(prior.addresses.iter().map(|before| {
            let now = present
                .iter()
                .find(|address| address.allocation_id() == Some(before.allocation.as_str()));
            restore(context, before, now)
        }))
        .await;
        Undone::all(ended)
    }
}

/// What an address is associated with; `None` where the element is left out or
/// empty (moto sends it empty): undo must not take that for a later change.
fn on(address: &Address) -> Option<On> {
    let interface = address.network_interface_id().filter(|interface| !interface.is_empty())?;
    Some(On {
        allocation: address.allocation_id()?.to_owned(),
        public_ip: address.public_ip().unwrap_or_default().to_owned(),
        interface: interface.to_owned(),
        private_ip: address.private_ip_address().unwrap_or_default().to_owned(),
    })
}

async fn describe(
    context: ActionContext<'_>,
    filter: &str,
    values: &[String],
) -> Result<Vec<Address>, ActionError> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let filter = Filter::builder().name(filter).set_values(Some(values.to_vec())).build();
    let call = context.account.ec2(Class::Ec2Read).await.describe_addresses().filters(filter);
    let output = call.send().await;
    let output = output.map_err(|error| from_sdk("ec2:DescribeAddresses", &error))?;
    Ok(output.addresses.unwrap_or_default())
}

/// The recorded addresses as they are now. They are read by filter, so that a
/// released address does not fail the call.
async fn now(context: ActionContext<'_>, prior: &Prior) -> Result<Vec<Address>, ActionError> {
    let ids: Vec<String> = prior.addresses.iter().map(|it| it.allocation.clone()).collect();
    describe(context, "allocation-id", &ids).await
}

async fn disassociate(context: ActionContext<'_>, address: &Address) -> Result<(), ActionError> {
    let Some(association) = address.association_id() else { return Ok(()) };
    let ec2 = context.account.ec2(Class::Ec2Write).await;
    let result = ec2.disassociate_address().association_id(association).send().await.map(|_| ());
    match result.map_err(|error| from_sdk("ec2:DisassociateAddress", &error)) {
        // Another caller disassociated it first.
        Err(error) if error.kind == ErrorKind::Gone => Ok(()),
        result => result,
    }
}

async fn restore(
    context: ActionContext<'_>,
    before: &On,
    now: Option<&Address>,
) -> Result<Undone, ActionError> {
    let On { allocation, public_ip, interface, private_ip } = before;
    let drift = |what: String| Ok(Undone { drift: vec![what], ..Undone::default() });
    let Some(now) = now else {
        return drift(format!("the address {public_ip} ({allocation}) was released since"));
    };
    match on(now) {
        Some(now) if now == *before => return Ok(Undone::default()),
        Some(now) => {
            return drift(format!("the address {public_ip} was put on {} since", now.interface));
        }
        None => {}
    }
    let call = context
        .account
        .ec2(Class::Ec2Write)
        .await
        .associate_address()
        .allocation_id(allocation)
        .network_interface_id(interface)
        .private_ip_address(private_ip)
        .allow_reassociation(false);
    let result = call.send().await.map(|_| ());
    match result.map_err(|error| from_sdk("ec2:AssociateAddress", &error)) {
        Ok(()) => {
            let restored = vec![format!("{public_ip} is on {interface} {private_ip} again")];
            Ok(Undone { restored, ..Undone::default() })
        }
        Err(error) if error.kind == ErrorKind::Gone => {
            drift(format!("`{interface}`, which had {public_ip}, does not exist any more"))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_an_interface_is_not_associated() {
        let address = |interface: Option<&str>| {
            let builder = Address::builder().allocation_id("eipalloc-1");
            builder.set_network_interface_id(interface.map(str::to_owned)).build()
        };
        assert_eq!(on(&address(None)), None);
        assert_eq!(on(&address(Some(""))), None);
        let found = on(&address(Some("eni-1"))).map(|on| on.interface);
        assert_eq!(found.as_deref(), Some("eni-1"));
    }
}
