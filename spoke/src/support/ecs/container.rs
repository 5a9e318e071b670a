//! ECS's services, tasks and container instances as ECS describes them now.

use aws_sdk_ecs::types::{
    Cluster, ClusterField, ContainerInstance, Failure, Service, Task, TaskField,
};

use crate::account::AccountSession;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::{Resource, ResourceKind};

/// The cluster, task or service that a target names.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) task: Option<&'a str>,
    pub(crate) service: Option<&'a str>,
}

/// The cluster that a target names, and what runs in it.
pub(crate) fn named(target: &Resource) -> Result<Named<'_>, ActionError> {
    let ResourceKind::EcsCluster { cluster, task, service } = &target.kind else {
        return Err(ActionError::new(ErrorKind::NotApplicable, "the target is not an ECS cluster"));
    };
    Ok(Named { cluster, task: task.as_deref(), service: service.as_deref() })
}

/// The cluster and the task that a target names.
pub(crate) fn named_task(target: &Resource) -> Result<(&str, &str), ActionError> {
    let Named { cluster, task, .. } = named(target)?;
    let none = || ActionError::new(ErrorKind::NotApplicable, "the finding names no task");
    Ok((cluster, task.ok_or_else(none)?))
}

/// Describes a cluster, with its tags. `Gone` when there is none: ECS lists a
/// deleted one as `INACTIVE` for a while.
pub(crate) async fn cluster(account: &AccountSession, name: &str) -> Result<Cluster, ActionError> {
    let ecs = account.ecs().await;
    let call = ecs.describe_clusters().clusters(name).include(ClusterField::Tags);
    let output = call.send().await.map_err(|error| from_sdk("ecs:DescribeClusters", &error))?;
    let what = format!("the cluster `{name}`");
    let found = found(&what, "ecs:DescribeClusters", output.clusters, output.failures)?;
    if found.status() == Some("INACTIVE") {
        return Err(ActionError::new(ErrorKind::Gone, format!("{what} was deleted")));
    }
    Ok(found)
}

/// Describes an active service. `Gone` when there is none, or it is being
/// deleted: ECS lists it as `INACTIVE` for a while.
pub(crate) async fn service(
    account: &AccountSession,
    cluster: &str,
    name: &str,
) -> Result<Service, ActionError> {
    let ecs = account.ecs().await;
    let output = ecs
        .describe_services()
        .cluster(cluster)
        .services(name)
        .send()
        .await
        .map_err(|error| from_sdk("ecs:DescribeServices", &error))?;
    let what = format!("the service `{name}` in the cluster `{cluster}`");
    let found = found(&what, "ecs:DescribeServices", output.services, output.failures)?;
    match found.status() {
        Some("ACTIVE") | None => Ok(found),
        Some(status) => {
            let message = format!("{what} is {}", status.to_lowercase());
            Err(ActionError::new(ErrorKind::Gone, message))
        }
    }
}

/// Describes a task, with its tags. `Gone` when ECS does not know it any more:
/// it lists a stopped one for about an hour.
pub(crate) async fn task(
    account: &AccountSession,
    cluster: &str,
    task: &str,
) -> Result<Task, ActionError> {
    let ecs = account.ecs().await;
    let output = ecs
        .describe_tasks()
        .cluster(cluster)
        .tasks(task)
        .include(TaskField::Tags)
        .send()
        .await
        .map_err(|error| from_sdk("ecs:DescribeTasks", &error))?;
    found(&format!("the task `{task}`"), "ecs:DescribeTasks", output.tasks, output.failures)
}

/// Describes a container instance. `Gone` when it is not in the cluster.
pub(crate) async fn instance(
    account: &AccountSession,
    cluster: &str,
    arn: &str,
) -> Result<ContainerInstance, ActionError> {
    let ecs = account.ecs().await;
    let output = ecs
        .describe_container_instances()
        .cluster(cluster)
        .container_instances(arn)
        .send()
        .await
        .map_err(|error| from_sdk("ecs:DescribeContainerInstances", &error))?;
    let what = format!("the container instance `{arn}`");
    let (instances, failures) = (output.container_instances, output.failures);
    found(&what, "ecs:DescribeContainerInstances", instances, failures)
}

/// The requested object. ECS returns 200, and lists failures under `failures` (ECS API
/// reference, Failure).
pub(crate) fn found<T>(
    what: &str,
    call: &str,
    found: Option<Vec<T>>,
    failures: Option<Vec<Failure>>,
) -> Result<T, ActionError> {
    if let Some(found) = found.unwrap_or_default().into_iter().next() {
        return Ok(found);
    }
    let failure = failures.unwrap_or_default().into_iter().next();
    match failure.as_ref().and_then(Failure::reason) {
        Some("MISSING") | None => {
            Err(ActionError::new(ErrorKind::Gone, format!("{what} does not exist any more")))
        }
        Some(reason) => {
            Err(ActionError::new(ErrorKind::Failed, format!("{call} failed for {what}: {reason}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_ecs_lists_is_an_error() {
        let failure = |reason: &str| Some(vec![Failure::builder().reason(reason).build()]);
        let check = |listed: Option<Vec<u8>>, failures, expected: Result<u8, ErrorKind>| {
            let found = found("it", "ecs:X", listed, failures).map_err(|error| error.kind);
            assert_eq!(found, expected);
        };
        check(Some(vec![1]), None, Ok(1));
        check(Some(Vec::new()), failure("MISSING"), Err(ErrorKind::Gone));
        check(None, None, Err(ErrorKind::Gone));
        check(None, failure("INACTIVE"), Err(ErrorKind::Failed));
    }
}
