//! EC2's reads: filters, pages, and how each thing is written.

use std::collections::BTreeSet;

use super::answers::{Answer, Place, refuse};
use super::form::Form;
use super::model::{Ec2, NetworkInterface, Peer, Rule};
use super::{Refusal, xml};

/// Pages by `MaxResults` and `NextToken`; the token is the place to go on at.
pub(super) fn page<'a, T>(form: &Form, all: &'a [T]) -> Result<(&'a [T], Option<String>), Refusal> {
    let start: usize = match form.get("NextToken") {
        None => 0,
        Some(token) => token
            .parse()
            .map_err(|_| refuse("InvalidNextToken", format!("The token '{token}' is invalid")))?,
    };
    let size: usize = form.get("MaxResults").and_then(|size| size.parse().ok()).unwrap_or(1_000);
    let rest = all.get(start..).unwrap_or_default();
    let page = rest.get(..size).unwrap_or(rest);
    let next = (page.len() < rest.len()).then(|| (start + page.len()).to_string());
    Ok((page, next))
}

pub(super) fn next_token(out: &mut String, next: Option<String>) {
    if let Some(next) = next {
        xml::text(out, "nextToken", &next);
    }
}

/// Whether a text matches one of a filter's values: `*` and `?` are wildcards.
fn passes(values: &[String], text: &str) -> bool {
    values.iter().any(|value| wildcard(value.as_bytes(), text.as_bytes()))
}

fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            wildcard(rest, text)
                || text.split_first().is_some_and(|(_, text)| wildcard(pattern, text))
        }
        (Some((b'?', rest)), Some((_, text))) => wildcard(rest, text),
        (Some((one, rest)), Some((other, text))) => one == other && wildcard(rest, text),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn unknown_filter(name: &str) -> Refusal {
    refuse(
        "InvalidParameterValue",
        format!("The filter '{name}' is invalid, or the simulation does not model it"),
    )
}

/// Keeps the ids that every filter admits; `field` gives an object's values
/// for a filter's name, or none for a name that is not modelled.
pub(super) fn select(
    form: &Form,
    ids: Vec<String>,
    tags: impl Fn(&str, &str) -> Option<String>,
    field: impl Fn(&str, &str) -> Option<Vec<String>>,
) -> Result<Vec<String>, Refusal> {
    let mut kept = ids;
    for (name, values) in form.filters() {
        let mut next = Vec::new();
        for id in kept {
            let found = if let Some(key) = name.strip_prefix("tag:") {
                tags(&id, key).into_iter().collect()
            } else {
                field(&id, &name).ok_or_else(|| unknown_filter(&name))?
            };
            if found.iter().any(|found| passes(&values, found)) {
                next.push(id);
            }
        }
        kept = next;
    }
    Ok(kept)
}

/// The ids asked for, every one of which must exist; all where none is named.
pub(super) fn wanted<T>(
    form: &Form,
    parameter: &str,
    all: &std::collections::BTreeMap<String, T>,
    not_found: &str,
) -> Result<Vec<String>, Refusal> {
    let asked = form.list(parameter);
    for id in &asked {
        if !all.contains_key(*id) {
            return Err(refuse(not_found, format!("The ID '{id}' does not exist")));
        }
    }
    if asked.is_empty() {
        Ok(all.keys().cloned().collect())
    } else {
        Ok(asked.into_iter().map(str::to_owned).collect())
    }
}

pub(super) fn tag_set(out: &mut String, ec2: &Ec2, id: &str) {
    if let Some(tags) = ec2.tags.get(id).filter(|tags| !tags.is_empty()) {
        xml::set(out, "tagSet", tags, |out, (key, value)| {
            xml::text(out, "key", key);
            xml::text(out, "value", value);
        });
    }
}

