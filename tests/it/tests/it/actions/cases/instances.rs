//! The actions that protect instances, take them out of service, block who
//! called them, and end them.

use fastrand::Rng;
use firebreak_model::resource::{Resource, ResourceKind};
use firebreak_simulation::Organization;
use firebreak_simulation::ec2::model::{AclEntry, Device};
use firebreak_simulation::regional::autoscaling::Group;
use firebreak_simulation::regional::elb::Balancer;
use firebreak_simulation::regional::elbv2::TargetGroup;
use firebreak_simulation::regional::wafv2::IpSet;
use firebreak_simulation::state::State;
use serde_json::{Value, json};

use super::Case;
use super::containment::{
    first_interface, forget_instance, instance_id, interface_groups, isolation, regroup, two_vpcs,
    vary_instance,
};
use crate::actions::stage::{ACCOUNT, REGION};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![attach(), attach_beside(), addresses(), block(), block_in_lists()];
    cases.extend([protect(), protect_by_detaching(), protect_spot(), deregister()]);
    cases.extend([stop(), stop_with_encrypted_volumes(), terminate()]);
    cases
}

fn id_of(kind: &ResourceKind) -> String {
    match kind {
        ResourceKind::Instance { instance_id } => instance_id.clone(),
        other => panic!("no instance: {other:?}"),
    }
}

fn with_forensics_groups(organization: &Organization) -> ResourceKind {
    let kind = two_vpcs(organization);
    organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        let vpcs: Vec<String> = ec2.vpcs.keys().cloned().collect();
        for vpc in vpcs {
            ec2.add_group(&vpc, "forensics");
        }
    });
    kind
}

/// More interfaces, in VPCs that have the group as well.
fn vary_with_forensics(state: &mut State, resource: &Resource, dice: &mut Rng) {
    let id = instance_id(resource);
    let ec2 = state.ec2(ACCOUNT, REGION);
    for _ in 0..dice.usize(0..3) {
        let vpc = ec2.add_vpc(dice.bool());
        let forensics = ec2.add_group(&vpc, "forensics");
        let web = ec2.add_group(&vpc, "web");
        let groups: &[&str] = if dice.bool() { &[&forensics] } else { &[&web, &forensics] };
        ec2.attach_interface(&id, &vpc, groups);
    }
}

fn attach() -> Case {
    Case {
        name: "attach-security-group",
        action: "attach-security-group",
        parameters: json!({ "group": "forensics" }),
        arrange: with_forensics_groups,
        disturb: regroup_again,
        witness: interface_groups,
        vary: vary_with_forensics,
        ..isolation()
    }
}

fn regroup_again(state: &mut State, resource: &Resource) {
    regroup(state, resource);
}

fn attach_beside() -> Case {
    Case {
        name: "attach-security-group beside the others",
        parameters: json!({ "group": "forensics", "others": "keep" }),
        ..attach()
    }
}

fn with_addresses(organization: &Organization) -> ResourceKind {
    let kind = two_vpcs(organization);
    let id = id_of(&kind);
    organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        let interfaces: Vec<String> = ec2.interfaces_of(&id).map(|(id, _)| id.clone()).collect();
        ec2.add_address(&interfaces[0]);
        ec2.add_address(&interfaces[2]);
    });
    kind
}

fn vary_addresses(state: &mut State, resource: &Resource, dice: &mut Rng) {
    vary_instance(state, resource, dice);
    let id = instance_id(resource);
    let ec2 = state.ec2(ACCOUNT, REGION);
    let interfaces: Vec<String> = ec2.interfaces_of(&id).map(|(id, _)| id.clone()).collect();
    for interface in interfaces {
        let has =
            ec2.addresses.values().any(|it| it.on.as_ref().is_some_and(|on| on.0 == interface));
        if !has && dice.bool() {
            ec2.add_address(&interface);
        }
    }
}

