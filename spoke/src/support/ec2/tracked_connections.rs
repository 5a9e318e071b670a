//! Connections that outlive a change of security groups.
//!
//! EC2 tracks some connections whatever the rules say, so that passing an interface through
//! a group that allows everything does not end them (EC2 user guide, "Security group
//! connection tracking", "Automatically tracked connections"): those through egress-only
//! internet gateways, Global Accelerator, NAT gateways, Network Firewall and Gateway Load
//! Balancer endpoints, Network Load Balancers, interface endpoints (AWS PrivateLink), Lambda's
//! Hyperplane interfaces and gateway endpoints for DynamoDB. An earlier edition also names
//! transit gateway attachments, so they count here. ICMP is always tracked as well, but
//! nothing shows whether it is in use.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_ec2::types::{Filter, Route, RouteTable};
use futures::future::try_join_all;
use jiff::{SignedDuration, Timestamp};

use crate::account::AccountSession;
use crate::contract::{ActionContext, Residual};
use crate::support::ec2::interfaces::{self, Interface};
use crate::support::ec2::reads;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::ActionError;

/// What ends every connection of an instance.
pub(crate) const ENDS_ALL: &[&str] = &["stop-instance", "terminate-instance"];

/// The types of a VPC's interfaces behind which connections are tracked (EC2 API reference,
/// DescribeNetworkInterfaces, filter `interface-type`), with the name of their path. Only
/// a route leads to a NAT gateway.
const TRACKED: [(&str, &str, &str); 6] = [
    ("vpc_endpoint", "interface-endpoint", "an interface endpoint"),
    ("gateway_load_balancer_endpoint", "firewall-endpoint", "a firewall or load balancer endpoint"),
    ("network_load_balancer", "network-load-balancer", "a Network Load Balancer"),
    ("global_accelerator_managed", "global-accelerator", "Global Accelerator"),
    ("lambda", "lambda-interface", "a Lambda function's interface"),
    ("transit_gateway", "transit-gateway", "a transit gateway"),
];

/// The paths through which connections of these interfaces may live on: where the routes of
/// their subnets lead, and what their VPCs contain. Two calls, three where
/// there is a gateway endpoint, however many interfaces.
///
/// # Errors
///
/// Those of the calls.
pub(crate) async fn that_live_on(
    context: ActionContext<'_>,
    interfaces: &[Interface],
) -> Result<Vec<Residual>, ActionError> {
    let vpcs: BTreeSet<String> = interfaces.iter().map(|it| it.vpc.clone()).collect();
    if vpcs.is_empty() {
        return Ok(Vec::new());
    }
    let vpcs = try_join_all(vpcs.iter().map(|vpc| vpc_paths(context, vpc))).await?;
    let mut through: BTreeSet<TrackedPath> =
        vpcs.iter().flat_map(|vpc| vpc.devices.iter().cloned()).collect();
    let tables: Vec<RouteTable> = vpcs.iter().flat_map(|vpc| vpc.tables.clone()).collect();
    let mut gateway_endpoints = BTreeSet::new();
    for route in interfaces.iter().filter_map(|it| routes_of(it, &tables)).flatten() {
        through.extend(route_target(route));
        gateway_endpoints.extend(gateway_endpoint(route));
    }
    through.extend(of_dynamodb(context, gateway_endpoints).await?);
    let hidden = interfaces.iter().filter(|it| routes_of(it, &tables).is_none());
    let hidden: BTreeSet<&str> = hidden.map(|it| it.subnet.as_str()).collect();
    let hidden = hidden.into_iter().map(|subnet| {
        let what = format!(
            "connections through a gateway that the routes of {subnet} lead to: its route table is not visible from this account"
        );
        Residual::new("unknown", what, ENDS_ALL)
    });
    let residual = through.into_iter().map(|(path, what)| {
        let what = format!("connections through {what} that were open may live on");
        Residual::new(path, what, ENDS_ALL)
    });
    Ok(residual.chain(hidden).collect())
}

/// How long what was read of a VPC answers for it: connections that were open at the cut went
/// by the routes of that time.
const READ_FOR: SignedDuration = SignedDuration::from_secs(60);

/// What was read of the VPCs of an account, and when.
#[derive(Debug, Default)]
pub(crate) struct KnownVpcs(Mutex<HashMap<String, (Timestamp, Arc<VpcPaths>)>>);

/// Where connections of a VPC may go.
#[derive(Debug)]
struct VpcPaths {
    tables: Vec<RouteTable>,
    devices: BTreeSet<TrackedPath>,
}

async fn vpc_paths(context: ActionContext<'_>, vpc: &str) -> Result<Arc<VpcPaths>, ActionError> {
    let ActionContext { account, now, .. } = context;
    let known = || account.known_vpcs.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((read, paths)) = known().get(vpc)
        && now.duration_since(*read) < READ_FOR
    {
        return Ok(paths.clone());
    }
    let (tables, devices) =
        futures::join!(reads::route_tables(account, vpc), reads::tracking_devices(account, vpc));
    let paths = Arc::new(VpcPaths { tables: tables?, devices: devices? });
    known().insert(vpc.to_owned(), (now, paths.clone()));
    Ok(paths)
}

