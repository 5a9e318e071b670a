//! What EC2 tells of an instance's console and of a VPC's subnets and routes.
//! Every VPC has one subnet and one route table, named after it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::answers::{Answer, Place, refuse, required};
use super::describe::{next_token, page, select};
use super::form::Form;
use super::model::{Ec2, Instance};
use super::{Refusal, xml};

/// What every console says.
pub const CONSOLE: &str = "[    0.000000] Linux version 6.1.0\nlogin: ";

/// The first bytes of every screenshot: a JPEG's.
pub const SCREENSHOT: [u8; 4] = [0xff, 0xd8, 0xff, 0xe0];

/// Answers a call; `None` for one that is not modelled.
pub(super) fn answer(ec2: &Ec2, place: Place<'_>, action: &str, form: &Form) -> Option<Answer> {
    Some(match action {
        "GetConsoleOutput" => console_output(ec2, place, form),
        "GetConsoleScreenshot" => console_screenshot(ec2, form),
        "DescribeSubnets" => describe_subnets(ec2, form),
        "DescribeRouteTables" => describe_route_tables(ec2, form),
        "DescribeVpcEndpoints" => describe_vpc_endpoints(ec2, form),
        _ => return None,
    })
}

fn instance<'a>(ec2: &'a Ec2, id: &str) -> Result<&'a Instance, Refusal> {
    ec2.instances.get(id).ok_or_else(|| {
        refuse("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist"))
    })
}

fn console_output(ec2: &Ec2, place: Place<'_>, form: &Form) -> Answer {
    let id = required(form, "InstanceId")?;
    instance(ec2, id)?;
    let mut out = String::new();
    xml::text(&mut out, "instanceId", id);
    xml::text(&mut out, "timestamp", &place.now.to_string());
    xml::text(&mut out, "output", &STANDARD.encode(CONSOLE));
    Ok(out)
}

fn console_screenshot(ec2: &Ec2, form: &Form) -> Answer {
    let id = required(form, "InstanceId")?;
    let state = &instance(ec2, id)?.state;
    if state != "running" {
        let message = format!("The instance '{id}' is {state}: there is nothing to see");
        return Err(refuse("UnsupportedOperation", message));
    }
    let mut out = String::new();
    xml::text(&mut out, "instanceId", id);
    xml::text(&mut out, "imageData", &STANDARD.encode(SCREENSHOT));
    Ok(out)
}

fn vpcs(ec2: &Ec2, form: &Form) -> Result<Vec<String>, Refusal> {
    let all = ec2.vpcs.keys().cloned().collect();
    let field = |id: &str, name: &str| (name == "vpc-id").then(|| vec![id.to_owned()]);
    select(form, all, |_, _| None, field)
}

fn describe_subnets(ec2: &Ec2, form: &Form) -> Answer {
    let vpcs = vpcs(ec2, form)?;
    let (vpcs, next) = page(form, &vpcs)?;
    let mut out = String::new();
    xml::set(&mut out, "subnetSet", vpcs, |out, vpc| {
        xml::text(out, "subnetId", &vpc.replacen("vpc-", "subnet-", 1));
        xml::text(out, "vpcId", vpc);
        xml::text(out, "cidrBlock", "10.0.0.0/20");
        xml::text(out, "state", "available");
    });
    next_token(&mut out, next);
    Ok(out)
}

fn describe_route_tables(ec2: &Ec2, form: &Form) -> Answer {
    let vpcs = vpcs(ec2, form)?;
    let (vpcs, next) = page(form, &vpcs)?;
    let mut out = String::new();
    xml::set(&mut out, "routeTableSet", vpcs, |out, vpc| {
        xml::text(out, "routeTableId", &vpc.replacen("vpc-", "rtb-", 1));
        xml::text(out, "vpcId", vpc);
        xml::set(out, "associationSet", [vpc], |out, _| xml::text(out, "main", "true"));
        let local = ("10.0.0.0/16".to_owned(), "local".to_owned());
        let others = ec2.vpcs.get(vpc).map(|it| it.routes.clone()).unwrap_or_default();
        xml::set(out, "routeSet", [local].into_iter().chain(others), |out, (block, target)| {
            let destination = match block.as_str() {
                list if list.starts_with("pl-") => "destinationPrefixListId",
                block if block.contains(':') => "destinationIpv6CidrBlock",
                _ => "destinationCidrBlock",
            };
            xml::text(out, destination, &block);
            let name = match target.split('-').next() {
                Some("nat") => "natGatewayId",
                Some("eigw") => "egressOnlyInternetGatewayId",
                Some("tgw") => "transitGatewayId",
                _ => "gatewayId",
            };
            xml::text(out, name, &target);
            xml::text(out, "state", "active");
        });
    });
    next_token(&mut out, next);
    Ok(out)
}

fn describe_vpc_endpoints(ec2: &Ec2, form: &Form) -> Answer {
    let all = ec2.vpcs.iter().flat_map(|(vpc, it)| {
        it.endpoints.iter().map(move |(id, service)| (id.clone(), (vpc, service)))
    });
    let all: BTreeMap<String, (&String, &String)> = all.collect();
    let field = |id: &str, name: &str| match name {
        "vpc-endpoint-id" => Some(vec![id.to_owned()]),
        "vpc-id" => Some(vec![all.get(id)?.0.clone()]),
        _ => None,
    };
    let ids = select(form, all.keys().cloned().collect(), |_, _| None, field)?;
    let (ids, next) = page(form, &ids)?;
    let mut out = String::new();
    xml::set(&mut out, "vpcEndpointSet", ids, |out, id| {
        xml::text(out, "vpcEndpointId", id);
        if let Some((vpc, service)) = all.get(id) {
            xml::text(out, "vpcId", vpc);
            xml::text(out, "serviceName", service);
        }
        xml::text(out, "vpcEndpointType", "Gateway");
        xml::text(out, "state", "available");
    });
    next_token(&mut out, next);
    Ok(out)
}
