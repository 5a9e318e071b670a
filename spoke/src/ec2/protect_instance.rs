//! Keeps an instance from being lost during the investigation: termination and stop
//! protection, a shutdown stops it, its volumes are kept, and its Auto Scaling group
//! releases it. Undo restores every attribute.
//!
//! Termination protection does not keep an Auto Scaling group from terminating an
//! instance that it finds unhealthy, as an isolated one is; so the instance is put on
//! standby (or detached), without a smaller desired capacity: the group launches a
//! replacement. After undo the group has one instance more than before, because an undo
//! never ends an instance: the result says so. A Spot Instance can have neither
//! protection, and AWS may reclaim it at any time (EC2 user guide, "Spot Instance
//! interruptions"): the plan and the verification say so.

use aws_sdk_ec2::types::builders::InstanceBlockDeviceMappingSpecificationBuilder;
use aws_sdk_ec2::types::{
    AttributeBooleanValue, AttributeValue, EbsInstanceBlockDeviceSpecification, Instance,
    InstanceAttributeName, InstanceBlockDeviceMappingSpecification, InstanceLifecycleType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Reversal, Undone, Verification,
};
use crate::grant::{Grant, GrantScope};
use crate::support::ec2::auto_scaling::{self, Membership};
use crate::support::ec2::grants::{INSTANCES, VOLUMES};
use crate::support::ec2::instance;
use crate::support::ec2::instance_state::id;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct ProtectInstance;

/// What is protected.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one attribute of EC2's")]
pub(crate) struct Parameters {
    /// Set `disableApiTermination`. With it `terminate-instance` is refused.
    termination_protection: bool,
    /// Set `disableApiStop`. With it `stop-instance` is refused.
    stop_protection: bool,
    /// A shutdown from inside the instance stops it instead of terminating it.
    stop_on_shutdown: bool,
    /// Keep EBS volumes when the instance is terminated.
    keep_volumes: bool,
    /// What happens to its membership of an Auto Scaling group.
    auto_scaling: AutoScaling,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum AutoScaling {
    /// It stays a member, on standby.
    #[default]
    Standby,
    /// It leaves the group.
    Detach,
    /// It stays in service.
    Leave,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            termination_protection: true,
            stop_protection: true,
            stop_on_shutdown: true,
            keep_volumes: true,
            auto_scaling: AutoScaling::Standby,
        }
    }
}

/// The prior values of the attributes that are changed; `None` for one that is as it
/// should be, or that policy does not ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    instance_id: String,
    spot: bool,
    termination_protection: Option<bool>,
    stop_protection: Option<bool>,
    shutdown_behavior: Option<String>,
    /// The volumes that would be deleted with the instance.
    volumes: Vec<AttachedVolume>,
    membership: Option<Membership>,
}

const HOLD_INSTANCES: GrantScope = GrantScope {
    sid: "HoldInstances",
    why: "Keeps Auto Scaling from replacing an instance.",
    resources: &[
        "arn:${AWS::Partition}:autoscaling:*:${AWS::AccountId}:autoScalingGroup:*:autoScalingGroupName/*",
    ],
    conditions: &[],
    within: None,
};

const CHANGE_INSTANCE_ATTRIBUTES: GrantScope = GrantScope {
    sid: "ChangeInstanceAttributes",
    why: "That volumes are kept is an attribute of the instance; whether EC2 also checks \
          the volumes is not documented.",
    resources: &[INSTANCES, VOLUMES],
    conditions: &[],
    within: None,
};

