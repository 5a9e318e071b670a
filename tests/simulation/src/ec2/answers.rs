//! EC2's calls, and those that change something, as the EC2 API reference has
//! them. The reads are in `describe`.

use std::collections::BTreeSet;

use super::describe::{
    association, describe_associations, describe_instances, describe_network_interfaces,
    describe_security_groups, describe_tags, describe_vpcs, resource_type, tag_set,
};
use super::form::Form;
use super::model::{Ec2, Peer, ProfileAssociation, Rule, SecurityGroup};
use super::{Refusal, instances, network, xml};

/// What a call needs to know of where it was made.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The account.
    pub account: &'a str,
    /// The Region.
    pub region: &'a str,
    /// The present time.
    pub now: jiff::Timestamp,
    /// Resolves an instance profile's name or ARN to its ARN and id.
    pub profile: &'a dyn Fn(&str) -> Option<(String, String)>,
}

pub(super) type Answer = Result<String, Refusal>;

pub(super) fn refuse(code: &str, message: String) -> Refusal {
    Refusal { code: code.to_owned(), message }
}

pub(super) fn missing(name: &str) -> Refusal {
    refuse("MissingParameter", format!("The request must contain the parameter {name}"))
}

pub(super) fn required<'a>(form: &'a Form, name: &str) -> Result<&'a str, Refusal> {
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
        "TerminateInstances" | "StopInstances" | "StartInstances" => {
            instances::change_state(ec2, action, form)
        }
        "DescribeInstanceAttribute" => instances::describe_attribute(ec2, form),
        "ModifyInstanceAttribute" => instances::modify_attribute(ec2, form),
        "DescribeAddresses" => network::describe_addresses(ec2, form),
        "AssociateAddress" => network::associate_address(ec2, form),
        "DisassociateAddress" => network::disassociate_address(ec2, form),
        "DescribeNetworkAcls" => network::describe_acls(ec2, place, form),
        "CreateNetworkAclEntry" => network::create_acl_entry(ec2, form),
        "DeleteNetworkAclEntry" => network::delete_acl_entry(ec2, form),
        "DescribeManagedPrefixLists" => network::describe_prefix_lists(ec2, form),
        "GetManagedPrefixListEntries" => network::prefix_list_entries(ec2, form),
        "ModifyManagedPrefixList" => network::modify_prefix_list(ec2, form),
        _ => {
            return super::inventory::answer(ec2, place, action, form)
                .or_else(|| super::volumes::answer(ec2, place, action, form));
        }
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

fn create_security_group(ec2: &mut Ec2, form: &Form) -> Answer {
    let (name, vpc) = (required(form, "GroupName")?, required(form, "VpcId")?);
    let description = required(form, "GroupDescription")?;
    if !ec2.vpcs.contains_key(vpc) {
        return Err(refuse("InvalidVpcID.NotFound", format!("The vpc ID '{vpc}' does not exist")));
    }
    let is_taken =
        |group: &SecurityGroup| group.vpc == vpc && group.name == name && group.owner.is_none();
    if ec2.groups.values().any(is_taken) {
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
    if ec2.groups.get(id).is_none_or(|group| group.owner.is_some()) {
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

pub(super) fn returned_true() -> String {
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
        if found.owner.is_some() || found.vpc != interface.vpc {
            return Err(refuse(
                "InvalidGroup.NotFound",
                format!("The security group '{group}' does not exist in VPC '{}'", interface.vpc),
            ));
        }
    }
    if let Some(interface) = ec2.interfaces.get_mut(id) {
        interface.groups = groups;
    }
    ec2.groups_changed(id);
    Ok(returned_true())
}

pub(super) fn put_tags(ec2: &mut Ec2, id: &str, tags: &[Form]) {
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
