//! EC2's descriptions of an instance and its surroundings at one moment, as JSON.
//! What cannot be read is named; the rest is kept all the same.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{
    Filter, Instance, IpPermission, NetworkInterface, RouteTable, SecurityGroup, Subnet, Tag,
    Volume,
};
use serde_json::{Map, Value, json};

use crate::contract::ActionContext;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

/// Reads all of one list, page by page.
macro_rules! listing {
    ($name:ident, $call:ident, $list:ident, $operation:literal, $report:expr) => {
        async fn $name(
            context: ActionContext<'_>,
            filter: &str,
            values: Vec<String>,
        ) -> Result<Vec<Value>, ActionError> {
            let mut found = Vec::new();
            if values.is_empty() {
                return Ok(found);
            }
            let filter = Filter::builder().name(filter).set_values(Some(values)).build();
            let mut next = None;
            loop {
                let page = context
                    .account
                    .ec2(Class::Ec2Read)
                    .await
                    .$call()
                    .filters(filter.clone())
                    .set_next_token(next)
                    .send()
                    .await
                    .map_err(|error| from_sdk($operation, &error))?;
                found.extend(page.$list().iter().map($report));
                next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
                if next.is_none() {
                    return Ok(found);
                }
            }
        }
    };
}

listing!(
    interfaces,
    describe_network_interfaces,
    network_interfaces,
    "ec2:DescribeNetworkInterfaces",
    interface
);
listing!(groups, describe_security_groups, security_groups, "ec2:DescribeSecurityGroups", group);
listing!(volumes, describe_volumes, volumes, "ec2:DescribeVolumes", volume);
listing!(subnets, describe_subnets, subnets, "ec2:DescribeSubnets", subnet);
listing!(route_tables, describe_route_tables, route_tables, "ec2:DescribeRouteTables", route_table);

/// The instance with its interfaces, groups, volumes, subnets and routes; and
/// what could not be read.
///
/// # Errors
///
/// Only a transient failure: then everything is read again.
pub(crate) async fn read(
    context: ActionContext<'_>,
    described: &Instance,
) -> Result<(Value, Vec<String>), ActionError> {
    let instance_id = described.instance_id().unwrap_or_default().to_owned();
    let mut whole = Map::from_iter([("instance".to_owned(), instance(described))]);
    let mut missing = Vec::new();
    let mut add = |name: &str, found: Result<Vec<Value>, ActionError>| match found {
        Ok(found) => {
            whole.insert(name.to_owned(), Value::Array(found));
            Ok(())
        }
        Err(error) if error.kind == ErrorKind::Transient => Err(error),
        Err(error) => {
            missing.push(format!("{name}: {}", error.message));
            Ok(())
        }
    };
    let found = interfaces(context, "attachment.instance-id", vec![instance_id.clone()]).await;
    let around: &[Value] = found.as_deref().unwrap_or_default();
    let own = described.security_groups().iter().filter_map(|it| it.group_id());
    let of_groups = distinct(own, around, "groups");
    let vpcs = distinct(described.vpc_id(), around, "vpc");
    add("interfaces", found)?;
    add("groups", groups(context, "group-id", of_groups).await)?;
    add("volumes", volumes(context, "attachment.instance-id", vec![instance_id]).await)?;
    add("subnets", subnets(context, "vpc-id", vpcs.clone()).await)?;
    add("routeTables", route_tables(context, "vpc-id", vpcs).await)?;
    Ok((Value::Object(whole), missing))
}

/// The instance's own ids and those of its interfaces, each once.
fn distinct<'a>(
    own: impl IntoIterator<Item = &'a str>,
    interfaces: &[Value],
    name: &str,
) -> Vec<String> {
    let found = interfaces.iter().filter_map(|it| it.get(name));
    let listed = found.flat_map(|value| match value.as_array() {
        Some(values) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>(),
        None => value.as_str().into_iter().collect(),
    });
    let all: BTreeSet<String> =
        own.into_iter().map(str::to_owned).chain(listed.map(str::to_owned)).collect();
    all.into_iter().collect()
}

fn tags(tags: &[Tag]) -> Value {
    tags.iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), json!(tag.value()))))
        .collect::<Map<_, _>>()
        .into()
}

