//! Deregisters an instance from every load balancer: Classic Load Balancers, and
//! the target groups of Application, Network and Gateway Load Balancers, where
//! it is registered by its id or by one of its addresses. Undo registers it again, on
//! the same ports.
//!
//! Isolation alone does not do that: a load balancer sends requests to an
//! instance until its health checks have failed, and flows through a Network
//! Load Balancer stay tracked.

use std::collections::BTreeSet;

use aws_sdk_elasticloadbalancing::types::Instance as ClassicInstance;
use aws_sdk_elasticloadbalancingv2::types::{TargetDescription, TargetHealthStateEnum};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Reversal,
    Undone, Verification,
};
use crate::grant::{Grant, GrantScope};
use crate::support::ec2::instance;
use crate::support::ec2::instance_state::id;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct DeregisterFromLoadBalancers;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    instance_id: String,
    registrations: Vec<Registration>,
}

/// One registration of the instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Registration {
    /// A Classic Load Balancer, by name.
    Classic { balancer: String },
    /// A target group, by ARN, with the id or address and the port.
    Target { group: String, id: String, port: Option<i32>, zone: Option<String> },
}

impl Registration {
    fn describe(&self, instance_id: &str) -> String {
        match self {
            Self::Classic { balancer } => format!("{instance_id} in the load balancer {balancer}"),
            Self::Target { group, id, port, .. } => {
                let name = group.split('/').nth(1).unwrap_or(group);
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                format!("{id}{port} in the target group {name}")
            }
        }
    }
}

const TAKE_OUT_OF_LOAD_BALANCERS: GrantScope = GrantScope {
    sid: "TakeOutOfLoadBalancers",
    why: "An instance comes out, and goes back in.",
    resources: &[
        "arn:${AWS::Partition}:elasticloadbalancing:*:${AWS::AccountId}:loadbalancer/*",
        "arn:${AWS::Partition}:elasticloadbalancing:*:${AWS::AccountId}:targetgroup/*",
    ],
    conditions: &[],
    within: None,
};

impl Action for DeregisterFromLoadBalancers {
    const SPEC: ActionSpec = ActionSpec {
        name: "deregister-from-load-balancers",
        sentence: "Deregisters the instance from every load balancer and target group.",
        resource_types: &["Instance"],
        reads: &[
            "ec2:DescribeInstances",
            "elasticloadbalancing:DescribeLoadBalancers",
            "elasticloadbalancing:DescribeTargetGroups",
            "elasticloadbalancing:DescribeTargetHealth",
        ],
        writes: &[
            "elasticloadbalancing:DeregisterInstancesFromLoadBalancer",
            "elasticloadbalancing:DeregisterTargets",
            "elasticloadbalancing:RegisterInstancesWithLoadBalancer",
            "elasticloadbalancing:RegisterTargets",
        ],
        reversal: Reversal::Restored,
        phase: Phase::Protect,
    };
    const GRANTS: &'static [Grant] = &[TAKE_OUT_OF_LOAD_BALANCERS.allows(&[
        "elasticloadbalancing:DeregisterInstancesFromLoadBalancer",
        "elasticloadbalancing:DeregisterTargets",
        "elasticloadbalancing:RegisterInstancesWithLoadBalancer",
        "elasticloadbalancing:RegisterTargets",
    ])];
    const RETURNS_TO_SERVICE: bool = true;
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let instance_id = id(context.resource)?;
        let instance = context.cache.instance(context.account, instance_id).await?;
        let registrations = registrations(context, &Who::of(instance_id, instance)).await?;
        let changes = registrations.iter().map(|registration| Change {
            what: registration.describe(instance_id),
            before: "registered".to_owned(),
            after: "deregistered".to_owned(),
        });
        let changes = changes.collect();
        let prior = Prior { instance_id: instance_id.to_owned(), registrations };
        Ok(CapturedState { prior, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        instance::describe(context.account, &prior.instance_id).await?;
        let mut failed = Vec::new();
        for registration in &prior.registrations {
            match deregister(context, &prior.instance_id, registration).await {
                // A load balancer that was deleted since sends no requests.
                Err(error) if is_missing(&error) => {}
                Err(error) => failed.push(error),
                Ok(()) => {}
            }
        }
        ActionError::all(failed).map_or(Ok(()), Err)
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let id = &prior.instance_id;
        let instance = match instance::describe(context.account, id).await {
            Ok(instance) => instance,
            Err(error) if error.kind == ErrorKind::Gone => {
                return Ok(Verification::InEffect(error.message));
            }
            Err(error) => return Err(error),
        };
        let left = registrations(context, &Who::of(id, &instance)).await?;
        Ok(if left.is_empty() {
            Verification::InEffect(format!("no load balancer has {id}"))
        } else {
            let left: Vec<String> = left.iter().map(|it| it.describe(id)).collect();
            Verification::NotInEffect(format!("still registered: {}", left.join("; ")))
        })
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        if prior.registrations.is_empty() {
            return Ok(Undone::default());
        }
        let id = &prior.instance_id;
        let instance = match instance::describe(context.account, id).await {
            Ok(instance) => instance,
            Err(error) if error.kind == ErrorKind::Gone => {
                return Ok(Undone { drift: vec![error.message], ..Undone::default() });
            }
            Err(error) => return Err(error),
        };
        let present = registrations(context, &Who::of(id, &instance)).await?;
        let mut ended = Vec::new();
        for registration in prior.registrations.iter().filter(|it| !present.contains(it)) {
            let message = registration.describe(id);
            ended.push(match register(context, id, registration).await {
                Ok(()) => {
                    let restored = vec![format!("{message} is registered again")];
                    Ok(Undone { restored, ..Undone::default() })
                }
                Err(error) if is_missing(&error) => {
                    let drift = vec![format!("{message}: it does not exist any more")];
                    Ok(Undone { drift, ..Undone::default() })
                }
                Err(error) => Err(error),
            });
        }
        Undone::all(ended)
    }
}