impl Action for ProtectInstance {
    const SPEC: ActionSpec = ActionSpec {
        name: "protect-instance",
        sentence: "Keeps the instance and its volumes from being terminated, by its Auto Scaling group too.",
        resource_types: &["Instance"],
        reads: &[
            "autoscaling:DescribeAutoScalingGroups",
            "autoscaling:DescribeAutoScalingInstances",
            "ec2:DescribeInstanceAttribute",
            "ec2:DescribeInstances",
        ],
        writes: &[
            "autoscaling:AttachInstances",
            "autoscaling:DetachInstances",
            "autoscaling:EnterStandby",
            "autoscaling:ExitStandby",
            "ec2:ModifyInstanceAttribute",
        ],
        reversal: Reversal::Restored,
        phase: Phase::Protect,
    };
    const GRANTS: &'static [Grant] = &[
        HOLD_INSTANCES.allows(&[
            "autoscaling:AttachInstances",
            "autoscaling:DetachInstances",
            "autoscaling:EnterStandby",
            "autoscaling:ExitStandby",
        ]),
        CHANGE_INSTANCE_ATTRIBUTES.allows(&["ec2:ModifyInstanceAttribute"]),
    ];
    const RETURNS_TO_SERVICE: bool = true;
    type Parameters = Parameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        parameters: &Parameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let instance_id = id(context.resource)?;
        let instance = context.cache.instance(context.account, instance_id).await?;
        let present = present(context, instance, instance_id).await?;
        let prior = wanted(parameters, present);
        let changes = changes(parameters, &prior);
        Ok(CapturedState { prior, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        let id = &prior.instance_id;
        let instance = instance::describe(context.account, id).await?;
        let mut failed = Vec::new();
        // The group first, because it terminates instances. After a failure the other
        // changes are still made.
        failed.extend(leave_group(context, parameters, prior).await.err());
        if prior.termination_protection.is_some() {
            failed.extend(set(context, id, &Attribute::Termination(true)).await.err());
        }
        if prior.stop_protection.is_some() {
            failed.extend(set(context, id, &Attribute::Stop(true)).await.err());
        }
        if prior.shutdown_behavior.is_some() {
            failed.extend(set(context, id, &Attribute::Shutdown("stop")).await.err());
        }
        // A device that is not there any more fails the call for all.
        let present = attached(&instance, Goes::WithTheInstance);
        let volumes: Vec<AttachedVolume> =
            prior.volumes.iter().filter(|it| present.contains(it)).cloned().collect();
        if !volumes.is_empty() {
            let keep = Attribute::Volumes(&volumes, Goes::Never);
            failed.extend(set(context, id, &keep).await.err());
        }
        ActionError::all(failed).map_or(Ok(()), Err)
    }

    async fn verify(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let id = &prior.instance_id;
        let instance = instance::describe(context.account, id).await?;
        let present = present(context, &instance, id).await?;
        Ok(judge(&wanted(parameters, present)))
    }

    async fn undo(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let id = &prior.instance_id;
        let drift = |what: String| Undone { drift: vec![what], ..Undone::default() };
        let instance = match instance::describe(context.account, id).await {
            Ok(instance) => instance,
            Err(error) if error.kind == ErrorKind::Gone => return Ok(drift(error.message)),
            Err(error) => return Err(error),
        };
        let present = present(context, &instance, id).await?;
        let mut ended = Vec::new();
        let (kept, other) =
            (attached(&instance, Goes::Never), attached(&instance, Goes::WithTheInstance));
        let gone = |volume: &&AttachedVolume| !kept.contains(volume) && !other.contains(volume);
        ended.extend(prior.volumes.iter().filter(gone).map(|AttachedVolume { device, volume }| {
            Ok(drift(format!("`{volume}` is not {device} of `{id}` any more")))
        }));
        let kept: Vec<AttachedVolume> =
            prior.volumes.iter().filter(|it| kept.contains(it)).cloned().collect();
        for attribute in to_restore(prior, &present, &kept) {
            let described = format!("{} of {id} is {} again", attribute.name(), attribute.value());
            let restored = set(context, id, &attribute).await;
            ended
                .push(restored.map(|()| Undone { restored: vec![described], ..Undone::default() }));
        }
        ended.push(rejoin_group(context, parameters, prior, present.membership.as_ref()).await);
        Undone::all(ended)
    }
}

/// One attribute and its new value: EC2 takes one in a call.
#[derive(Debug, PartialEq)]
enum Attribute<'a> {
    Termination(bool),
    Stop(bool),
    Shutdown(&'a str),
    Volumes(&'a [AttachedVolume], Goes),
}

/// A volume, and the device as which it is attached. Both are compared, because a device may
/// have another volume later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct AttachedVolume {
    device: String,
    volume: String,
}

/// The instance's volumes that are deleted with it, or those that are not.
fn attached(instance: &Instance, goes: Goes) -> Vec<AttachedVolume> {
    let mappings = instance.block_device_mappings().iter();
    let mut volumes: Vec<AttachedVolume> = mappings
        .filter_map(|mapping| {
            let ebs = mapping.ebs()?;
            let is_deleted = ebs.delete_on_termination().unwrap_or(false);
            let (device, volume) = (mapping.device_name()?, ebs.volume_id()?);
            (is_deleted == (goes == Goes::WithTheInstance))
                .then(|| AttachedVolume { device: device.to_owned(), volume: volume.to_owned() })
        })
        .collect();
    volumes.sort();
    volumes
}

