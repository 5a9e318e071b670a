//! EC2's calls: parameters in, XML out, as the EC2 API reference has them.

use std::collections::BTreeSet;

use super::form::Form;
use super::model::{Ec2, NetworkInterface, Peer, ProfileAssociation, Rule, SecurityGroup};
use super::{Refusal, xml};

/// What a call needs to know of where it was made.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The account.
    pub account: &'a str,
    /// Resolves an instance profile's name or ARN to its ARN and id.
    pub profile: &'a dyn Fn(&str) -> Option<(String, String)>,
}

type Answer = Result<String, Refusal>;

fn refuse(code: &str, message: String) -> Refusal {
    Refusal { code: code.to_owned(), message }
}

fn missing(name: &str) -> Refusal {
    refuse("MissingParameter", format!("The request must contain the parameter {name}"))
}

fn required<'a>(form: &'a Form, name: &str) -> Result<&'a str, Refusal> {
    form.get(name).ok_or_else(|| missing(name))
}

/// Answers a call; `None` for one that is not modelled.
pub fn answer(ec2: &mut Ec2, place: Place<'_>, action: &str, form: &Form) -> Option<Answer> {
    Some(match action {
        "DescribeInstances" => describe_instances(ec2, place, form),
        "DescribeNetworkInterfaces" => describe_network_interfaces(ec2, place, form),
        "DescribeSecurityGroups" => describe_security_groups(ec2, place, form),
        "DescribeVpcs" => describe_vpcs(ec2, place, form),
        "DescribeTags" => describe_tags(ec2, form),
        "DescribeIamInstanceProfileAssociations" => describe_associations(ec2, form),
        "CreateSecurityGroup" => create_security_group(ec2, form),
        "DeleteSecurityGroup" => delete_security_group(ec2, form),
        "AuthorizeSecurityGroupIngress" => authorize(ec2, form, Direction::Ingress),
        "AuthorizeSecurityGroupEgress" => authorize(ec2, form, Direction::Egress),
        "RevokeSecurityGroupIngress" => revoke(ec2, form, Direction::Ingress),
        "RevokeSecurityGroupEgress" => revoke(ec2, form, Direction::Egress),
        "ModifyNetworkInterfaceAttribute" => modify_network_interface_attribute(ec2, form),
        "CreateTags" => create_tags(ec2, form),
        "DeleteTags" => delete_tags(ec2, form),
        "AssociateIamInstanceProfile" => associate(ec2, place, form),
        "DisassociateIamInstanceProfile" => disassociate(ec2, form),
        "ReplaceIamInstanceProfileAssociation" => replace_association(ec2, place, form),
        "TerminateInstances" => terminate_instances(ec2, form),
        _ => return None,
    })
}

#[derive(Clone, Copy)]
enum Direction {
    Ingress,
    Egress,
}

impl SecurityGroup {
    fn rules(&mut self, direction: Direction) -> &mut BTreeSet<Rule> {
        match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        }
    }
}

