//! The paths of an instance: its network, its credentials.

use firebreak_model::resource::{Resource, ResourceKind};
use firebreak_simulation::ec2::model::{InterfaceKind, Rule};
use firebreak_simulation::state::State;

use super::{Attempt, Fate, attempt};
use crate::actions::cases::first_interface;
use crate::actions::stage::{ACCOUNT, REGION};

fn allow_egress(state: &mut State, target: &Resource) {
    let interface = first_interface(state, target);
    let ec2 = state.ec2(ACCOUNT, REGION);
    let group = ec2.interfaces[&interface].groups[0].clone();
    let rule = Rule::tcp(443, "0.0.0.0/0");
    ec2.groups.get_mut(&group).unwrap().egress.insert(rule);
}

const ISOLATE: &str = "isolate-instance";

fn vpc_of(state: &mut State, target: &Resource) -> String {
    let interface = first_interface(state, target);
    state.ec2(ACCOUNT, REGION).interfaces[&interface].vpc.clone()
}

fn connect(state: &mut State, target: &Resource, automatically_tracked: bool) {
    let interface = first_interface(state, target);
    state.ec2(ACCOUNT, REGION).connect(&interface, automatically_tracked);
}

/// A connection through what a route leads to.
fn route(state: &mut State, target: &Resource, block: &str, to: &str) {
    let vpc = vpc_of(state, target);
    let vpc = state.ec2(ACCOUNT, REGION).vpcs.get_mut(&vpc).unwrap();
    vpc.routes.insert(block.to_owned(), to.to_owned());
    connect(state, target, true);
}

/// A connection through what has an interface in the VPC.
fn device(state: &mut State, target: &Resource, kind: InterfaceKind) {
    let vpc = vpc_of(state, target);
    state.ec2(ACCOUNT, REGION).add_service_interface(&vpc, kind);
    connect(state, target, true);
}

fn is_connected(state: &mut State, _: &Resource) -> bool {
    !state.ec2(ACCOUNT, REGION).connections.is_empty()
}

fn can_connect(state: &mut State, target: &Resource) -> bool {
    let interface = first_interface(state, target);
    state.ec2(ACCOUNT, REGION).lets_connect(&interface)
}

fn has_credentials(state: &mut State, target: &Resource) -> bool {
    let ResourceKind::Instance { instance_id } = &target.kind else { return false };
    let associations = &state.ec2(ACCOUNT, REGION).associations;
    associations.values().any(|it| it.instance == *instance_id)
}

pub(super) fn attempts() -> Vec<Attempt> {
    [isolation(), others()].into_iter().flatten().collect()
}

/// Of `isolate-instance`.
fn isolation() -> Vec<Attempt> {
    use Fate::{Closed, Open, Residual};
    vec![
        attempt(
            (ISOLATE, "new-connections", Closed),
            |state, target| {
                let interface = first_interface(state, target);
                let ec2 = state.ec2(ACCOUNT, REGION);
                let group = ec2.interfaces[&interface].groups[0].clone();
                let rule = Rule::tcp(443, "0.0.0.0/0");
                ec2.groups.get_mut(&group).unwrap().egress.insert(rule);
            },
            can_connect,
        ),
        attempt(
            (ISOLATE, "open-connections", Closed),
            |state, it| connect(state, it, false),
            is_connected,
        ),
        attempt(
            (ISOLATE, "nat-gateway", Residual),
            |state, it| route(state, it, "0.0.0.0/0", "nat-0abc"),
            is_connected,
        ),
        attempt(
            (ISOLATE, "egress-only-gateway", Residual),
            |state, it| route(state, it, "::/0", "eigw-0abc"),
            is_connected,
        ),
        attempt(
            (ISOLATE, "transit-gateway", Residual),
            |state, it| route(state, it, "0.0.0.0/0", "tgw-0abc"),
            is_connected,
        ),
        attempt(
            (ISOLATE, "firewall-endpoint", Residual),
            |state, it| route(state, it, "0.0.0.0/0", "vpce-0abc"),
            is_connected,
        ),
        attempt(
            (ISOLATE, "gateway-endpoint", Residual),
            |state, it| {
                let vpc = vpc_of(state, it);
                let vpc = state.ec2(ACCOUNT, REGION).vpcs.get_mut(&vpc).unwrap();
                let service = "com.amazonaws.eu-central-1.dynamodb".to_owned();
                vpc.endpoints.insert("vpce-0dyn".to_owned(), service);
                route(state, it, "pl-0abc", "vpce-0dyn");
            },
            is_connected,
        ),
        attempt(
            (ISOLATE, "interface-endpoint", Residual),
            |state, it| device(state, it, InterfaceKind::VpcEndpoint),
            is_connected,
        ),
        attempt(
            (ISOLATE, "network-load-balancer", Residual),
            |state, it| device(state, it, InterfaceKind::NetworkLoadBalancer),
            is_connected,
        ),
        attempt((ISOLATE, "icmp", Open), |state, it| connect(state, it, true), is_connected),
        Attempt {
            case: "revoke-instance-credentials",
            ..attempt((ISOLATE, "instance-credentials", Residual), |_, _| (), has_credentials)
        },
    ]
}

/// Of the other actions on an instance's network.
fn others() -> Vec<Attempt> {
    use Fate::{Closed, Open};
    vec![
        attempt(
            ("attach-security-group", "new-connections", Closed),
            |state, target| {
                // The group is the organization's own: one without rules here.
                let groups = &mut state.ec2(ACCOUNT, REGION).groups;
                groups.values_mut().filter(|it| it.name == "forensics").for_each(|it| {
                    it.ingress.clear();
                    it.egress.clear();
                });
                allow_egress(state, target);
            },
            can_connect,
        ),
        attempt(
            ("attach-security-group", "open-connections", Open),
            |state, it| connect(state, it, false),
            is_connected,
        ),
        attempt(
            ("block-remote-ip", "remote-addresses", Closed),
            |_, _| (),
            |state, _| {
                let remote = "198.51.100.7/32";
                let mut acls = state.ec2(ACCOUNT, REGION).acls.values();
                acls.any(|acl| {
                    let denied = |egress: bool| {
                        acl.entries.iter().any(|((out, _), it)| {
                            *out == egress && it.action == "deny" && it.block == remote
                        })
                    };
                    !(denied(true) && denied(false))
                })
            },
        ),
        attempt(
            ("disassociate-addresses", "elastic-addresses", Closed),
            |_, _| (),
            |state, target| {
                let ec2 = state.ec2(ACCOUNT, REGION);
                let ResourceKind::Instance { instance_id } = &target.kind else { return false };
                let interfaces: Vec<String> =
                    ec2.interfaces_of(instance_id).map(|(id, _)| id.clone()).collect();
                let mut on = ec2.addresses.values().filter_map(|it| it.on.as_ref());
                on.any(|(interface, _)| interfaces.contains(interface))
            },
        ),
    ]
}