/// The ids and addresses by which a target group may name the instance.
struct Who {
    instance_id: String,
    vpcs: BTreeSet<String>,
    addresses: BTreeSet<String>,
}

impl Who {
    fn of(instance_id: &str, instance: &aws_sdk_ec2::types::Instance) -> Self {
        let interfaces = instance.network_interfaces();
        let v6 = interfaces.iter().flat_map(|it| it.ipv6_addresses());
        let v4 = interfaces.iter().flat_map(|it| it.private_ip_addresses());
        let addresses = v4
            .filter_map(|it| it.private_ip_address())
            .chain(v6.filter_map(|it| it.ipv6_address()))
            .chain(interfaces.iter().filter_map(|it| it.private_ip_address()));
        Self {
            instance_id: instance_id.to_owned(),
            vpcs: interfaces.iter().filter_map(|it| it.vpc_id().map(str::to_owned)).collect(),
            addresses: addresses.map(str::to_owned).collect(),
        }
    }
}

async fn registrations(
    context: ActionContext<'_>,
    who: &Who,
) -> Result<Vec<Registration>, ActionError> {
    let (classic, targets) = futures::try_join!(classic(context, who), targets(context, who))?;
    let mut all: Vec<Registration> = classic.into_iter().chain(targets).collect();
    all.sort();
    Ok(all)
}

async fn classic(context: ActionContext<'_>, who: &Who) -> Result<Vec<Registration>, ActionError> {
    let mut found = Vec::new();
    let mut marker = None;
    loop {
        let call = context.account.elb().await.describe_load_balancers().set_marker(marker);
        let page = call
            .send()
            .await
            .map_err(|error| from_sdk("elasticloadbalancing:DescribeLoadBalancers", &error))?;
        for balancer in page.load_balancer_descriptions() {
            let has = |it: &ClassicInstance| it.instance_id() == Some(who.instance_id.as_str());
            if let (true, Some(name)) =
                (balancer.instances().iter().any(has), balancer.load_balancer_name())
            {
                found.push(Registration::Classic { balancer: name.to_owned() });
            }
        }
        marker = page.next_marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
        if marker.is_none() {
            return Ok(found);
        }
    }
}

/// How many target groups are read at once.
const MAX_PARALLEL: usize = 5;