fn addresses() -> Case {
    Case {
        name: "disassociate-addresses",
        action: "disassociate-addresses",
        arrange: with_addresses,
        disturb: |state, _| {
            let ec2 = state.ec2(ACCOUNT, REGION);
            let vpc = ec2.vpcs.keys().next().unwrap().clone();
            let other = ec2.add_instance(&vpc, &[]);
            let interface = ec2.interfaces_of(&other).next().unwrap().0.clone();
            let address = ec2.addresses.values_mut().next().unwrap();
            address.on = Some((interface, "10.0.0.9".to_owned()));
        },
        witness: |state, _| json!(state.ec2(ACCOUNT, REGION).addresses.values().next().unwrap().on),
        vary: vary_addresses,
        ..isolation()
    }
}

fn vary_acls(state: &mut State, resource: &Resource, dice: &mut Rng) {
    vary_instance(state, resource, dice);
    for acl in state.ec2(ACCOUNT, REGION).acls.values_mut() {
        for number in 1..dice.i64(1..6) {
            let block = if dice.bool() { "192.0.2.0/24" } else { "198.51.100.7/32" };
            let (action, protocol) = ("deny".to_owned(), "-1".to_owned());
            let entry = AclEntry { action, protocol, block: block.to_owned() };
            acl.entries.insert((dice.bool(), number * dice.i64(1..4)), entry);
        }
    }
    for set in state.regional(ACCOUNT, REGION).wafv2.ip_sets.values_mut() {
        if dice.bool() {
            set.addresses.insert("198.51.100.8/32".to_owned());
        }
    }
    for list in state.ec2(ACCOUNT, REGION).prefix_lists.values_mut() {
        if dice.bool() {
            list.entries.insert("198.51.100.8/32".to_owned(), "theirs".to_owned());
        }
    }
}

fn block() -> Case {
    Case {
        name: "block-remote-ip",
        action: "block-remote-ip",
        arrange: two_vpcs,
        disturb: |state, _| {
            let acl = state.ec2(ACCOUNT, REGION).acls.values_mut().next().unwrap();
            let entry = acl.entries.get_mut(&(false, 1)).unwrap();
            "203.0.113.0/24".clone_into(&mut entry.block);
        },
        witness: |state, _| {
            let acl = state.ec2(ACCOUNT, REGION).acls.values().next().unwrap();
            json!(acl.entries[&(false, 1)])
        },
        vary: vary_acls,
        ..isolation()
    }
}

/// The ids are the first that a simulation gives out in this arrangement.
fn block_in_lists() -> Case {
    Case {
        name: "block-remote-ip in an IP set and a prefix list as well",
        parameters: json!({
            "ip-set": { "name": "blocked", "id": "00000000-0000-4000-8000-000000000001" },
            "prefix-list": "pl-00f1b00000000000c",
        }),
        arrange: |organization| {
            let kind = two_vpcs(organization);
            organization.edit(|state| {
                let id = state.ec2(ACCOUNT, REGION).add_prefix_list("blocked", 20);
                let held = state.ec2(ACCOUNT, REGION).prefix_lists.remove(&id).unwrap();
                let lists = &mut state.ec2(ACCOUNT, REGION).prefix_lists;
                lists.insert("pl-00f1b00000000000c".to_owned(), held);
                let set = IpSet {
                    name: "blocked".to_owned(),
                    description: "kept by the network team".to_owned(),
                    version: "IPV4".to_owned(),
                    addresses: ["192.0.2.1/32".to_owned()].into(),
                    lock: 7,
                };
                let sets = &mut state.regional(ACCOUNT, REGION).wafv2.ip_sets;
                sets.insert("00000000-0000-4000-8000-000000000001".to_owned(), set);
            });
            kind
        },
        ..block()
    }
}

fn in_group(organization: &Organization) -> ResourceKind {
    let kind = two_vpcs(organization);
    let id = id_of(&kind);
    organization.edit(|state| {
        let instance = state.ec2(ACCOUNT, REGION).instances.get_mut(&id).unwrap();
        "terminate".clone_into(&mut instance.shutdown_behavior);
        let group = Group {
            min: 1,
            max: 4,
            desired: 2,
            instances: [
                (id, "InService".to_owned()),
                ("i-other".to_owned(), "InService".to_owned()),
            ]
            .into(),
            ..Group::default()
        };
        state.regional(ACCOUNT, REGION).autoscaling.groups.insert("web".to_owned(), group);
    });
    kind
}

