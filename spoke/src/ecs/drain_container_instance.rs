//! Keeps ECS from placing tasks on the container instance that the finding's
//! task runs on, by the state `DRAINING`. Undo makes it `ACTIVE` again if it
//! was, unless it was changed since.
//!
//! ECS moves the tasks of services elsewhere as their deployment settings allow; tasks
//! that no service started keep running (ECS API reference,
//! UpdateContainerInstancesState). It does not isolate: `isolate-instance` and
//! `stop-task` do. On Fargate there is no container instance.

use aws_sdk_ecs::types::ContainerInstanceStatus;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Reversal,
    Undone, Verification,
};
use crate::grant::Grant;
use crate::support::ecs::container;
use crate::support::ecs::grants::STOP_CONTAINERS;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct DrainContainerInstance;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    cluster: String,
    /// The container instance's ARN.
    instance: String,
    active: bool,
}

const ACTIVE: &str = "ACTIVE";
const DRAINING: &str = "DRAINING";

impl Action for DrainContainerInstance {
    const SPEC: ActionSpec = ActionSpec {
        name: "drain-container-instance",
        sentence: "Drains the ECS container instance that the task runs on, so that no task is placed there.",
        resource_types: &["ECSCluster"],
        reads: &["ecs:DescribeContainerInstances", "ecs:DescribeTasks"],
        writes: &["ecs:UpdateContainerInstancesState"],
        reversal: Reversal::Restored,
        phase: Phase::Protect,
    };
    const GRANTS: &'static [Grant] = &[STOP_CONTAINERS.allows(Self::SPEC.writes)];
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let (cluster, task) = container::named_task(context.resource)?;
        let found = container::task(context.account, cluster, task).await?;
        let Some(instance) = found.container_instance_arn() else {
            let message = format!("the task `{task}` runs on no container instance, as on Fargate");
            return Err(ActionError::new(ErrorKind::NotApplicable, message));
        };
        let state = state(context, cluster, instance).await?;
        let active = match state.as_str() {
            ACTIVE => true,
            DRAINING => false,
            other => {
                let message = format!(
                    "the container instance `{instance}` is {other}: only an active one is drained"
                );
                return Err(ActionError::new(ErrorKind::Refused, message));
            }
        };
        let change = Change {
            what: format!("state of container instance {instance}"),
            before: state,
            after: DRAINING.to_owned(),
        };
        let changes = if active { vec![change] } else { Vec::new() };
        let (cluster, instance) = (cluster.to_owned(), instance.to_owned());
        Ok(CapturedState { prior: Prior { cluster, instance, active }, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        set(context, prior, ContainerInstanceStatus::Draining).await
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let Prior { cluster, instance, .. } = prior;
        Ok(match state(context, cluster, instance).await {
            Ok(state) if state == ACTIVE => Verification::NotInEffect(format!(
                "the container instance `{instance}` is active: tasks may be placed there"
            )),
            Ok(state) => Verification::InEffect(format!(
                "the container instance `{instance}` is {state}; tasks of no service go on running there"
            )),
            Err(error) => Verification::if_gone(error)?,
        })
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let Prior { cluster, instance, active } = prior;
        let mut undone = Undone::default();
        match (state(context, cluster, instance).await, *active) {
            (Ok(state), true) if state == DRAINING => {
                set(context, prior, ContainerInstanceStatus::Active).await?;
                let restored = format!("the container instance `{instance}` is active again");
                undone.restored.push(restored);
            }
            (Ok(state), true) if state == ACTIVE => {}
            (Ok(state), false) if state == DRAINING => {}
            (Ok(state), _) => {
                undone.drift.push(format!("the container instance `{instance}` is now {state}"));
            }
            (Err(error), _) => return Undone::if_gone(error),
        }
        Ok(undone)
    }
}

async fn state(
    context: ActionContext<'_>,
    cluster: &str,
    instance: &str,
) -> Result<String, ActionError> {
    let found = container::instance(context.account, cluster, instance).await?;
    Ok(found.status().unwrap_or("of unknown state").to_owned())
}

async fn set(
    context: ActionContext<'_>,
    prior: &Prior,
    status: ContainerInstanceStatus,
) -> Result<(), ActionError> {
    let Prior { cluster, instance, .. } = prior;
    let ecs = context.account.ecs().await;
    let output = ecs
        .update_container_instances_state()
        .cluster(cluster)
        .container_instances(instance)
        .status(status)
        .send()
        .await
        .map_err(|error| from_sdk("ecs:UpdateContainerInstancesState", &error))?;
    let what = format!("the container instance `{instance}`");
    let (changed, failures) = (output.container_instances, output.failures);
    container::found(&what, "ecs:UpdateContainerInstancesState", changed, failures).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prior_state_reads_back_as_it_was_recorded() {
        let (cluster, instance) = ("web".to_owned(), "arn:aws:ecs:x".to_owned());
        let prior = Prior { cluster, instance, active: true };
        let json = serde_json::to_value(&prior).unwrap();
        assert_eq!(serde_json::from_value::<Prior>(json).unwrap(), prior);
    }
}