async fn targets(context: ActionContext<'_>, who: &Who) -> Result<Vec<Registration>, ActionError> {
    let mut groups = Vec::new();
    let mut marker = None;
    loop {
        let call = context.account.elbv2().await.describe_target_groups().set_marker(marker);
        let page = call
            .send()
            .await
            .map_err(|error| from_sdk("elasticloadbalancing:DescribeTargetGroups", &error))?;
        // A target group has targets of its own VPC; one by address may have
        // some of a peered VPC as well, where another instance has that address.
        let near = |vpc: Option<&str>| vpc.is_some_and(|vpc| who.vpcs.contains(vpc));
        groups.extend(
            page.target_groups()
                .iter()
                .filter(|group| near(group.vpc_id()))
                .filter_map(|group| group.target_group_arn().map(str::to_owned)),
        );
        marker = page.next_marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
        if marker.is_none() {
            break;
        }
    }
    let found: Vec<Vec<Registration>> = stream::iter(groups)
        .map(|group| registered(context, who, group))
        .buffer_unordered(MAX_PARALLEL)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

/// The instance's registrations in one target group, without those that drain.
async fn registered(
    context: ActionContext<'_>,
    who: &Who,
    group: String,
) -> Result<Vec<Registration>, ActionError> {
    let call = context.account.elbv2().await.describe_target_health().target_group_arn(&group);
    let output = match call
        .send()
        .await
        .map_err(|error| from_sdk("elasticloadbalancing:DescribeTargetHealth", &error))
    {
        Ok(output) => output,
        // Deleted between the list and this.
        Err(error) if is_missing(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let staying = output.target_health_descriptions().iter().filter(|described| {
        let state = described.target_health().and_then(|health| health.state());
        state != Some(&TargetHealthStateEnum::Draining)
    });
    Ok(staying
        .filter_map(|described| described.target())
        .filter(|target| {
            let id = target.id().unwrap_or_default();
            id == who.instance_id || who.addresses.contains(id)
        })
        .map(|target| Registration::Target {
            group: group.clone(),
            id: target.id().unwrap_or_default().to_owned(),
            port: target.port(),
            zone: target.availability_zone().map(str::to_owned),
        })
        .collect())
}

/// The two generations of the service have different error codes for what is missing.
fn is_missing(error: &ActionError) -> bool {
    ["LoadBalancerNotFound", "AccessPointNotFound", "TargetGroupNotFound"]
        .iter()
        .any(|code| error.has_code(code))
}

fn target(id: &str, port: Option<i32>, zone: Option<&String>) -> TargetDescription {
    TargetDescription::builder().id(id).set_port(port).set_availability_zone(zone.cloned()).build()
}

async fn deregister(
    context: ActionContext<'_>,
    instance_id: &str,
    registration: &Registration,
) -> Result<(), ActionError> {
    match registration {
        Registration::Classic { balancer } => {
            let instance = ClassicInstance::builder().instance_id(instance_id).build();
            let elb = context.account.elb().await;
            let call = elb.deregister_instances_from_load_balancer().load_balancer_name(balancer);
            match call.instances(instance).send().await.map(|_| ()).map_err(|error| {
                let name = "elasticloadbalancing:DeregisterInstancesFromLoadBalancer";
                from_sdk(name, &error)
            }) {
                // It is not registered any more.
                Err(error) if error.has_code("InvalidInstance") => Ok(()),
                result => result,
            }
        }
        Registration::Target { group, id, port, zone } => {
            let call = context.account.elbv2().await.deregister_targets().target_group_arn(group);
            let result = call.targets(target(id, *port, zone.as_ref())).send().await.map(|_| ());
            let name = "elasticloadbalancing:DeregisterTargets";
            match result.map_err(|error| from_sdk(name, &error)) {
                Err(error) if error.has_code("InvalidTarget") => Ok(()),
                result => result,
            }
        }
    }
}

async fn register(
    context: ActionContext<'_>,
    instance_id: &str,
    registration: &Registration,
) -> Result<(), ActionError> {
    match registration {
        Registration::Classic { balancer } => {
            let instance = ClassicInstance::builder().instance_id(instance_id).build();
            let elb = context.account.elb().await;
            let call = elb.register_instances_with_load_balancer().load_balancer_name(balancer);
            call.instances(instance).send().await.map(|_| ()).map_err(|error| {
                let name = "elasticloadbalancing:RegisterInstancesWithLoadBalancer";
                from_sdk(name, &error)
            })
        }
        Registration::Target { group, id, port, zone } => {
            let call = context.account.elbv2().await.register_targets().target_group_arn(group);
            let result = call.targets(target(id, *port, zone.as_ref())).send().await.map(|_| ());
            let name = "elasticloadbalancing:RegisterTargets";
            result.map_err(|error| from_sdk(name, &error))
        }
    }
}
