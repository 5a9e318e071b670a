//! An instance's membership of its Auto Scaling group: reads it, ends it, restores
//! it. The group launches a replacement, so that its capacity stays.

use serde::{Deserialize, Serialize};

use crate::contract::ActionContext;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

/// An instance's membership of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Membership {
    pub(crate) group: String,
    /// Such as `InService` or `Standby`.
    pub(crate) lifecycle: String,
}

/// The instance's membership; `None` where it is in no group.
pub(crate) async fn membership(
    context: ActionContext<'_>,
    instance_id: &str,
) -> Result<Option<Membership>, ActionError> {
    let call = context.account.autoscaling().await.describe_auto_scaling_instances();
    let output = call
        .instance_ids(instance_id)
        .send()
        .await
        .map_err(|error| from_sdk("autoscaling:DescribeAutoScalingInstances", &error))?;
    Ok(output.auto_scaling_instances().first().and_then(|found| {
        let group = found.auto_scaling_group_name()?.to_owned();
        Some(Membership { group, lifecycle: found.lifecycle_state()?.to_owned() })
    }))
}

/// A group's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) desired: i32,
    pub(crate) max: i32,
}

/// The group's size; `None` for a group that was deleted.
pub(crate) async fn size(
    context: ActionContext<'_>,
    group: &str,
) -> Result<Option<Size>, ActionError> {
    let call = context.account.autoscaling().await.describe_auto_scaling_groups();
    let output = call
        .auto_scaling_group_names(group)
        .send()
        .await
        .map_err(|error| from_sdk("autoscaling:DescribeAutoScalingGroups", &error))?;
    Ok(output.auto_scaling_groups().first().map(|group| Size {
        desired: group.desired_capacity().unwrap_or_default(),
        max: group.max_size().unwrap_or_default(),
    }))
}

/// Puts the instance on standby; the group keeps its desired capacity.
pub(crate) async fn enter_standby(
    context: ActionContext<'_>,
    instance_id: &str,
    group: &str,
) -> Result<(), ActionError> {
    let call = context
        .account
        .autoscaling()
        .await
        .enter_standby()
        .instance_ids(instance_id)
        .auto_scaling_group_name(group)
        .should_decrement_desired_capacity(false);
    let result = call.send().await.map(|_| ());
    result.map_err(|error| from_sdk("autoscaling:EnterStandby", &error))
}

/// Takes the instance out of the group; the group keeps its desired capacity.
pub(crate) async fn detach(
    context: ActionContext<'_>,
    instance_id: &str,
    group: &str,
) -> Result<(), ActionError> {
    let call = context
        .account
        .autoscaling()
        .await
        .detach_instances()
        .instance_ids(instance_id)
        .auto_scaling_group_name(group)
        .should_decrement_desired_capacity(false);
    let result = call.send().await.map(|_| ());
    result.map_err(|error| from_sdk("autoscaling:DetachInstances", &error))
}

/// Returns the instance to service; the desired capacity grows by one.
pub(crate) async fn exit_standby(
    context: ActionContext<'_>,
    instance_id: &str,
    group: &str,
) -> Result<(), ActionError> {
    let call = context.account.autoscaling().await.exit_standby();
    let call = call.instance_ids(instance_id).auto_scaling_group_name(group);
    let result = call.send().await.map(|_| ());
    result.map_err(|error| from_sdk("autoscaling:ExitStandby", &error))
}

/// Takes the instance into the group again; the desired capacity grows by one.
pub(crate) async fn attach(
    context: ActionContext<'_>,
    instance_id: &str,
    group: &str,
) -> Result<(), ActionError> {
    let call = context.account.autoscaling().await.attach_instances();
    let call = call.instance_ids(instance_id).auto_scaling_group_name(group);
    let result = call.send().await.map(|_| ());
    result.map_err(|error| from_sdk("autoscaling:AttachInstances", &error))
}

/// Why the group cannot take the instance back now, if it cannot.
pub(crate) async fn full(
    context: ActionContext<'_>,
    group: &str,
) -> Result<Option<String>, ActionError> {
    Ok(match size(context, group).await? {
        None => Some(format!("the Auto Scaling group `{group}` does not exist any more")),
        Some(Size { desired, max }) if desired >= max => Some(format!(
            "the Auto Scaling group `{group}` is at its maximum of {max} with the replacement that it launched: raise the maximum, or end the replacement and lower the desired capacity, and undo again"
        )),
        Some(_) => None,
    })
}

/// Auto Scaling returns ValidationError both for a lifecycle state that does not fit
/// and for an impossible size: the present state distinguishes them.
pub(crate) fn unfit(error: &ActionError) -> bool {
    error.kind == ErrorKind::Failed && error.has_code("ValidationError")
}
