//! Stops every task of the ECS service that started the finding's task, by a
//! desired count of 0: the service would replace a task that is stopped alone.
//! Undo restores the count, unless it was changed since; the tasks are new
//! ones.
//!
//! A service of the daemon strategy has no count (ECS API reference,
//! UpdateService): its task is stopped, and its container instance drained,
//! instead. Application Auto Scaling does not lower what is set here, but an
//! alarm may raise it again, to the minimum at the least (ECS developer guide,
//! "Automatically scale your Amazon ECS service"): the verification says so.

use aws_sdk_ecs::types::{SchedulingStrategy, Service};
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Reversal,
    Undone, Verification,
};
use crate::grant::Grant;
use crate::support::ecs::container::{self, Named};
use crate::support::ecs::grants::STOP_CONTAINERS;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct FreezeService;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    cluster: String,
    service: String,
    desired: i32,
}

impl Action for FreezeService {
    const SPEC: ActionSpec = ActionSpec {
        name: "freeze-service",
        sentence: "Sets the desired count of the task's ECS service to 0, which stops all its tasks.",
        resource_types: &["ECSCluster"],
        reads: &["ecs:DescribeServices"],
        writes: &["ecs:UpdateService"],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[STOP_CONTAINERS.allows(Self::SPEC.writes)];
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
        let found = container::service(context.account, cluster, service).await?;
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
        let changes = if desired == 0 { Vec::new() } else { vec![change] };
        let prior = Prior { cluster: cluster.to_owned(), service: service.to_owned(), desired };
        Ok(CapturedState { prior, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        set(context, prior, 0).await
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        match container::service(context.account, &prior.cluster, &prior.service).await {
            Ok(found) => Ok(judge(&prior.service, &found)),
            Err(error) => Verification::if_gone(error),
        }
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let Prior { cluster, service, desired } = prior;
        let mut undone = Undone::default();
        let present = match container::service(context.account, cluster, service).await {
            Ok(found) => found.desired_count(),
            Err(error) => return Undone::if_gone(error),
        };
        if present == *desired {
            return Ok(undone);
        }
        if present == 0 {
            set(context, prior, *desired).await?;
            undone.restored.push(format!("service `{service}` wants {desired} task(s) again"));
        } else {
            undone.drift.push(format!(
                "the desired count of service `{service}` was changed to {present} since"
            ));
        }
        Ok(undone)
    }
}

/// The verification.
fn judge(name: &str, found: &Service) -> Verification {
    let (desired, left) = (found.desired_count(), found.running_count() + found.pending_count());
    match (desired, left) {
        (0, 0) => Verification::InEffect(format!(
            "service `{name}` wants and runs no task; Application Auto Scaling, if it manages it, may raise that again"
        )),
        (0, left) => Verification::InProgress(format!(
            "service `{name}` wants no task and {left} of it still run or start"
        )),
        (desired, _) => Verification::NotInEffect(format!(
            "service `{name}` wants {desired} task(s): Application Auto Scaling or a deployment may have raised it"
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
            judge("web", &found.build())
        };
        assert!(
            matches!(described(0, 0, 0), Verification::InEffect(text) if text.contains("Auto Scaling"))
        );
        assert!(matches!(described(0, 1, 0), Verification::InProgress(_)));
        assert!(matches!(described(0, 0, 1), Verification::InProgress(_)));
        assert!(
            matches!(described(2, 0, 0), Verification::NotInEffect(text) if text.contains("Auto Scaling"))
        );
    }
}
