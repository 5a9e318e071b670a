//! Starting, stopping and terminating: what `stop-instance` and
//! `terminate-instance` share.

use std::time::Duration;

use aws_sdk_ec2::types::{Instance, InstanceStateName};

use crate::contract::ActionContext;
use crate::support::ec2::instance;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::{Resource, ResourceKind};

/// The instance's id, or why the target is none.
pub(crate) fn id(resource: &Resource) -> Result<&str, ActionError> {
    let ResourceKind::Instance { instance_id } = &resource.kind else {
        return Err(ActionError::new(ErrorKind::NotApplicable, "the target is not an instance"));
    };
    Ok(instance_id)
}

/// The state's name, such as `running`.
pub(crate) fn state(instance: &Instance) -> &str {
    instance.state().and_then(|state| state.name()).map_or("unknown", InstanceStateName::as_str)
}

/// Waits until a started instance runs: `false` where it is still on its way.
///
/// # Errors
///
/// `Failed` where it stopped again: EC2 lets StartInstances succeed also where EBS may not use
/// the key of a volume ("Why does my EC2 instance stop again right after it started", AWS
/// Knowledge Center).
pub(crate) async fn has_started(
    context: ActionContext<'_>,
    instance_id: &str,
) -> Result<bool, ActionError> {
    for wait in STARTS {
        let instance = instance::describe(context.account, instance_id).await?;
        match state(&instance) {
            "running" => return Ok(true),
            "stopped" | "stopping" => {
                let reason = instance.state_reason().and_then(|reason| reason.code());
                if let Some(reason) = reason.filter(|it| it.starts_with("Client.Internal")) {
                    let message =
                        format!("`{instance_id}` was started and stopped again: {reason}");
                    let help = "its volumes are probably encrypted under a key whose policy does not let the spoke role create grants (kms:CreateGrant): start the instance as its owner".to_owned();
                    let error = ActionError::new(ErrorKind::Failed, message);
                    return Err(ActionError { help: Some(help), ..error });
                }
            }
            _ => {}
        }
        tokio::time::sleep(wait).await;
    }
    Ok(false)
}

/// The waits after each look at an instance that starts.
const STARTS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(5),
    Duration::from_secs(5),
];

/// The state's name as it is now; `Gone` when the instance is.
pub(crate) async fn now(
    context: ActionContext<'_>,
    instance_id: &str,
) -> Result<String, ActionError> {
    Ok(state(&instance::describe(context.account, instance_id).await?).to_owned())
}

pub(crate) async fn start(
    context: ActionContext<'_>,
    instance_id: &str,
) -> Result<(), ActionError> {
    let call = context.account.ec2(Class::Ec2Write).await.start_instances();
    let result = call.instance_ids(instance_id).send().await.map(|_| ());
    result.map_err(|error| from_sdk("ec2:StartInstances", &error))
}

pub(crate) async fn stop(context: ActionContext<'_>, instance_id: &str) -> Result<(), ActionError> {
    let call = context.account.ec2(Class::Ec2Write).await.stop_instances();
    let result = call.instance_ids(instance_id).send().await.map(|_| ());
    result.map_err(|error| {
        let error = from_sdk("ec2:StopInstances", &error);
        protected(error, "stopped", "protect-instance with `stop-protection: false`")
    })
}

pub(crate) async fn terminate(
    context: ActionContext<'_>,
    instance_id: &str,
) -> Result<(), ActionError> {
    let call = context.account.ec2(Class::Ec2Write).await.terminate_instances();
    let result = call.instance_ids(instance_id).send().await.map(|_| ());
    result.map_err(|error| {
        let error = from_sdk("ec2:TerminateInstances", &error);
        protected(error, "terminated", "protect-instance with `termination-protection: false`")
    })
}

/// EC2 refuses to end a protected instance; Firebreak never lifts a protection.
fn protected(error: ActionError, verb: &str, with: &str) -> ActionError {
    if !error.has_code("OperationNotPermitted") {
        return error;
    }
    let message = format!("the instance is protected from being {verb}: {}", error.message);
    let help = format!("where policy itself protects it, use {with}");
    ActionError { kind: ErrorKind::Refused, message, help: Some(help), ..error }
}