fn devices(volumes: &[AttachedVolume]) -> String {
    let devices: Vec<&str> = volumes.iter().map(|it| it.device.as_str()).collect();
    devices.join(", ")
}

/// Whether a volume is deleted with its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    WithTheInstance,
    Never,
}

impl Attribute<'_> {
    fn name(&self) -> String {
        match self {
            Self::Termination(_) => "termination protection".to_owned(),
            Self::Stop(_) => "stop protection".to_owned(),
            Self::Shutdown(_) => "shutdown behavior".to_owned(),
            Self::Volumes(volumes, _) => format!("DeleteOnTermination on {}", devices(volumes)),
        }
    }

    fn value(&self) -> &str {
        match self {
            Self::Termination(true)
            | Self::Stop(true)
            | Self::Volumes(_, Goes::WithTheInstance) => "on",
            Self::Termination(false) | Self::Stop(false) | Self::Volumes(_, Goes::Never) => "off",
            Self::Shutdown(behavior) => behavior,
        }
    }
}

async fn set(
    context: ActionContext<'_>,
    id: &str,
    attribute: &Attribute<'_>,
) -> Result<(), ActionError> {
    let ec2 = context.account.ec2(Class::Ec2Write).await;
    let call = ec2.modify_instance_attribute().instance_id(id);
    let flag = |value: bool| AttributeBooleanValue::builder().value(value).build();
    let call = match attribute {
        Attribute::Termination(on) => call.disable_api_termination(flag(*on)),
        Attribute::Stop(on) => call.disable_api_stop(flag(*on)),
        Attribute::Shutdown(behavior) => call.instance_initiated_shutdown_behavior(
            AttributeValue::builder().value(*behavior).build(),
        ),
        Attribute::Volumes(volumes, goes) => {
            let goes = *goes == Goes::WithTheInstance;
            let ebs = EbsInstanceBlockDeviceSpecification::builder().delete_on_termination(goes);
            let mapping = |it: &AttachedVolume| -> InstanceBlockDeviceMappingSpecification {
                let builder = InstanceBlockDeviceMappingSpecificationBuilder::default();
                builder.device_name(&it.device).ebs(ebs.clone().build()).build()
            };
            call.set_block_device_mappings(Some(volumes.iter().map(mapping).collect()))
        }
    };
    let result = call.send().await.map(|_| ());
    result.map_err(|error| {
        let error = from_sdk("ec2:ModifyInstanceAttribute", &error);
        let message = format!("cannot set the {} of `{id}`: {}", attribute.name(), error.message);
        ActionError { message, ..error }
    })
}

/// Every attribute as it is now.
async fn present(
    context: ActionContext<'_>,
    instance: &Instance,
    id: &str,
) -> Result<Prior, ActionError> {
    let spot = instance.instance_lifecycle() == Some(&InstanceLifecycleType::Spot);
    let read = |name: InstanceAttributeName| async move {
        let ec2 = context.account.ec2(Class::Ec2Read).await;
        let call = ec2.describe_instance_attribute().instance_id(id).attribute(name);
        let output = call.send().await;
        output.map_err(|error| from_sdk("ec2:DescribeInstanceAttribute", &error))
    };
    let (termination, stop, shutdown, membership) = futures::try_join!(
        read(InstanceAttributeName::DisableApiTermination),
        read(InstanceAttributeName::DisableApiStop),
        read(InstanceAttributeName::InstanceInitiatedShutdownBehavior),
        auto_scaling::membership(context, id)
    )?;
    let flag = |value: Option<&AttributeBooleanValue>| value.and_then(|value| value.value());
    let behavior = shutdown.instance_initiated_shutdown_behavior();
    Ok(Prior {
        instance_id: id.to_owned(),
        spot,
        termination_protection: Some(flag(termination.disable_api_termination()).unwrap_or(false)),
        stop_protection: Some(flag(stop.disable_api_stop()).unwrap_or(false)),
        shutdown_behavior: behavior.and_then(|value| value.value()).map(str::to_owned),
        volumes: attached(instance, Goes::WithTheInstance),
        membership,
    })
}