fn instance(it: &Instance) -> Value {
    let metadata = it.metadata_options();
    let profile = it.iam_instance_profile();
    json!({
        "id": it.instance_id(),
        "type": it.instance_type().map(|kind| kind.as_str()),
        "image": it.image_id(),
        "state": it.state().and_then(|state| state.name()).map(|name| name.as_str()),
        "stateReason": it.state_transition_reason(),
        "launched": it.launch_time().map(ToString::to_string),
        "platform": it.platform_details(),
        "architecture": it.architecture().map(|kind| kind.as_str()),
        "keyPair": it.key_name(),
        "vpc": it.vpc_id(),
        "subnet": it.subnet_id(),
        "privateAddress": it.private_ip_address(),
        "publicAddress": it.public_ip_address(),
        "profile": profile.and_then(|profile| profile.arn()),
        "groups": it.security_groups().iter().map(|group| group.group_id()).collect::<Vec<_>>(),
        "metadataTokens": metadata.and_then(|it| it.http_tokens()).map(|it| it.as_str()),
        "metadataHops": metadata.and_then(|it| it.http_put_response_hop_limit()),
        "tags": tags(it.tags()),
    })
}

fn interface(it: &NetworkInterface) -> Value {
    let attachment = it.attachment();
    json!({
        "id": it.network_interface_id(),
        "vpc": it.vpc_id(),
        "subnet": it.subnet_id(),
        "mac": it.mac_address(),
        "deviceIndex": attachment.and_then(|it| it.device_index()),
        "privateAddress": it.private_ip_address(),
        "publicAddress": it.association().and_then(|it| it.public_ip()),
        "ipv6": it.ipv6_addresses().iter().map(|it| it.ipv6_address()).collect::<Vec<_>>(),
        "groups": it.groups().iter().map(|group| group.group_id()).collect::<Vec<_>>(),
        "sourceDestinationCheck": it.source_dest_check(),
        "tags": tags(it.tag_set()),
    })
}

fn rule(it: &IpPermission) -> Value {
    json!({
        "protocol": it.ip_protocol(),
        "from": it.from_port(),
        "to": it.to_port(),
        "ipv4": it.ip_ranges().iter().map(|it| it.cidr_ip()).collect::<Vec<_>>(),
        "ipv6": it.ipv6_ranges().iter().map(|it| it.cidr_ipv6()).collect::<Vec<_>>(),
        "prefixLists": it.prefix_list_ids().iter().map(|it| it.prefix_list_id()).collect::<Vec<_>>(),
        "groups": it.user_id_group_pairs().iter().map(|it| it.group_id()).collect::<Vec<_>>(),
    })
}

fn group(it: &SecurityGroup) -> Value {
    json!({
        "id": it.group_id(),
        "name": it.group_name(),
        "vpc": it.vpc_id(),
        "ingress": it.ip_permissions().iter().map(rule).collect::<Vec<_>>(),
        "egress": it.ip_permissions_egress().iter().map(rule).collect::<Vec<_>>(),
        "tags": tags(it.tags()),
    })
}

fn volume(it: &Volume) -> Value {
    let attachment = it.attachments().first();
    json!({
        "id": it.volume_id(),
        "size": it.size(),
        "encrypted": it.encrypted(),
        "key": it.kms_key_id(),
        "snapshot": it.snapshot_id(),
        "device": attachment.and_then(|it| it.device()),
        "deleteOnTermination": attachment.and_then(|it| it.delete_on_termination()),
        "created": it.create_time().map(ToString::to_string),
        "tags": tags(it.tags()),
    })
}

fn subnet(it: &Subnet) -> Value {
    json!({
        "id": it.subnet_id(),
        "vpc": it.vpc_id(),
        "zone": it.availability_zone(),
        "block": it.cidr_block(),
        "publicAddresses": it.map_public_ip_on_launch(),
        "tags": tags(it.tags()),
    })
}

fn route_table(it: &RouteTable) -> Value {
    let routes = it.routes().iter().map(|it| {
        json!({
            "ipv4": it.destination_cidr_block(),
            "ipv6": it.destination_ipv6_cidr_block(),
            "prefixList": it.destination_prefix_list_id(),
            "gateway": it.gateway_id(),
            "nat": it.nat_gateway_id(),
            "transitGateway": it.transit_gateway_id(),
            "peering": it.vpc_peering_connection_id(),
            "interface": it.network_interface_id(),
            "instance": it.instance_id(),
            "state": it.state().map(|state| state.as_str()),
        })
    });
    let associations = it.associations().iter();
    json!({
        "id": it.route_table_id(),
        "vpc": it.vpc_id(),
        "subnets": associations.filter_map(|it| it.subnet_id()).collect::<Vec<_>>(),
        "routes": routes.collect::<Vec<_>>(),
        "tags": tags(it.tags()),
    })
}
