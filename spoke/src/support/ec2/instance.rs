//! An EC2 instance as EC2 describes it now: findings describe it as it was.

use aws_sdk_ec2::types::{Instance, InstanceStateName};

use crate::account::AccountSession;
use crate::support::ec2::reads;
use firebreak_model::error::{ActionError, ErrorKind};

/// Describes an instance. `Gone` when it does not exist, is terminated or is
/// on its way there: EC2 lists a terminated instance for about an hour.
pub(crate) async fn describe(
    account: &AccountSession,
    instance_id: &str,
) -> Result<Instance, ActionError> {
    let gone = |why: &str| {
        Err(ActionError::new(ErrorKind::Gone, format!("the instance `{instance_id}` {why}")))
    };
    let Some(instance) = reads::instance(account, instance_id).await? else {
        return gone("does not exist");
    };
    match instance.state().and_then(|state| state.name()) {
        Some(InstanceStateName::Terminated) => gone("is terminated"),
        Some(InstanceStateName::ShuttingDown) => gone("is shutting down"),
        _ => Ok(instance),
    }
}
