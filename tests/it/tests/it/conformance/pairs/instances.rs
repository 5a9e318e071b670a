//! The actions on instances.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::IamInstanceProfileSpecification;
use aws_sdk_elasticloadbalancing::types::{Instance, Listener};
use aws_sdk_elasticloadbalancingv2::types::{ProtocolEnum, TargetDescription, TargetTypeEnum};
use firebreak_model::resource::ResourceKind;
use firebreak_simulation::regional::autoscaling::Group;
use firebreak_simulation::regional::elb::Balancer;
use firebreak_simulation::regional::elbv2::TargetGroup;
use firebreak_simulation::regional::ssm::{Document, Managed};
use firebreak_simulation::regional::wafv2::IpSet;
use serde_json::json;

use super::Pair;
use crate::conformance::backend::{ACCOUNT, Backend, REGION};

fn instance(id: &str) -> ResourceKind {
    ResourceKind::Instance { instance_id: id.to_owned() }
}

/// An instance in a VPC of its own; the VPC, the instance and its interface.
async fn place(backend: &Backend) -> (String, String, String) {
    let vpc = backend.vpc().await;
    let group = backend.group(&vpc, "web").await;
    let (id, interface) = backend.instance(&vpc, &group).await;
    (vpc, id, interface)
}

async fn plain(backend: &Backend) -> ResourceKind {
    instance(&place(backend).await.1)
}

async fn with_profile(backend: &Backend) -> ResourceKind {
    let (_, id, _) = place(backend).await;
    backend.profile("law").await;
    let profile = IamInstanceProfileSpecification::builder().name("law").build();
    let call = backend.ec2().associate_iam_instance_profile().instance_id(&id);
    call.iam_instance_profile(profile).send().await.unwrap();
    instance(&id)
}

async fn with_forensics_group(backend: &Backend) -> ResourceKind {
    let (vpc, id, _) = place(backend).await;
    backend.group(&vpc, "forensics").await;
    instance(&id)
}

async fn with_address(backend: &Backend) -> ResourceKind {
    let (_, id, interface) = place(backend).await;
    if let Some(organization) = backend.simulated() {
        organization.edit(|state| state.ec2(ACCOUNT, REGION).add_address(&interface));
    } else {
        let ec2 = backend.ec2();
        let address = ec2.allocate_address().domain("vpc".into()).send().await.unwrap();
        // Of an interface moto names no instance.
        let call = ec2.associate_address().instance_id(&id);
        let call = call.allocation_id(address.allocation_id().unwrap());
        call.send().await.unwrap();
    }
    instance(&id)
}

/// In a group that may grow by the instance that comes back.
async fn in_auto_scaling_group(backend: &Backend) -> ResourceKind {
    let (vpc, id, _) = place(backend).await;
    if let Some(organization) = backend.simulated() {
        let instances = BTreeMap::from([(id.clone(), "InService".to_owned())]);
        let group = Group { min: 1, max: 4, desired: 1, instances, ..Group::default() };
        organization.edit(|state| {
            state.regional(ACCOUNT, REGION).autoscaling.groups.insert("web".to_owned(), group);
        });
        return instance(&id);
    }
    let autoscaling = backend.autoscaling();
    let launch = autoscaling.create_launch_configuration().launch_configuration_name("web");
    let launch = launch.image_id("ami-12c6146b").instance_type("t3.micro");
    launch.send().await.unwrap();
    let group = autoscaling
        .create_auto_scaling_group()
        .auto_scaling_group_name("web")
        .launch_configuration_name("web")
        .min_size(1)
        .max_size(4)
        .desired_capacity(1)
        .vpc_zone_identifier(backend.subnet(&vpc, 1).await);
    group.send().await.unwrap();
    let answer = autoscaling.describe_auto_scaling_instances().send().await.unwrap();
    instance(answer.auto_scaling_instances()[0].instance_id().unwrap())
}

/// Behind a Classic Load Balancer and in a target group.
async fn balanced(backend: &Backend) -> ResourceKind {
    let (vpc, id, _) = place(backend).await;
    if let Some(organization) = backend.simulated() {
        organization.edit(|state| {
            let regional = state.regional(ACCOUNT, REGION);
            let balancer = Balancer { vpc: vpc.clone(), instances: [id.clone()].into() };
            regional.elb.balancers.insert("classic".to_owned(), balancer);
            let target_type = "instance".to_owned();
            let targets = [(id.clone(), 8_080)].into();
            let group = TargetGroup { vpc, target_type, port: 80, targets };
            let arn = format!(
                "arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/web/0123456789abcdef"
            );
            regional.elbv2.target_groups.insert(arn, group);
        });
        return instance(&id);
    }
    let listener = Listener::builder().protocol("http").load_balancer_port(80).instance_port(80);
    let (elb, elbv2) = (backend.elb(), backend.elbv2());
    let call = elb.create_load_balancer().load_balancer_name("classic");
    let call = call.subnets(backend.subnet(&vpc, 1).await).listeners(listener.build().unwrap());
    call.send().await.unwrap();
    let call = elb.register_instances_with_load_balancer().load_balancer_name("classic");
    call.instances(Instance::builder().instance_id(&id).build()).send().await.unwrap();
    let call = elbv2.create_target_group().name("web").vpc_id(&vpc).port(80);
    let call = call.protocol(ProtocolEnum::Http).target_type(TargetTypeEnum::Instance);
    let made = call.send().await.unwrap();
    let target = TargetDescription::builder().id(&id).port(8_080).build();
    let call = elbv2.register_targets().targets(target);
    let call = call.target_group_arn(made.target_groups()[0].target_group_arn().unwrap());
    call.send().await.unwrap();
    instance(&id)
}