/// A path, as docs/actions.md names it, and what it is in words.
pub(crate) type TrackedPath = (&'static str, String);

/// Where a route leads, if connections are tracked there.
fn route_target(route: &Route) -> Option<TrackedPath> {
    if let Some(id) = route.nat_gateway_id() {
        return Some(("nat-gateway", format!("the NAT gateway {id}")));
    }
    if let Some(id) = route.egress_only_internet_gateway_id() {
        return Some(("egress-only-gateway", format!("the egress-only internet gateway {id}")));
    }
    if let Some(arn) = route.core_network_arn() {
        return Some(("transit-gateway", format!("the core network {arn}")));
    }
    if let Some(id) = route.transit_gateway_id() {
        return Some(("transit-gateway", format!("the transit gateway {id}")));
    }
    // A gateway endpoint's destination is a prefix list; any other endpoint is a firewall's or
    // a Gateway Load Balancer's.
    let endpoint = route.gateway_id().filter(|id| id.starts_with("vpce-"))?;
    let is_gateway = route.destination_prefix_list_id().is_some();
    (!is_gateway).then(|| ("firewall-endpoint", format!("the endpoint {endpoint}")))
}

/// The gateway endpoint that a route leads to.
fn gateway_endpoint(route: &Route) -> Option<String> {
    route.destination_prefix_list_id()?;
    route.gateway_id().filter(|id| id.starts_with("vpce-")).map(str::to_owned)
}

/// Those of these gateway endpoints that are DynamoDB's; connections through S3's are not
/// tracked by themselves.
async fn of_dynamodb(
    context: ActionContext<'_>,
    endpoints: BTreeSet<String>,
) -> Result<Vec<TrackedPath>, ActionError> {
    if endpoints.is_empty() {
        return Ok(Vec::new());
    }
    let ids = endpoints.into_iter().collect();
    let filter = Filter::builder().name("vpc-endpoint-id").set_values(Some(ids)).build();
    let (mut found, mut next) = (Vec::new(), None);
    loop {
        let call = context.account.ec2(Class::Ec2Read).await.describe_vpc_endpoints();
        let page = call.filters(filter.clone()).set_next_token(next).send().await;
        let page = page.map_err(|error| from_sdk("ec2:DescribeVpcEndpoints", &error))?;
        next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        found.extend(page.vpc_endpoints.unwrap_or_default());
        if next.is_none() {
            break;
        }
    }
    let tracked = found
        .iter()
        .filter(|it| it.service_name().is_some_and(|service| service.ends_with(".dynamodb")));
    let path = |id: &str| ("gateway-endpoint", format!("the gateway endpoint {id} of DynamoDB"));
    Ok(tracked.filter_map(|it| it.vpc_endpoint_id()).map(path).collect())
}

/// The routes of an interface's subnet: those of its own table, or else of the main one.
/// `None` where neither is visible, as to a participant of a shared VPC.
fn routes_of<'a>(interface: &Interface, tables: &'a [RouteTable]) -> Option<&'a [Route]> {
    let own = tables.iter().find(|table| {
        table.associations().iter().any(|it| it.subnet_id() == Some(interface.subnet.as_str()))
    });
    let main = tables.iter().find(|table| {
        table.vpc_id() == Some(interface.vpc.as_str())
            && table.associations().iter().any(|it| it.main() == Some(true))
    });
    own.or(main).map(RouteTable::routes)
}

/// The route tables of these VPCs; callers share it, see `reads`.
pub(super) async fn route_tables(
    account: &AccountSession,
    vpcs: &[String],
) -> Result<Vec<RouteTable>, ActionError> {
    let filter = Filter::builder().name("vpc-id").set_values(Some(vpcs.to_vec())).build();
    let (mut tables, mut next) = (Vec::new(), None);
    loop {
        let call = account.ec2(Class::Ec2Read).await.describe_route_tables();
        let page = call.filters(filter.clone()).set_next_token(next).send().await;
        let page = page.map_err(|error| from_sdk("ec2:DescribeRouteTables", &error))?;
        next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        tables.extend(page.route_tables.unwrap_or_default());
        if next.is_none() {
            return Ok(tables);
        }
    }
}

/// What stands in these VPCs behind which connections are tracked, each with its VPC; callers
/// share it, see `reads`.
pub(super) async fn devices(
    account: &AccountSession,
    vpcs: &[String],
) -> Result<Vec<(String, TrackedPath)>, ActionError> {
    let filter = |name: &str, values: Vec<String>| {
        Filter::builder().name(name).set_values(Some(values)).build()
    };
    let kinds = TRACKED.iter().map(|(kind, ..)| (*kind).to_owned()).collect();
    let filters = vec![filter("vpc-id", vpcs.to_vec()), filter("interface-type", kinds)];
    let described = interfaces::describe_filtered(account, filters).await?;
    let path = |kind: &str, vpc: &str| {
        let (_, path, name) = TRACKED.iter().find(|(it, ..)| *it == kind)?;
        Some((vpc.to_owned(), (*path, format!("{name} in {vpc}"))))
    };
    Ok(described
        .iter()
        .filter_map(|it| path(it.interface_type()?.as_str(), it.vpc_id()?))
        .collect())
}