/// Keeps what has to change, of the attributes as they are now.
fn wanted(parameters: &Parameters, present: Prior) -> Prior {
    let possible = !present.spot;
    let off = |wanted: bool, now: Option<bool>| now.filter(|now| wanted && possible && !now);
    let in_service = |membership: &Membership| match parameters.auto_scaling {
        // On standby already: the group does not terminate it.
        AutoScaling::Standby | AutoScaling::Detach => membership.lifecycle != "Standby",
        AutoScaling::Leave => false,
    };
    Prior {
        termination_protection: off(
            parameters.termination_protection,
            present.termination_protection,
        ),
        stop_protection: off(parameters.stop_protection, present.stop_protection),
        shutdown_behavior: present
            .shutdown_behavior
            .filter(|behavior| parameters.stop_on_shutdown && behavior != "stop"),
        volumes: if parameters.keep_volumes { present.volumes } else { Vec::new() },
        membership: present.membership.filter(in_service),
        ..present
    }
}

fn changes(parameters: &Parameters, prior: &Prior) -> Vec<Change> {
    let id = &prior.instance_id;
    let mut changes = Vec::new();
    let mut add = |what: String, before: &str, after: &str| {
        changes.push(Change { what, before: before.to_owned(), after: after.to_owned() });
    };
    if let Some(Membership { group, lifecycle }) = &prior.membership {
        let after = match parameters.auto_scaling {
            AutoScaling::Detach => "detached; the group launches a replacement",
            AutoScaling::Standby | AutoScaling::Leave => {
                "Standby; the group launches a replacement"
            }
        };
        add(format!("{id} in the Auto Scaling group {group}"), lifecycle, after);
    }
    if prior.termination_protection.is_some() {
        add(format!("termination protection of {id}"), "off", "on");
    }
    if prior.stop_protection.is_some() {
        add(format!("stop protection of {id}"), "off", "on");
    }
    if let Some(behavior) = &prior.shutdown_behavior {
        add(format!("shutdown behavior of {id}"), behavior, "stop");
    }
    for AttachedVolume { device, .. } in &prior.volumes {
        add(format!("DeleteOnTermination of {device} on {id}"), "on", "off");
    }
    if prior.spot && !changes.is_empty() {
        changes.push(Change {
            what: format!("protections of {id}"),
            before: "none".to_owned(),
            after: SPOT.to_owned(),
        });
    }
    changes
}

const SPOT: &str = "none: a Spot Instance can have neither, and AWS may reclaim it at any time";

/// The verification, from what would still have to change.
fn judge(left: &Prior) -> Verification {
    let Prior { instance_id: id, membership, volumes, shutdown_behavior, .. } = left;
    let mut not_in_effect = Vec::new();
    if left.termination_protection.is_some() {
        not_in_effect.push("termination protection is off".to_owned());
    }
    if left.stop_protection.is_some() {
        not_in_effect.push("stop protection is off".to_owned());
    }
    if let Some(behavior) = shutdown_behavior {
        not_in_effect.push(format!("a shutdown means {behavior}"));
    }
    if !volumes.is_empty() {
        not_in_effect.push(format!("the volumes on {} go with it", devices(volumes)));
    }
    if let Some(Membership { group, lifecycle }) = membership {
        if lifecycle == "EnteringStandby" || lifecycle == "Detaching" {
            return Verification::InProgress(format!("{id} is {lifecycle} in {group}"));
        }
        not_in_effect.push(format!("it is {lifecycle} in the Auto Scaling group {group}"));
    }
    if !not_in_effect.is_empty() {
        Verification::NotInEffect(format!("{id}: {}", not_in_effect.join("; ")))
    } else if left.spot {
        Verification::InEffect(format!("{id} is protected as far as can be; protections: {SPOT}"))
    } else {
        Verification::InEffect(format!("{id} is protected"))
    }
}

async fn leave_group(
    context: ActionContext<'_>,
    parameters: &Parameters,
    prior: &Prior,
) -> Result<(), ActionError> {
    let id = &prior.instance_id;
    let Some(Membership { group, lifecycle }) = &prior.membership else { return Ok(()) };
    // Only an instance in service is put on standby; other lifecycle states are
    // transient.
    if lifecycle != "InService" && parameters.auto_scaling == AutoScaling::Standby {
        let message = format!("`{id}` is {lifecycle} in the Auto Scaling group `{group}`");
        return Err(ActionError::new(ErrorKind::Transient, message));
    }
    let left = match parameters.auto_scaling {
        AutoScaling::Standby => auto_scaling::enter_standby(context, id, group).await,
        AutoScaling::Detach => auto_scaling::detach(context, id, group).await,
        AutoScaling::Leave => return Ok(()),
    };
    match left {
        // An earlier run did it: Auto Scaling refuses it a second time as invalid.
        Err(error) if auto_scaling::unfit(&error) => {
            let now = auto_scaling::membership(context, id).await?;
            let still = now.is_some_and(|now| {
                now == Membership { lifecycle: lifecycle.clone(), group: group.clone() }
            });
            if still { Err(error) } else { Ok(()) }
        }
        left => left,
    }
}