fn vary_attributes(state: &mut State, resource: &Resource, dice: &mut Rng) {
    let id = instance_id(resource);
    let ec2 = state.ec2(ACCOUNT, REGION);
    let instance = ec2.instances.get_mut(&id).unwrap();
    instance.termination_protection = dice.bool() && !instance.spot;
    instance.stop_protection = dice.bool() && !instance.spot;
    let behavior = if dice.bool() { "stop" } else { "terminate" };
    behavior.clone_into(&mut instance.shutdown_behavior);
    for (number, letter) in ["b", "c", "d"].into_iter().enumerate().take(dice.usize(0..4)) {
        let volume = format!("vol-0000000000000000{number}");
        let device = Device { volume, delete_on_termination: dice.bool() };
        instance.devices.insert(format!("/dev/xvd{letter}"), device);
    }
    let group = state.regional(ACCOUNT, REGION).autoscaling.groups.get_mut("web").unwrap();
    match dice.u8(0..3) {
        0 => drop(group.instances.remove(&id)),
        1 => drop(group.instances.insert(id, "Standby".to_owned())),
        _ => {}
    }
}

/// The replacement that the group launches stays, and the group counts it.
fn forgive_replacements(snapshot: &mut Value) {
    let path = "/held/regional/eu-central-1/autoscaling/groups";
    let groups = snapshot.pointer_mut(path).and_then(Value::as_object_mut);
    let mut launched = Vec::new();
    for group in groups.into_iter().flat_map(|groups| groups.values_mut()) {
        let Some(group) = group.as_object_mut() else { continue };
        group.remove("desired");
        let replacements = group.remove("replacements").unwrap_or_default();
        let ids = replacements.as_array().into_iter().flatten().filter_map(Value::as_str);
        launched.extend(ids.map(str::to_owned));
        if let Some(instances) = group.get_mut("instances").and_then(Value::as_object_mut) {
            instances.retain(|id, _| !launched.contains(id));
        }
    }
    let Some(ec2) = snapshot.pointer_mut("/held/ec2/eu-central-1").and_then(Value::as_object_mut)
    else {
        return;
    };
    if let Some(instances) = ec2.get_mut("instances").and_then(Value::as_object_mut) {
        instances.retain(|id, _| !launched.contains(id));
    }
    if let Some(interfaces) = ec2.get_mut("interfaces").and_then(Value::as_object_mut) {
        interfaces.retain(|_, interface| {
            let on = interface.get("instance").and_then(Value::as_str).unwrap_or_default();
            !launched.iter().any(|id| id == on)
        });
    }
}

fn protect() -> Case {
    Case {
        name: "protect-instance",
        action: "protect-instance",
        arrange: in_group,
        disturb: |state, resource| {
            let id = instance_id(resource);
            let groups = &mut state.regional(ACCOUNT, REGION).autoscaling.groups;
            groups.get_mut("web").unwrap().instances.remove(&id);
            let instances = [(id, "InService".to_owned())].into();
            let other = Group { min: 1, max: 2, desired: 1, instances, ..Group::default() };
            groups.insert("theirs".to_owned(), other);
        },
        witness: |state, resource| {
            let id = instance_id(resource);
            let groups = &state.regional(ACCOUNT, REGION).autoscaling.groups;
            json!(groups.values().map(|group| group.instances.get(&id)).collect::<Vec<_>>())
        },
        vary: vary_attributes,
        forgive: forgive_replacements,
        ..isolation()
    }
}

fn protect_by_detaching() -> Case {
    Case {
        name: "protect-instance by detaching it",
        parameters: json!({ "auto-scaling": "detach" }),
        ..protect()
    }
}

fn protect_spot() -> Case {
    Case {
        name: "protect-instance on a Spot Instance",
        arrange: |organization| {
            let kind = in_group(organization);
            let id = id_of(&kind);
            organization.edit(|state| {
                state.ec2(ACCOUNT, REGION).instances.get_mut(&id).unwrap().spot = true;
            });
            kind
        },
        ..protect()
    }
}

