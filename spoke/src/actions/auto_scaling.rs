//! An instance's place in its Auto Scaling group: read, left, taken again. The
//! group launches a replacement, so that it never serves with less than before.

use serde::{Deserialize, Serialize};

use super::ActionContext;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

/// An instance's place in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Membership {
    pub(super) group: String,
    /// Such as `InService` or `Standby`.
    pub(super) lifecycle: String,
}

/// The instance's place; `None` for one that is in no group.
pub(super) async fn membership(
    context: ActionContext<'_>,
    instance_id: &str,
) -> Result<Option<Membership>, ActionError> {
    let call = context.account.autoscaling().await.describe_auto_scaling_instances();
    let answer = call
        .instance_ids(instance_id)
        .send()
        .await
        .map_err(|error| from_sdk("autoscaling:DescribeAutoScalingInstances", &error))?;
    Ok(answer.auto_scaling_instances().first().and_then(|found| {
        let group = found.auto_scaling_group_name()?.to_owned();
        Some(Membership { group, lifecycle: found.lifecycle_state()?.to_owned() })
    }))
}

/// A group's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) desired: i32,
    pub(super) max: i32,
}

/// The group's size; `None` for a group that was deleted.
pub(super) async fn size(
    context: ActionContext<'_>,
    group: &str,
) -> Result<Option<Size>, ActionError> {
    let call = context.account.autoscaling().await.describe_auto_scaling_groups();
    let answer = call
        .auto_scaling_group_names(group)
        .send()
        .await
        .map_err(|error| from_sdk("autoscaling:DescribeAutoScalingGroups", &error))?;
    Ok(answer.auto_scaling_groups().first().map(|group| Size {
        desired: group.desired_capacity().unwrap_or_default(),
        max: group.max_size().unwrap_or_default(),
    }))
}

/// Puts the instance on standby; the group keeps its desired capacity.
pub(super) async fn enter_standby(
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
pub(super) async fn detach(
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

/// Puts the instance back into service; the desired capacity grows by one.
pub(super) async fn exit_standby(
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
pub(super) async fn attach(
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
pub(super) async fn full(
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

/// Auto Scaling codes a lifecycle that does not fit, and a size that cannot be,
/// as the same ValidationError: the present state distinguishes them.
pub(super) fn unfit(error: &ActionError) -> bool {
    error.kind == ErrorKind::Failed && error.has_code("ValidationError")
}