/// Pages by `MaxResults` and `NextToken`; the token is the place to go on at.
fn page<'a, T>(form: &Form, all: &'a [T]) -> Result<(&'a [T], Option<String>), Refusal> {
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

fn next_token(out: &mut String, next: Option<String>) {
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
fn select(
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
fn wanted<T>(
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

fn tag_set(out: &mut String, ec2: &Ec2, id: &str) {
    if let Some(tags) = ec2.tags.get(id).filter(|tags| !tags.is_empty()) {
        xml::set(out, "tagSet", tags, |out, (key, value)| {
            xml::text(out, "key", key);
            xml::text(out, "value", value);
        });
    }
}

fn group_set(out: &mut String, ec2: &Ec2, groups: &[String]) {
    xml::set(out, "groupSet", groups, |out, id| {
        xml::text(out, "groupId", id);
        xml::text(out, "groupName", ec2.groups.get(id).map_or("", |group| &group.name));
    });
}

fn describe_instances(ec2: &Ec2, place: Place<'_>, form: &Form) -> Answer {
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
    xml::text(out, "requesterManaged", if interface.requester_managed { "true" } else { "false" });
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

fn describe_network_interfaces(ec2: &Ec2, place: Place<'_>, form: &Form) -> Answer {
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

fn describe_security_groups(ec2: &Ec2, place: Place<'_>, form: &Form) -> Answer {
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
        xml::text(out, "ownerId", place.account);
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

fn describe_vpcs(ec2: &Ec2, place: Place<'_>, form: &Form) -> Answer {
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

fn describe_tags(ec2: &Ec2, form: &Form) -> Answer {
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

fn resource_type(id: &str) -> &'static str {
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

fn describe_associations(ec2: &Ec2, form: &Form) -> Answer {
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

fn association(out: &mut String, ec2: &Ec2, id: &str, state: &str) {
    let Some(association) = ec2.associations.get(id) else { return };
    xml::text(out, "associationId", id);
    xml::text(out, "instanceId", &association.instance);
    xml::element(out, "iamInstanceProfile", |out| {
        xml::text(out, "arn", &association.profile_arn);
        xml::text(out, "id", &association.profile_id);
    });
    xml::text(out, "state", state);
}

fn create_security_group(ec2: &mut Ec2, form: &Form) -> Answer {
    let (name, vpc) = (required(form, "GroupName")?, required(form, "VpcId")?);
    let description = required(form, "GroupDescription")?;
    if !ec2.vpcs.contains_key(vpc) {
        return Err(refuse("InvalidVpcID.NotFound", format!("The vpc ID '{vpc}' does not exist")));
    }
    if ec2.groups.values().any(|group| group.vpc == vpc && group.name == name) {
        return Err(refuse(
            "InvalidGroup.Duplicate",
            format!("The security group '{name}' already exists for VPC '{vpc}'"),
        ));
    }
    let id = ec2.add_group(vpc, name);
    if let Some(group) = ec2.groups.get_mut(&id) {
        description.clone_into(&mut group.description);
    }
    for specification in form.structures("TagSpecification") {
        put_tags(ec2, &id, &specification.structures("Tag"));
    }
    let mut out = String::new();
    xml::text(&mut out, "return", "true");
    xml::text(&mut out, "groupId", &id);
    tag_set(&mut out, ec2, &id);
    Ok(out)
}

fn delete_security_group(ec2: &mut Ec2, form: &Form) -> Answer {
    let id = required(form, "GroupId")?;
    if !ec2.groups.contains_key(id) {
        return Err(group_not_found(id));
    }
    let used = ec2.interfaces.values().any(|interface| interface.groups.iter().any(|it| it == id));
    let peer = Peer::Group(id.to_owned());
    let named = ec2.groups.iter().any(|(other, group)| {
        other != id && group.ingress.iter().chain(&group.egress).any(|rule| rule.peer == peer)
    });
    if used || named {
        return Err(refuse("DependencyViolation", format!("resource {id} has a dependent object")));
    }
    ec2.groups.remove(id);
    ec2.tags.remove(id);
    Ok(returned_true())
}

fn group_not_found(id: &str) -> Refusal {
    refuse("InvalidGroup.NotFound", format!("The security group '{id}' does not exist"))
}

fn returned_true() -> String {
    "<return>true</return>".to_owned()
}

/// The rules of `IpPermissions.N.*`: one for each peer.
fn rules(form: &Form) -> Result<Vec<Rule>, Refusal> {
    let mut rules = Vec::new();
    for permission in form.structures("IpPermissions") {
        let protocol = required(&permission, "IpProtocol")?;
        // "If the protocol is -1, all traffic: ports are ignored" (IpPermission).
        let port = |name: &str| {
            permission.get(name).filter(|_| protocol != "-1").and_then(|port| port.parse().ok())
        };
        let mut add = |peer| {
            rules.push(Rule {
                protocol: protocol.to_owned(),
                from: port("FromPort"),
                to: port("ToPort"),
                peer,
            });
        };
        for range in permission.structures("IpRanges") {
            add(Peer::Ipv4(required(&range, "CidrIp")?.to_owned()));
        }
        for range in permission.structures("Ipv6Ranges") {
            add(Peer::Ipv6(required(&range, "CidrIpv6")?.to_owned()));
        }
        for list in permission.structures("PrefixListIds") {
            add(Peer::PrefixList(required(&list, "PrefixListId")?.to_owned()));
        }
        for group in permission.structures("Groups") {
            add(Peer::Group(required(&group, "GroupId")?.to_owned()));
        }
    }
    if rules.is_empty() { Err(missing("IpPermissions")) } else { Ok(rules) }
}

fn authorize(ec2: &mut Ec2, form: &Form, direction: Direction) -> Answer {
    let id = required(form, "GroupId")?;
    let rules = rules(form)?;
    let group = ec2.groups.get_mut(id).ok_or_else(|| group_not_found(id))?.rules(direction);
    for rule in &rules {
        if group.contains(rule) {
            return Err(refuse(
                "InvalidPermission.Duplicate",
                format!("the specified rule \"{rule:?}\" already exists"),
            ));
        }
    }
    group.extend(rules);
    Ok(returned_true())
}

fn revoke(ec2: &mut Ec2, form: &Form, direction: Direction) -> Answer {
    let id = required(form, "GroupId")?;
    let rules = rules(form)?;
    let group = ec2.groups.get_mut(id).ok_or_else(|| group_not_found(id))?.rules(direction);
    for rule in &rules {
        if !group.contains(rule) {
            return Err(refuse(
                "InvalidPermission.NotFound",
                "The specified rule does not exist in this security group.".to_owned(),
            ));
        }
    }
    for rule in &rules {
        group.remove(rule);
    }
    Ok(returned_true())
}

fn modify_network_interface_attribute(ec2: &mut Ec2, form: &Form) -> Answer {
    let id = required(form, "NetworkInterfaceId")?;
    let groups: Vec<String> = form.list("SecurityGroupId").into_iter().map(str::to_owned).collect();
    let Some(interface) = ec2.interfaces.get(id) else {
        return Err(refuse(
            "InvalidNetworkInterfaceID.NotFound",
            format!("The networkInterface ID '{id}' does not exist"),
        ));
    };
    if groups.is_empty() {
        return Err(refuse(
            "InvalidParameterCombination",
            "The simulation models only the attribute Groups, which needs at least one".to_owned(),
        ));
    }
    if interface.requester_managed {
        return Err(refuse(
            "AuthFailure",
            format!("You do not have permission to access the specified resource: {id}"),
        ));
    }
    for group in &groups {
        let found = ec2.groups.get(group).ok_or_else(|| group_not_found(group))?;
        if found.vpc != interface.vpc {
            return Err(refuse(
                "InvalidGroup.NotFound",
                format!("The security group '{group}' does not exist in VPC '{}'", interface.vpc),
            ));
        }
    }
    if let Some(interface) = ec2.interfaces.get_mut(id) {
        interface.groups = groups;
    }
    Ok(returned_true())
}

fn put_tags(ec2: &mut Ec2, id: &str, tags: &[Form]) {
    let own = ec2.tags.entry(id.to_owned()).or_default();
    for tag in tags {
        let key = tag.get("Key").unwrap_or_default().to_owned();
        own.insert(key, tag.get("Value").unwrap_or_default().to_owned());
    }
}

fn exists(ec2: &Ec2, id: &str) -> Result<(), Refusal> {
    let found = ec2.instances.contains_key(id)
        || ec2.groups.contains_key(id)
        || ec2.interfaces.contains_key(id)
        || ec2.vpcs.contains_key(id);
    if found {
        return Ok(());
    }
    let code = match resource_type(id) {
        "instance" => "InvalidInstanceID.NotFound",
        "security-group" => "InvalidGroup.NotFound",
        "network-interface" => "InvalidNetworkInterfaceID.NotFound",
        _ => "InvalidID",
    };
    Err(refuse(code, format!("The ID '{id}' does not exist")))
}

fn create_tags(ec2: &mut Ec2, form: &Form) -> Answer {
    let ids: Vec<String> = form.list("ResourceId").into_iter().map(str::to_owned).collect();
    for id in &ids {
        exists(ec2, id)?;
    }
    for id in &ids {
        put_tags(ec2, id, &form.structures("Tag"));
    }
    Ok(returned_true())
}

fn delete_tags(ec2: &mut Ec2, form: &Form) -> Answer {
    for id in form.list("ResourceId") {
        exists(ec2, id)?;
        let Some(own) = ec2.tags.get_mut(id) else { continue };
        for tag in form.structures("Tag") {
            let key = tag.get("Key").unwrap_or_default();
            // "If you specify a tag value, the tag is deleted only if its value
            // is the same" (EC2 API reference, DeleteTags).
            if tag.get("Value").is_none_or(|value| own.get(key).is_some_and(|own| own == value)) {
                own.remove(key);
            }
        }
        if own.is_empty() {
            ec2.tags.remove(id);
        }
    }
    Ok(returned_true())
}

fn profile(place: Place<'_>, form: &Form) -> Result<(String, String), Refusal> {
    let named = form.get("IamInstanceProfile.Arn").or(form.get("IamInstanceProfile.Name"));
    let named = named.ok_or_else(|| missing("IamInstanceProfile"))?;
    (place.profile)(named).ok_or_else(|| {
        refuse(
            "InvalidParameterValue",
            format!("Value ({named}) for parameter iamInstanceProfile is invalid"),
        )
    })
}

fn associate(ec2: &mut Ec2, place: Place<'_>, form: &Form) -> Answer {
    let instance = required(form, "InstanceId")?;
    let (arn, profile_id) = profile(place, form)?;
    let state = ec2.instances.get(instance).map(|instance| instance.state.as_str());
    match state {
        None => {
            return Err(refuse(
                "InvalidInstanceID.NotFound",
                format!("The instance ID '{instance}' does not exist"),
            ));
        }
        Some("running" | "stopped") => {}
        Some(state) => {
            return Err(refuse(
                "IncorrectInstanceState",
                format!(
                    "The instance '{instance}' is not in the running or stopped states but {state}"
                ),
            ));
        }
    }
    if ec2.associations.values().any(|association| association.instance == instance) {
        return Err(refuse(
            "IncorrectState",
            format!("There is an existing association for instance {instance}"),
        ));
    }
    let id = ec2.associate(instance, &arn, &profile_id);
    Ok(one_association(ec2, &id, "associating"))
}

fn one_association(ec2: &Ec2, id: &str, state: &str) -> String {
    let mut out = String::new();
    xml::element(&mut out, "iamInstanceProfileAssociation", |out| {
        association(out, ec2, id, state);
    });
    out
}

fn association_not_found(id: &str) -> Refusal {
    refuse(
        "InvalidAssociationID.NotFound",
        format!("An invalid association-id of '{id}' was given"),
    )
}

fn disassociate(ec2: &mut Ec2, form: &Form) -> Answer {
    let id = required(form, "AssociationId")?;
    if !ec2.associations.contains_key(id) {
        return Err(association_not_found(id));
    }
    let out = one_association(ec2, id, "disassociating");
    ec2.associations.remove(id);
    Ok(out)
}

fn replace_association(ec2: &mut Ec2, place: Place<'_>, form: &Form) -> Answer {
    let id = required(form, "AssociationId")?;
    let (profile_arn, profile_id) = profile(place, form)?;
    let Some(ProfileAssociation { instance, .. }) = ec2.associations.remove(id) else {
        return Err(association_not_found(id));
    };
    let id = ec2.associate(&instance, &profile_arn, &profile_id);
    Ok(one_association(ec2, &id, "associating"))
}

fn terminate_instances(ec2: &mut Ec2, form: &Form) -> Answer {
    let ids = wanted(form, "InstanceId", &ec2.instances, "InvalidInstanceID.NotFound")?;
    if form.list("InstanceId").is_empty() {
        return Err(missing("InstanceId"));
    }
    for id in &ids {
        ec2.terminate(id);
    }
    let mut out = String::new();
    xml::set(&mut out, "instancesSet", &ids, |out, id| {
        xml::text(out, "instanceId", id);
        xml::element(out, "currentState", |out| {
            xml::text(out, "code", "48");
            xml::text(out, "name", "terminated");
        });
    });
    Ok(out)
}