const TARGETS: &str = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:targetgroup";

/// Four of each kind, so that every list has a second page.
fn balanced(organization: &Organization) -> ResourceKind {
    let kind = two_vpcs(organization);
    let id = id_of(&kind);
    organization.edit(|state| {
        let first = first_interface(state, &crate::actions::stage::resource(kind.clone()));
        let ec2 = state.ec2(ACCOUNT, REGION);
        let (vpc, address) =
            (ec2.interfaces[&first].vpc.clone(), ec2.interfaces[&first].private_ip.clone());
        let regional = state.regional(ACCOUNT, REGION);
        for number in 0..4 {
            let instances = [id.clone(), "i-other".to_owned()].into();
            let balancer = Balancer { vpc: vpc.clone(), instances };
            regional.elb.balancers.insert(format!("classic-{number}"), balancer);
            let by_ip = number == 3;
            let target = if by_ip { address.clone() } else { id.clone() };
            let group = TargetGroup {
                vpc: vpc.clone(),
                target_type: if by_ip { "ip" } else { "instance" }.to_owned(),
                port: 80,
                targets: [(target, 8_080 + number), ("i-other".to_owned(), 80)].into(),
            };
            regional.elbv2.target_groups.insert(format!("{TARGETS}/web-{number}/0{number}"), group);
        }
    });
    kind
}

fn vary_balancers(state: &mut State, resource: &Resource, dice: &mut Rng) {
    let id = instance_id(resource);
    let regional = state.regional(ACCOUNT, REGION);
    for balancer in regional.elb.balancers.values_mut() {
        if dice.bool() {
            balancer.instances.remove(&id);
        }
    }
    for group in regional.elbv2.target_groups.values_mut() {
        match dice.u8(0..3) {
            0 => group.targets.clear(),
            1 => drop(group.targets.insert((id.clone(), dice.i64(1_000..2_000)))),
            _ => {}
        }
    }
}

fn deregister() -> Case {
    Case {
        name: "deregister-from-load-balancers",
        action: "deregister-from-load-balancers",
        arrange: balanced,
        disturb: |state, _| {
            let groups = &mut state.regional(ACCOUNT, REGION).elbv2.target_groups;
            groups.remove(&format!("{TARGETS}/web-1/01"));
        },
        witness: |state, _| {
            let groups = &state.regional(ACCOUNT, REGION).elbv2.target_groups;
            json!(groups.get(&format!("{TARGETS}/web-1/01")).map(|group| &group.targets))
        },
        vary: vary_balancers,
        ..isolation()
    }
}

/// A public address that is no Elastic IP address is another one after a stop.
fn forgive_public_addresses(snapshot: &mut Value) {
    let interfaces = snapshot.pointer_mut("/held/ec2/eu-central-1/interfaces");
    for interface in interfaces.and_then(Value::as_object_mut).into_iter().flatten() {
        if let Some(interface) = interface.1.as_object_mut() {
            interface.remove("public_ip");
        }
    }
}

fn stop() -> Case {
    Case {
        name: "stop-instance",
        action: "stop-instance",
        arrange: two_vpcs,
        disturb: |state, resource| {
            let id = instance_id(resource);
            state.ec2(ACCOUNT, REGION).terminate(&id);
        },
        witness: |state, resource| {
            json!(state.ec2(ACCOUNT, REGION).instances[&instance_id(resource)].state)
        },
        vary: vary_instance,
        forgive: forgive_public_addresses,
        ..isolation()
    }
}

fn stop_with_encrypted_volumes() -> Case {
    Case {
        name: "stop-instance with encrypted volumes",
        arrange: |organization| {
            let kind = two_vpcs(organization);
            let key = format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/theirs");
            organization.edit(|state| {
                state.ec2(ACCOUNT, REGION).add_volume(&id_of(&kind), "/dev/sdf", Some(&key))
            });
            kind
        },
        ..stop()
    }
}

fn terminate() -> Case {
    Case {
        name: "terminate-instance",
        action: "terminate-instance",
        arrange: two_vpcs,
        remove: forget_instance,
        vary: vary_instance,
        ..stop()
    }
}
