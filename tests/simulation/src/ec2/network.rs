//! Elastic IP addresses, network ACLs and managed prefix lists.

use super::answers::{Answer, Place, refuse, required, returned_true};
use super::describe::{flag, next_token, page, select, tag_set, wanted};
use super::form::Form;
use super::model::{AclEntry, Address, Ec2};
use super::{Refusal, xml};

/// DescribeAddresses has no pages (EC2 API reference).
pub(super) fn describe_addresses(ec2: &Ec2, form: &Form) -> Answer {
    let ids = wanted(form, "AllocationId", &ec2.addresses, "InvalidAllocationID.NotFound")?;
    let instance_of = |address: &Address| {
        let (interface, _) = address.on.as_ref()?;
        ec2.interfaces.get(interface)?.instance.clone()
    };
    let ids = select(
        form,
        ids,
        |id, key| ec2.tags.get(id)?.get(key).cloned(),
        |id, name| {
            let address = ec2.addresses.get(id)?;
            let on = address.on.as_ref();
            match name {
                "instance-id" => Some(instance_of(address).into_iter().collect()),
                "network-interface-id" => Some(on.map(|(id, _)| id.clone()).into_iter().collect()),
                "allocation-id" => Some(vec![id.to_owned()]),
                _ => None,
            }
        },
    )?;
    let mut out = String::new();
    xml::set(&mut out, "addressesSet", &ids, |out, id| {
        let Some(address) = ec2.addresses.get(id) else { return };
        xml::text(out, "publicIp", &address.public_ip);
        xml::text(out, "allocationId", id);
        xml::text(out, "domain", "vpc");
        if let Some((interface, private)) = &address.on {
            xml::text(out, "associationId", &address.association);
            xml::text(out, "networkInterfaceId", interface);
            xml::text(out, "privateIpAddress", private);
            if let Some(instance) = instance_of(address) {
                xml::text(out, "instanceId", &instance);
            }
        }
        tag_set(out, ec2, id);
    });
    Ok(out)
}

pub(super) fn associate_address(ec2: &mut Ec2, form: &Form) -> Answer {
    let id = required(form, "AllocationId")?.to_owned();
    let interface = required(form, "NetworkInterfaceId")?.to_owned();
    let Some(present) = ec2.interfaces.get(&interface) else {
        return Err(refuse(
            "InvalidNetworkInterfaceID.NotFound",
            format!("The networkInterface ID '{interface}' does not exist"),
        ));
    };
    let private = form.get("PrivateIpAddress").unwrap_or(&present.private_ip).to_owned();
    let association = ec2.new_id("eipassoc");
    let address = ec2.addresses.get_mut(&id).ok_or_else(|| {
        let message = format!("The allocation ID '{id}' does not exist");
        refuse("InvalidAllocationID.NotFound", message)
    })?;
    let on = (interface, private);
    if address.on.is_some() && address.on.as_ref() != Some(&on) && !form.flag("AllowReassociation")
    {
        return Err(refuse(
            "Resource.AlreadyAssociated",
            format!("resource {id} is already associated with another resource"),
        ));
    }
    if let Some(interface) = ec2.interfaces.get_mut(&on.0) {
        interface.public_ip = Some(address.public_ip.clone());
    }
    address.on = Some(on);
    address.association.clone_from(&association);
    let mut out = returned_true();
    xml::text(&mut out, "associationId", &association);
    Ok(out)
}

pub(super) fn disassociate_address(ec2: &mut Ec2, form: &Form) -> Answer {
    let id = required(form, "AssociationId")?;
    let mut addresses = ec2.addresses.values_mut();
    let address =
        addresses.find(|it| it.on.is_some() && it.association == id).ok_or_else(|| {
            let message = format!("The association ID '{id}' does not exist");
            refuse("InvalidAssociationID.NotFound", message)
        })?;
    if let Some((interface, _)) = address.on.take()
        && let Some(interface) = ec2.interfaces.get_mut(&interface)
    {
        interface.public_ip = None;
    }
    Ok(returned_true())
}

pub(super) fn describe_acls(ec2: &Ec2, place: Place<'_>, form: &Form) -> Answer {
    let ids = wanted(form, "NetworkAclId", &ec2.acls, "InvalidNetworkAclID.NotFound")?;
    let ids = select(
        form,
        ids,
        |id, key| ec2.tags.get(id)?.get(key).cloned(),
        |id, name| {
            let acl = ec2.acls.get(id)?;
            match name {
                "association.subnet-id" => Some(acl.subnets.iter().cloned().collect()),
                "network-acl-id" => Some(vec![id.to_owned()]),
                "vpc-id" => Some(vec![acl.vpc.clone()]),
                _ => None,
            }
        },
    )?;
    let (ids, next) = page(form, &ids)?;
    let mut out = String::new();
    xml::set(&mut out, "networkAclSet", ids, |out, id| {
        let Some(acl) = ec2.acls.get(id) else { return };
        xml::text(out, "networkAclId", id);
        xml::text(out, "vpcId", &acl.vpc);
        xml::text(out, "ownerId", place.account);
        xml::set(out, "entrySet", &acl.entries, |out, ((egress, number), entry)| {
            xml::text(out, "ruleNumber", &number.to_string());
            xml::text(out, "protocol", &entry.protocol);
            xml::text(out, "ruleAction", &entry.action);
            xml::text(out, "egress", flag(*egress));
            let name = if entry.block.contains(':') { "ipv6CidrBlock" } else { "cidrBlock" };
            xml::text(out, name, &entry.block);
        });
        xml::set(out, "associationSet", &acl.subnets, |out, subnet| {
            xml::text(out, "networkAclAssociationId", &subnet.replacen("subnet-", "aclassoc-", 1));
            xml::text(out, "networkAclId", id);
            xml::text(out, "subnetId", subnet);
        });
    });
    next_token(&mut out, next);
    Ok(out)
}

