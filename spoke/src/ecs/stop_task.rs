//! Stops the ECS task that the finding names. It cannot be undone: memory and the
//! task's own volumes are lost, so collect evidence first. Its service replaces it by a
//! new task unless the service is frozen.
//!
//! Containers get SIGTERM, and SIGKILL after their stop timeout of 30 seconds
//! unless set otherwise (ECS API reference, StopTask): until then it is in progress.

use aws_sdk_ecs::types::Task;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Reversal,
    Undone, Verification,
};
use crate::grant::Grant;
use crate::support::ecs::container;
use crate::support::ecs::grants::STOP_CONTAINERS;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::ActionError;

pub(crate) struct StopTask;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    cluster: String,
    task: String,
    running: bool,
}

const STOPPED: &str = "STOPPED";

impl Action for StopTask {
    const SPEC: ActionSpec = ActionSpec {
        name: "stop-task",
        sentence: "Stops the ECS task; this cannot be undone, and its service may start another.",
        resource_types: &["ECSCluster"],
        reads: &["ecs:DescribeTasks"],
        writes: &["ecs:StopTask"],
        reversal: Reversal::Impossible,
        phase: Phase::End,
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
        let running = !is_to_stop(&found);
        let change = Change {
            what: format!("task {task}"),
            before: found.last_status().unwrap_or("of unknown state").to_owned(),
            after: STOPPED.to_owned(),
        };
        let changes = if running { vec![change] } else { Vec::new() };
        let prior = Prior { cluster: cluster.to_owned(), task: task.to_owned(), running };
        Ok(CapturedState { prior, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        let Prior { cluster, task, .. } = prior;
        // ECS has no code of its own for a task that it does not know.
        if is_to_stop(&container::task(context.account, cluster, task).await?) {
            return Ok(());
        }
        let ecs = context.account.ecs().await;
        let call = ecs.stop_task().cluster(cluster).task(task).reason(reason(context));
        let result = call.send().await.map(|_| ());
        result.map_err(|error| from_sdk("ecs:StopTask", &error))
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let Prior { cluster, task, .. } = prior;
        Ok(match container::task(context.account, cluster, task).await {
            Ok(found) => judge(task, &found),
            Err(error) => Verification::if_gone(error)?,
        })
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let Prior { cluster, task, running } = prior;
        let mut undone = Undone::default();
        match container::task(context.account, cluster, task).await {
            Ok(found) if *running && is_to_stop(&found) => undone.drift.push(format!(
                "the task `{task}` stays stopped: nothing starts it again, but its service may start another"
            )),
            Ok(_) => {}
            Err(error) => return Undone::if_gone(error),
        }
        Ok(undone)
    }
}

/// What people see as the task's `stoppedReason`.
fn reason(context: ActionContext<'_>) -> String {
    format!("Firebreak response {}", context.response)
}

fn is_to_stop(task: &Task) -> bool {
    task.desired_status() == Some(STOPPED) || task.last_status() == Some(STOPPED)
}

/// The verification.
fn judge(name: &str, found: &Task) -> Verification {
    let last = found.last_status().unwrap_or("of unknown state");
    if last == STOPPED {
        Verification::InEffect(format!("the task `{name}` has stopped"))
    } else if is_to_stop(found) {
        Verification::InProgress(format!("the task `{name}` is to stop and is {last}"))
    } else {
        Verification::NotInEffect(format!("the task `{name}` is {last} and is not stopping"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_stopped_when_its_last_status_says_so() {
        let described = |desired: &str, last: &str| {
            judge("t", &Task::builder().desired_status(desired).last_status(last).build())
        };
        assert!(matches!(described("RUNNING", "RUNNING"), Verification::NotInEffect(_)));
        assert!(matches!(described("STOPPED", "DEACTIVATING"), Verification::InProgress(_)));
        assert!(matches!(described("STOPPED", "STOPPED"), Verification::InEffect(_)));
    }
}
