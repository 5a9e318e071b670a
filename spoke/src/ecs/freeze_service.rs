//! Stops every task of the ECS service that started the finding's task, by a
//! desired count of 0: the service would replace a task that is stopped alone.
//! Undo restores the count, unless it was changed since; the tasks are new
//! ones.
//!
//! A service of the daemon strategy has no count (ECS API reference,
//! UpdateService): its task is stopped, and its container instance drained,
//! instead. Application Auto Scaling would raise the count again, to the minimum at the least
//! (ECS developer guide, "Automatically scale your Amazon ECS service"): where it manages
//! the service, it is suspended first, and undo lets it go on.

use aws_sdk_ecs::types::{SchedulingStrategy, Service};
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Reversal,
    Undone, Verification,
};
use crate::grant::Grant;
use crate::support::ecs::container::{self, Named};
use crate::support::ecs::grants::{STOP_CONTAINERS, SUSPEND_SCALING};
use crate::support::ecs::scaling::{self, Suspended};
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct FreezeService;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    cluster: String,
    service: String,
    desired: i32,
    /// What of its scaling was suspended; `None` where nothing scales it.
    scaling: Option<Suspended>,
}

impl Action for FreezeService {
    const SPEC: ActionSpec = ActionSpec {
        name: "freeze-service",
        sentence: "Sets the desired count of the task's ECS service to 0, which stops all its tasks.",
        resource_types: &["ECSCluster"],
        reads: &[scaling::DESCRIBE, "ecs:DescribeServices"],
        writes: &[scaling::REGISTER, "ecs:UpdateService"],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[
        STOP_CONTAINERS.allows(&["ecs:UpdateService"]),
        SUSPEND_SCALING.allows(&["application-autoscaling:RegisterScalableTarget"]),
    ];
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let Named { cluster, service, .. } = container::named(context.resource)?;
        let Some(service) = service else {
            return Err(ActionError::new(
                ErrorKind::NotApplicable,
                "the finding names no service: the task was started by itself, or the finding is about the cluster",
            ));
        };
        let (found, scaling) = futures::join!(
            container::service(context.account, cluster, service),
            scaling::suspended(context, cluster, service)
        );
        let (found, scaling) = (found?, scaling?);
        if found.scheduling_strategy() == Some(&SchedulingStrategy::Daemon) {
            let message = format!(
                "the service `{service}` is a daemon and has no desired count: drain-container-instance and stop-task contain its task"
            );
            return Err(ActionError::new(ErrorKind::NotApplicable, message));
        }
        let desired = found.desired_count();
        let change = Change {
            what: format!("desired count of service {service} in cluster {cluster}"),
            before: desired.to_string(),
            after: "0".to_owned(),
        };
        let mut changes = if desired == 0 { Vec::new() } else { vec![change] };
        if scaling.is_some_and(|scaling| scaling != Suspended::WHOLLY) {
            changes.push(Change {
                what: format!("Application Auto Scaling of service {service}"),
                before: "active".to_owned(),
                after: "suspended".to_owned(),
            });
        }
        let (cluster, service) = (cluster.to_owned(), service.to_owned());
        let prior = Prior { cluster, service, desired, scaling };
        Ok(CapturedState { prior, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        // First, because it would raise the count again.
        let Prior { cluster, service, .. } = prior;
        let scaling = scaling::suspended(context, cluster, service).await?;
        if scaling.is_some_and(|scaling| scaling != Suspended::WHOLLY) {
            scaling::set(context, cluster, service, Suspended::WHOLLY).await?;
        }
        set(context, prior, 0).await
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let Prior { cluster, service, .. } = prior;
        let (found, scaling) = futures::join!(
            container::service(context.account, cluster, service),
            scaling::suspended(context, cluster, service)
        );
        match found {
            Ok(found) => Ok(judge(service, &found, scaling?)),
            Err(error) => Verification::if_gone(error),
        }
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let Prior { cluster, service, desired, scaling } = prior;
        let mut undone = Undone::default();
        let present = match container::service(context.account, cluster, service).await {
            Ok(found) => found.desired_count(),
            Err(error) => return Undone::if_gone(error),
        };
        if present == *desired {
            // Nothing is to be restored of it.
        } else if present == 0 {
            set(context, prior, *desired).await?;
            undone.restored.push(format!("service `{service}` wants {desired} task(s) again"));
        } else {
            undone.drift.push(format!(
                "the desired count of service `{service}` was changed to {present} since"
            ));
        }
        if let Some(scaling) = scaling {
            scaling::restore(context, (cluster, service), *scaling, &mut undone).await?;
        }
        Ok(undone)
    }
}

/// The verification.
fn judge(name: &str, found: &Service, scaling: Option<Suspended>) -> Verification {
    if scaling.is_some_and(|scaling| scaling != Suspended::WHOLLY) {
        return Verification::NotInEffect(format!(
            "Application Auto Scaling of service `{name}` is not suspended"
        ));
    }
    let (desired, left) = (found.desired_count(), found.running_count() + found.pending_count());
    match (desired, left) {
        (0, 0) => Verification::InEffect(format!(
            "service `{name}` wants and runs no task, and nothing scales it"
        )),
        (0, left) => Verification::InProgress(format!(
            "service `{name}` wants no task and {left} of it still run or start"
        )),
        (desired, _) => Verification::NotInEffect(format!(
            "service `{name}` wants {desired} task(s): a deployment may have raised it"
        )),
    }
}

async fn set(context: ActionContext<'_>, prior: &Prior, desired: i32) -> Result<(), ActionError> {
    let Prior { cluster, service, .. } = prior;
    let ecs = context.account.ecs().await;
    let call = ecs.update_service().cluster(cluster).service(service).desired_count(desired);
    let result = call.send().await.map(|_| ());
    result.map_err(|error| {
        let error = from_sdk("ecs:UpdateService", &error);
        // It is being deleted, or was.
        let gone = error.has_code("ServiceNotActiveException");
        let kind = if gone { ErrorKind::Gone } else { error.kind };
        ActionError { kind, ..error }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_frozen_once_its_last_task_has_stopped() {
        let described = |desired: i32, running: i32, pending: i32| {
            let found = Service::builder()
                .desired_count(desired)
                .running_count(running)
                .pending_count(pending);
            judge("web", &found.build(), None)
        };
        assert!(matches!(described(0, 0, 0), Verification::InEffect(_)));
        assert!(matches!(described(0, 1, 0), Verification::InProgress(_)));
        assert!(matches!(described(0, 0, 1), Verification::InProgress(_)));
        assert!(matches!(described(2, 0, 0), Verification::NotInEffect(_)));
        let none = Service::builder().build();
        let scaled = judge("web", &none, Some(Suspended::default()));
        assert!(matches!(scaled, Verification::NotInEffect(_)), "{scaled:?}");
    }
}