pub(super) fn flag(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

fn group_set(out: &mut String, ec2: &Ec2, groups: &[String]) {
    xml::set(out, "groupSet", groups, |out, id| {
        xml::text(out, "groupId", id);
        xml::text(out, "groupName", ec2.groups.get(id).map_or("", |group| &group.name));
    });
}

pub(super) fn describe_instances(ec2: &Ec2, place: Place<'_>, form: &Form) -> Answer {
    let ids = wanted(form, "InstanceId", &ec2.instances, "InvalidInstanceID.NotFound")?;
    let ids = select(
        form,
        ids,
        |id, key| ec2.tags.get(id)?.get(key).cloned(),
        |id, name| match name {
            "instance-id" => Some(vec![id.to_owned()]),
            "instance-state-name" => Some(vec![ec2.instances.get(id)?.state.clone()]),
            "vpc-id" => {
                Some(ec2.interfaces_of(id).map(|(_, interface)| interface.vpc.clone()).collect())
            }
            _ => None,
        },
    )?;
    let (ids, next) = page(form, &ids)?;
    let mut out = String::new();
    xml::set(&mut out, "reservationSet", ids, |out, id| {
        xml::text(out, "reservationId", &id.replacen("i-", "r-", 1));
        xml::text(out, "ownerId", place.account);
        xml::set(out, "instancesSet", [id], |out, id| instance(out, ec2, place, id));
    });
    next_token(&mut out, next);
    Ok(out)
}

fn instance(out: &mut String, ec2: &Ec2, place: Place<'_>, id: &str) {
    let Some(instance) = ec2.instances.get(id) else { return };
    let code = match instance.state.as_str() {
        "pending" => "0",
        "running" => "16",
        "shutting-down" => "32",
        "terminated" => "48",
        "stopping" => "64",
        _ => "80",
    };
    xml::text(out, "instanceId", id);
    xml::text(out, "imageId", &instance.image);
    xml::text(out, "instanceType", &instance.instance_type);
    xml::element(out, "instanceState", |out| {
        xml::text(out, "code", code);
        xml::text(out, "name", &instance.state);
    });
    if let Some(reason) = &instance.state_reason {
        xml::element(out, "stateReason", |out| xml::text(out, "code", reason));
    }
    let mut interfaces: Vec<(&String, &NetworkInterface)> = ec2.interfaces_of(id).collect();
    interfaces.sort_by_key(|(_, interface)| interface.device_index);
    if let Some((_, first)) = interfaces.first() {
        xml::text(out, "vpcId", &first.vpc);
        xml::text(out, "privateIpAddress", &first.private_ip);
        if let Some(address) = &first.public_ip {
            xml::text(out, "ipAddress", address);
        }
        group_set(out, ec2, &first.groups);
    }
    for association in ec2.associations.values().filter(|found| found.instance == id) {
        xml::element(out, "iamInstanceProfile", |out| {
            xml::text(out, "arn", &association.profile_arn);
            xml::text(out, "id", &association.profile_id);
        });
    }
    if instance.spot {
        xml::text(out, "instanceLifecycle", "spot");
    }
    xml::text(
        out,
        "rootDeviceType",
        if instance.devices.is_empty() { "instance-store" } else { "ebs" },
    );
    xml::set(out, "blockDeviceMapping", &instance.devices, |out, (name, device)| {
        xml::text(out, "deviceName", name);
        xml::element(out, "ebs", |out| {
            xml::text(out, "volumeId", &device.volume);
            xml::text(out, "status", "attached");
            xml::text(out, "deleteOnTermination", flag(device.delete_on_termination));
        });
    });
    tag_set(out, ec2, id);
    xml::set(out, "networkInterfaceSet", interfaces, |out, (id, interface)| {
        network_interface(out, ec2, place, id, interface);
    });
}

fn network_interface(
    out: &mut String,
    ec2: &Ec2,
    place: Place<'_>,
    id: &str,
    interface: &NetworkInterface,
) {
    xml::text(out, "networkInterfaceId", id);
    xml::text(out, "vpcId", &interface.vpc);
    xml::text(out, "ownerId", place.account);
    xml::text(out, "privateIpAddress", &interface.private_ip);
    xml::text(out, "status", if interface.instance.is_some() { "in-use" } else { "available" });
    xml::text(out, "subnetId", &interface.subnet);
    xml::text(out, "interfaceType", interface.kind.name());
    xml::text(out, "requesterManaged", flag(interface.requester_managed));
    group_set(out, ec2, &interface.groups);
    if let Some(instance) = &interface.instance {
        xml::element(out, "attachment", |out| {
            xml::text(out, "attachmentId", &id.replacen("eni-", "eni-attach-", 1));
            xml::text(out, "instanceId", instance);
            xml::text(out, "deviceIndex", &interface.device_index.to_string());
            xml::text(out, "status", "attached");
        });
    }
    if let Some(address) = &interface.public_ip {
        xml::element(out, "association", |out| xml::text(out, "publicIp", address));
    }
    tag_set(out, ec2, id);
}

pub(super) fn describe_network_interfaces(ec2: &Ec2, place: Place<'_>, form: &Form) -> Answer {
    let not_found = "InvalidNetworkInterfaceID.NotFound";
    let ids = wanted(form, "NetworkInterfaceId", &ec2.interfaces, not_found)?;
    let ids = select(
        form,
        ids,
        |id, key| ec2.tags.get(id)?.get(key).cloned(),
        |id, name| {
            let interface = ec2.interfaces.get(id)?;
            match name {
                "attachment.instance-id" => Some(interface.instance.iter().cloned().collect()),
                "group-id" => Some(interface.groups.clone()),
                "vpc-id" => Some(vec![interface.vpc.clone()]),
                "interface-type" => Some(vec![interface.kind.name().to_owned()]),
                "network-interface-id" => Some(vec![id.to_owned()]),
                _ => None,
            }
        },
    )?;
    let (ids, next) = page(form, &ids)?;
    let mut out = String::new();
    xml::set(&mut out, "networkInterfaceSet", ids, |out, id| {
        if let Some(interface) = ec2.interfaces.get(id) {
            network_interface(out, ec2, place, id, interface);
        }
    });
    next_token(&mut out, next);
    Ok(out)
}

pub(super) fn describe_security_groups(ec2: &Ec2, place: Place<'_>, form: &Form) -> Answer {
    let ids = wanted(form, "GroupId", &ec2.groups, "InvalidGroup.NotFound")?;
    let ids = select(
        form,
        ids,
        |id, key| ec2.tags.get(id)?.get(key).cloned(),
        |id, name| {
            let group = ec2.groups.get(id)?;
            match name {
                "group-name" => Some(vec![group.name.clone()]),
                "group-id" => Some(vec![id.to_owned()]),
                "vpc-id" => Some(vec![group.vpc.clone()]),
                _ => None,
            }
        },
    )?;
    let (ids, next) = page(form, &ids)?;
    let mut out = String::new();
    xml::set(&mut out, "securityGroupInfo", ids, |out, id| {
        let Some(group) = ec2.groups.get(id) else { return };
        xml::text(out, "ownerId", group.owner.as_deref().unwrap_or(place.account));
        xml::text(out, "groupId", id);
        xml::text(out, "groupName", &group.name);
        xml::text(out, "groupDescription", &group.description);
        xml::text(out, "vpcId", &group.vpc);
        permissions(out, place, "ipPermissions", &group.ingress);
        permissions(out, place, "ipPermissionsEgress", &group.egress);
        tag_set(out, ec2, id);
    });
    next_token(&mut out, next);
    Ok(out)
}

fn permissions(out: &mut String, place: Place<'_>, name: &str, rules: &BTreeSet<Rule>) {
    xml::set(out, name, rules, |out, rule| {
        xml::text(out, "ipProtocol", &rule.protocol);
        for (name, port) in [("fromPort", rule.from), ("toPort", rule.to)] {
            if let Some(port) = port {
                xml::text(out, name, &port.to_string());
            }
        }
        match &rule.peer {
            Peer::Ipv4(block) => {
                xml::set(out, "ipRanges", [block], |out, it| xml::text(out, "cidrIp", it));
            }
            Peer::Ipv6(block) => {
                xml::set(out, "ipv6Ranges", [block], |out, it| xml::text(out, "cidrIpv6", it));
            }
            Peer::PrefixList(id) => {
                xml::set(out, "prefixListIds", [id], |out, it| xml::text(out, "prefixListId", it));
            }
            Peer::Group(id) => xml::set(out, "groups", [id], |out, it| {
                xml::text(out, "userId", place.account);
                xml::text(out, "groupId", it);
            }),
        }
    });
}

pub(super) fn describe_vpcs(ec2: &Ec2, place: Place<'_>, form: &Form) -> Answer {
    let ids = wanted(form, "VpcId", &ec2.vpcs, "InvalidVpcID.NotFound")?;
    let (ids, next) = page(form, &ids)?;
    let mut out = String::new();
    xml::set(&mut out, "vpcSet", ids, |out, id| {
        xml::text(out, "vpcId", id);
        xml::text(out, "ownerId", place.account);
        xml::text(out, "cidrBlock", "10.0.0.0/16");
        if ec2.vpcs.get(id).is_some_and(|vpc| vpc.ipv6) {
            xml::set(out, "ipv6CidrBlockAssociationSet", ["2001:db8::/56"], |out, block| {
                xml::text(out, "ipv6CidrBlock", block);
                xml::element(out, "ipv6CidrBlockState", |out| {
                    xml::text(out, "state", "associated");
                });
            });
        }
    });
    next_token(&mut out, next);
    Ok(out)
}

pub(super) fn describe_tags(ec2: &Ec2, form: &Form) -> Answer {
    let mut found = Vec::new();
    for (id, tags) in &ec2.tags {
        'tags: for (key, value) in tags {
            for (name, values) in form.filters() {
                let text = match name.as_str() {
                    "resource-id" => id,
                    "key" => key,
                    "value" => value,
                    _ => return Err(unknown_filter(&name)),
                };
                if !passes(&values, text) {
                    continue 'tags;
                }
            }
            found.push((id, key, value));
        }
    }
    let (found, next) = page(form, &found)?;
    let mut out = String::new();
    xml::set(&mut out, "tagSet", found, |out, (id, key, value)| {
        xml::text(out, "resourceId", id);
        xml::text(out, "resourceType", resource_type(id));
        xml::text(out, "key", key);
        xml::text(out, "value", value);
    });
    next_token(&mut out, next);
    Ok(out)
}