/// With an IP set and a prefix list to block in, not its network ACL.
async fn blocked_in_lists(backend: &Backend) -> Pair {
    let kind = plain(backend).await;
    let (set, list) = if let Some(organization) = backend.simulated() {
        organization.edit(|state| {
            let set = IpSet {
                name: "blocked".to_owned(),
                description: "kept by the network team".to_owned(),
                version: "IPV4".to_owned(),
                addresses: ["192.0.2.1/32".to_owned()].into(),
                lock: 1,
            };
            let id = "00000000-0000-4000-8000-000000000001".to_owned();
            state.regional(ACCOUNT, REGION).wafv2.ip_sets.insert(id.clone(), set);
            (id, state.ec2(ACCOUNT, REGION).add_prefix_list("blocked", 20))
        })
    } else {
        let call = backend.wafv2().create_ip_set().name("blocked").scope("REGIONAL".into());
        let call = call.ip_address_version("IPV4".into()).addresses("192.0.2.1/32");
        let set = call.description("kept by the network team").send().await.unwrap();
        let call = backend.ec2().create_managed_prefix_list().prefix_list_name("blocked");
        let list = call.max_entries(20).address_family("IPv4").send().await.unwrap();
        let list = list.prefix_list().unwrap().prefix_list_id().unwrap().to_owned();
        (set.summary().unwrap().id().unwrap().to_owned(), list)
    };
    Pair::new("block-remote-ip", "an IP set and a prefix list", kind).with(json!({
        "network-acl": false,
        "ip-set": { "name": "blocked", "id": set },
        "prefix-list": list,
    }))
}

/// moto gives every instance a root volume.
async fn with_volume(backend: &Backend) -> ResourceKind {
    let (_, id, _) = place(backend).await;
    if let Some(organization) = backend.simulated() {
        organization.edit(|state| {
            state.ec2(ACCOUNT, REGION).add_volume(&id, "/dev/xvda", None);
        });
    }
    instance(&id)
}

/// Managed by Systems Manager, with a bucket for evidence and a document to run.
async fn managed(backend: &Backend) -> ResourceKind {
    let (_, id, _) = place(backend).await;
    backend.bucket("actions-evidence").await;
    if let Some(organization) = backend.simulated() {
        organization.edit(|state| {
            let ssm = &mut state.regional(ACCOUNT, REGION).ssm;
            let (platform, ping) = ("Linux".to_owned(), "Online".to_owned());
            ssm.instances.insert(id.clone(), Managed { platform, ping });
            ssm.documents.insert("Contain".to_owned(), Document::automation(&["Target"]));
        });
    } else {
        let content = json!({
            "schemaVersion": "0.3",
            "parameters": { "Target": { "type": "String" } },
            "mainSteps": [{ "name": "wait", "action": "aws:sleep", "inputs": { "Duration": "PT1S" } }],
        });
        let call = backend.ssm().create_document().name("Contain");
        let call = call.document_type("Automation".into()).content(content.to_string());
        call.send().await.unwrap();
    }
    instance(&id)
}

pub(super) async fn pairs(backend: &Backend) -> Vec<Pair> {
    let attach = with_forensics_group(backend).await;
    let beside = with_forensics_group(backend).await;
    let managed = managed(backend).await;
    let automation =
        json!({ "document": "Contain", "parameters": { "Target": ["${resource.id}"] } });
    vec![
        Pair::new("isolate-instance", "an instance", plain(backend).await),
        Pair::new("revoke-instance-credentials", "an instance", with_profile(backend).await),
        Pair::new("tag-resource", "an instance", plain(backend).await),
        Pair::new("attach-security-group", "an instance", attach)
            .with(json!({ "group": "forensics" })),
        Pair::new("attach-security-group", "an instance, beside its others", beside)
            .with(json!({ "group": "forensics", "others": "keep" })),
        Pair::new("disassociate-addresses", "an instance", with_address(backend).await),
        Pair::new("block-remote-ip", "an instance", plain(backend).await),
        blocked_in_lists(backend).await,
        Pair::new("protect-instance", "an instance", plain(backend).await),
        Pair::new(
            "protect-instance",
            "an instance in an Auto Scaling group",
            in_auto_scaling_group(backend).await,
        ),
        Pair::new("deregister-from-load-balancers", "an instance", balanced(backend).await),
        Pair::new("stop-instance", "an instance", plain(backend).await),
        Pair::new("terminate-instance", "an instance", plain(backend).await),
        Pair::new("snapshot-volumes", "an instance", with_volume(backend).await),
        Pair::new("collect-evidence", "a managed instance", managed.clone())
            .with(json!({ "bucket": "actions-evidence" })),
        Pair::new("run-automation", "a managed instance", managed).with(automation),
    ]
}
