//! Whether Application Auto Scaling changes the desired count of an ECS service.

use aws_sdk_applicationautoscaling::types::{ScalableDimension, ServiceNamespace, SuspendedState};
use serde::{Deserialize, Serialize};

use crate::contract::{ActionContext, Undone};
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::ActionError;

pub(crate) const DESCRIBE: &str = "application-autoscaling:DescribeScalableTargets";
pub(crate) const REGISTER: &str = "application-autoscaling:RegisterScalableTarget";

/// What of the scaling is suspended (Application Auto Scaling API reference,
/// SuspendedState).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Suspended {
    in_: bool,
    out: bool,
    scheduled: bool,
}

impl Suspended {
    /// All of it: alarms and schedules change nothing.
    pub(crate) const WHOLLY: Self = Self { in_: true, out: true, scheduled: true };
}

fn resource_id(cluster: &str, service: &str) -> String {
    format!("service/{cluster}/{service}")
}

/// What is suspended for a service; `None` if Application Auto Scaling does not manage it.
pub(crate) async fn suspended(
    context: ActionContext<'_>,
    cluster: &str,
    service: &str,
) -> Result<Option<Suspended>, ActionError> {
    let client = context.account.application_autoscaling().await;
    let call = client.describe_scalable_targets().service_namespace(ServiceNamespace::Ecs);
    let output = call.resource_ids(resource_id(cluster, service)).send().await;
    let output = output.map_err(|error| from_sdk(DESCRIBE, &error))?;
    let dimension = ScalableDimension::EcsServiceDesiredCount;
    let found = output.scalable_targets().iter().find(|it| *it.scalable_dimension() == dimension);
    let state = found.map(|it| it.suspended_state());
    Ok(state.map(|state| Suspended {
        in_: state.and_then(SuspendedState::dynamic_scaling_in_suspended).unwrap_or(false),
        out: state.and_then(SuspendedState::dynamic_scaling_out_suspended).unwrap_or(false),
        scheduled: state.and_then(SuspendedState::scheduled_scaling_suspended).unwrap_or(false),
    }))
}

/// Suspends the scaling of a service, or lets it go on. Its limits stay as they are.
pub(crate) async fn set(
    context: ActionContext<'_>,
    cluster: &str,
    service: &str,
    suspended: Suspended,
) -> Result<(), ActionError> {
    let state = SuspendedState::builder()
        .dynamic_scaling_in_suspended(suspended.in_)
        .dynamic_scaling_out_suspended(suspended.out)
        .scheduled_scaling_suspended(suspended.scheduled)
        .build();
    let client = context.account.application_autoscaling().await;
    let call = client
        .register_scalable_target()
        .service_namespace(ServiceNamespace::Ecs)
        .resource_id(resource_id(cluster, service))
        .scalable_dimension(ScalableDimension::EcsServiceDesiredCount)
        .suspended_state(state);
    call.send().await.map(|_| ()).map_err(|error| from_sdk(REGISTER, &error))
}

/// Lets the scaling go on as before, unless others changed that since.
pub(crate) async fn restore(
    context: ActionContext<'_>,
    (cluster, service): (&str, &str),
    before: Suspended,
    undone: &mut Undone,
) -> Result<(), ActionError> {
    match suspended(context, cluster, service).await? {
        Some(present) if present == before => {}
        Some(Suspended::WHOLLY) => {
            set(context, cluster, service, before).await?;
            undone.restored.push(format!("the scaling of service `{service}` goes on"));
        }
        Some(_) => undone.drift.push(format!(
            "what is suspended of the scaling of service `{service}` was changed since"
        )),
        None => undone.drift.push(format!("the scaling of service `{service}` was removed since")),
    }
    Ok(())
}