/// The attributes that are as the action left them and were not so before.
/// `kept` are the volumes that it left attached and not deleted with the instance.
fn to_restore<'a>(
    prior: &'a Prior,
    present: &Prior,
    kept: &'a [AttachedVolume],
) -> Vec<Attribute<'a>> {
    let mut restore = Vec::new();
    if prior.termination_protection == Some(false) && present.termination_protection == Some(true) {
        restore.push(Attribute::Termination(false));
    }
    if prior.stop_protection == Some(false) && present.stop_protection == Some(true) {
        restore.push(Attribute::Stop(false));
    }
    if let Some(behavior) = &prior.shutdown_behavior
        && present.shutdown_behavior.as_deref() == Some("stop")
    {
        restore.push(Attribute::Shutdown(behavior));
    }
    if !kept.is_empty() {
        restore.push(Attribute::Volumes(kept, Goes::WithTheInstance));
    }
    restore
}

async fn rejoin_group(
    context: ActionContext<'_>,
    parameters: &Parameters,
    prior: &Prior,
    now: Option<&Membership>,
) -> Result<Undone, ActionError> {
    let id = &prior.instance_id;
    let drift = |what: String| Ok(Undone { drift: vec![what], ..Undone::default() });
    let Some(Membership { group, .. }) = &prior.membership else { return Ok(Undone::default()) };
    match now {
        Some(now) if now.group != *group => {
            return drift(format!(
                "`{id}` was put into the Auto Scaling group `{}` since",
                now.group
            ));
        }
        Some(now) if now.lifecycle != "Standby" => return Ok(Undone::default()),
        None if parameters.auto_scaling != AutoScaling::Detach => {
            return drift(format!(
                "`{id}` was taken out of the Auto Scaling group `{group}` since"
            ));
        }
        Some(_) | None => {}
    }
    if let Some(why) = auto_scaling::full(context, group).await? {
        return drift(why);
    }
    if now.is_some() {
        auto_scaling::exit_standby(context, id, group).await?;
    } else {
        auto_scaling::attach(context, id, group).await?;
    }
    let restored = vec![format!(
        "{id} is in service in {group} again, which has one more instance than before: it launched a replacement, and its desired capacity has grown by one"
    )];
    Ok(Undone { restored, ..Undone::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(spot: bool) -> Prior {
        let lifecycle = "InService".to_owned();
        Prior {
            instance_id: "i-1".to_owned(),
            spot,
            termination_protection: Some(false),
            stop_protection: Some(true),
            shutdown_behavior: Some("terminate".to_owned()),
            volumes: vec![AttachedVolume {
                device: "/dev/xvda".to_owned(),
                volume: "vol-1".to_owned(),
            }],
            membership: Some(Membership { group: "web".to_owned(), lifecycle }),
        }
    }

    #[test]
    fn only_attributes_that_differ_from_the_wanted_ones_are_changed() {
        let wanted = wanted(&Parameters::default(), present(false));
        assert_eq!((wanted.termination_protection, wanted.stop_protection), (Some(false), None));
        assert_eq!(changes(&Parameters::default(), &wanted).len(), 4);
    }

    #[test]
    fn the_plan_and_verification_of_a_spot_instance_say_what_cannot_be_done() {
        let wanted = wanted(&Parameters::default(), present(true));
        assert_eq!(wanted.termination_protection, None);
        let changes = changes(&Parameters::default(), &wanted);
        assert!(changes.iter().any(|change| change.after == SPOT), "{changes:?}");
        let done =
            Prior { shutdown_behavior: None, volumes: Vec::new(), membership: None, ..wanted };
        let Verification::InEffect(seen) = judge(&done) else { panic!("not in effect") };
        assert!(seen.contains("Spot"), "{seen}");
    }

    #[test]
    fn a_later_change_is_not_overwritten() {
        let prior = wanted(&Parameters::default(), present(false));
        let now = Prior { termination_protection: Some(false), ..present(false) };
        assert_eq!(to_restore(&prior, &now, &[]), []);
        let now = Prior { termination_protection: Some(true), ..present(false) };
        assert_eq!(to_restore(&prior, &now, &prior.volumes).len(), 2);
    }
}