/// "Rules per network ACL: 20" in each direction (VPC quotas); the last one
/// that AWS adds does not count.
const RULES: usize = 20;

fn place_of(form: &Form) -> Result<(bool, i64), Refusal> {
    let number = required(form, "RuleNumber")?;
    let number = number.parse().ok().filter(|number| (1..=32_766).contains(number));
    let number = number.ok_or_else(|| {
        refuse("InvalidParameterValue", "ruleNumber must be between 1 and 32766".to_owned())
    })?;
    Ok((form.flag("Egress"), number))
}

fn acl_not_found(id: &str) -> Refusal {
    refuse("InvalidNetworkAclID.NotFound", format!("The networkAcl ID '{id}' does not exist"))
}

pub(super) fn create_acl_entry(ec2: &mut Ec2, form: &Form) -> Answer {
    let id = required(form, "NetworkAclId")?;
    let at = place_of(form)?;
    let block = form.get("CidrBlock").or(form.get("Ipv6CidrBlock"));
    let block = block.ok_or_else(|| super::answers::missing("CidrBlock"))?.to_owned();
    let entry = AclEntry {
        action: required(form, "RuleAction")?.to_owned(),
        protocol: required(form, "Protocol")?.to_owned(),
        block,
    };
    let acl = ec2.acls.get_mut(id).ok_or_else(|| acl_not_found(id))?;
    if acl.entries.contains_key(&at) {
        return Err(refuse(
            "NetworkAclEntryAlreadyExists",
            format!("The network acl entry identified by {} already exists.", at.1),
        ));
    }
    let same_way = |(egress, number): &&(bool, i64)| *egress == at.0 && *number != 32_767;
    if acl.entries.keys().filter(same_way).count() >= RULES {
        return Err(refuse(
            "NetworkAclEntryLimitExceeded",
            "The maximum number of network acl entries has been reached.".to_owned(),
        ));
    }
    acl.entries.insert(at, entry);
    Ok(returned_true())
}

pub(super) fn delete_acl_entry(ec2: &mut Ec2, form: &Form) -> Answer {
    let id = required(form, "NetworkAclId")?;
    let at = place_of(form)?;
    let acl = ec2.acls.get_mut(id).ok_or_else(|| acl_not_found(id))?;
    acl.entries.remove(&at).map(|_| returned_true()).ok_or_else(|| {
        refuse(
            "InvalidNetworkAclEntry.NotFound",
            format!("The network acl entry identified by {} does not exist.", at.1),
        )
    })
}

const NO_LIST: &str = "InvalidPrefixListID.NotFound";

pub(super) fn describe_prefix_lists(ec2: &Ec2, form: &Form) -> Answer {
    let ids = wanted(form, "PrefixListId", &ec2.prefix_lists, NO_LIST)?;
    let (ids, next) = page(form, &ids)?;
    let mut out = String::new();
    xml::set(&mut out, "prefixListSet", ids, |out, id| {
        let Some(list) = ec2.prefix_lists.get(id) else { return };
        xml::text(out, "prefixListId", id);
        xml::text(out, "prefixListName", &list.name);
        xml::text(out, "addressFamily", &list.family);
        xml::text(out, "maxEntries", &list.max_entries.to_string());
        xml::text(out, "version", &list.version.to_string());
        xml::text(out, "state", "modify-complete");
    });
    next_token(&mut out, next);
    Ok(out)
}

fn list_not_found(id: &str) -> Refusal {
    refuse(NO_LIST, format!("The prefix list ID '{id}' does not exist"))
}

pub(super) fn prefix_list_entries(ec2: &Ec2, form: &Form) -> Answer {
    let id = required(form, "PrefixListId")?;
    let list = ec2.prefix_lists.get(id).ok_or_else(|| list_not_found(id))?;
    let entries: Vec<(&String, &String)> = list.entries.iter().collect();
    let (entries, next) = page(form, &entries)?;
    let mut out = String::new();
    xml::set(&mut out, "entrySet", entries, |out, (cidr, description)| {
        xml::text(out, "cidr", cidr);
        xml::text(out, "description", description);
    });
    next_token(&mut out, next);
    Ok(out)
}

pub(super) fn modify_prefix_list(ec2: &mut Ec2, form: &Form) -> Answer {
    let id = required(form, "PrefixListId")?;
    let list = ec2.prefix_lists.get_mut(id).ok_or_else(|| list_not_found(id))?;
    let version = form.get("CurrentVersion").and_then(|version| version.parse().ok());
    if version != Some(list.version) {
        return Err(refuse(
            "PrefixListVersionMismatch",
            "The prefix list has the incorrect version number".to_owned(),
        ));
    }
    let mut entries = list.entries.clone();
    for entry in form.structures("RemoveEntry") {
        let cidr = required(&entry, "Cidr")?;
        if entries.remove(cidr).is_none() {
            let message = format!("The entry {cidr} does not exist in the prefix list");
            return Err(refuse("InvalidParameterValue", message));
        }
    }
    for entry in form.structures("AddEntry") {
        let description = entry.get("Description").unwrap_or_default().to_owned();
        entries.insert(required(&entry, "Cidr")?.to_owned(), description);
    }
    if entries.len() > list.max_entries {
        return Err(refuse(
            "PrefixListMaxEntriesExceeded",
            "You've reached the maximum number of entries for the prefix list.".to_owned(),
        ));
    }
    list.entries = entries;
    list.version += 1;
    let mut out = String::new();
    xml::element(&mut out, "prefixList", |out| {
        xml::text(out, "prefixListId", id);
        xml::text(out, "state", "modify-in-progress");
    });
    Ok(out)
}