pub(super) fn resource_type(id: &str) -> &'static str {
    match id.split('-').next().unwrap_or_default() {
        "i" => "instance",
        "sg" => "security-group",
        "eni" => "network-interface",
        "vpc" => "vpc",
        "vol" => "volume",
        "snap" => "snapshot",
        _ => "unknown",
    }
}

pub(super) fn describe_associations(ec2: &Ec2, form: &Form) -> Answer {
    let not_found = "InvalidAssociationID.NotFound";
    let ids = wanted(form, "AssociationId", &ec2.associations, not_found)?;
    let ids = select(
        form,
        ids,
        |_, _| None,
        |id, name| match name {
            "instance-id" => Some(vec![ec2.associations.get(id)?.instance.clone()]),
            "state" => Some(vec!["associated".to_owned()]),
            _ => None,
        },
    )?;
    let (ids, next) = page(form, &ids)?;
    let mut out = String::new();
    xml::set(&mut out, "iamInstanceProfileAssociationSet", ids, |out, id| {
        association(out, ec2, id, "associated");
    });
    next_token(&mut out, next);
    Ok(out)
}

pub(super) fn association(out: &mut String, ec2: &Ec2, id: &str, state: &str) {
    let Some(association) = ec2.associations.get(id) else { return };
    xml::text(out, "associationId", id);
    xml::text(out, "instanceId", &association.instance);
    xml::element(out, "iamInstanceProfile", |out| {
        xml::text(out, "arn", &association.profile_arn);
        xml::text(out, "id", &association.profile_id);
    });
    xml::text(out, "state", state);
}
