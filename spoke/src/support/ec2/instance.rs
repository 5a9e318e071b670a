//! An EC2 instance as EC2 describes it now: findings describe it as it was.

use aws_sdk_ec2::types::{Instance, InstanceStateName};

use crate::account::AccountSession;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

/// Describes an instance. `Gone` when it does not exist, is terminated or is
/// on its way there: EC2 lists a terminated instance for about an hour.
pub(crate) async fn describe(
    account: &AccountSession,
    instance_id: &str,
) -> Result<Instance, ActionError> {
    let output = account
        .ec2(Class::Ec2Read)
        .await
        .describe_instances()
        .instance_ids(instance_id)
        .send()
        .await
        .map_err(|error| from_sdk("ec2:DescribeInstances", &error))?;
    let found = output.reservations.unwrap_or_default().into_iter();
    let found = found.flat_map(|reservation| reservation.instances.unwrap_or_default()).next();
    let gone = |why: &str| {
        Err(ActionError::new(ErrorKind::Gone, format!("the instance `{instance_id}` {why}")))
    };
    let Some(instance) = found else { return gone("does not exist") };
    match instance.state().and_then(|state| state.name()) {
        Some(InstanceStateName::Terminated) => gone("is terminated"),
        Some(InstanceStateName::ShuttingDown) => gone("is shutting down"),
        _ => Ok(instance),
    }
}
