//! The read cache of one decision: its tags and several of its actions need the same EC2
//! instance at the same moment, and one call describes it for all of them.

use aws_sdk_ec2::types::Instance;
use tokio::sync::OnceCell;

use crate::account::AccountSession;
use crate::support::ec2::instance;
use firebreak_model::error::ActionError;

/// What one decision has read. Only `capture` and the reading of tags use it: apply,
/// verify and undo need the present state.
#[derive(Debug, Default)]
pub struct ReadCache {
    instance: OnceCell<Result<Instance, ActionError>>,
}

impl ReadCache {
    /// The instance, as [`instance::describe`] returned it at the first call; its error is
    /// kept too. `instance_id` must be the same in every call: a decision has one target.
    pub(crate) async fn instance(
        &self,
        account: &AccountSession,
        instance_id: &str,
    ) -> Result<&Instance, ActionError> {
        let result = self.instance.get_or_init(|| instance::describe(account, instance_id)).await;
        result.as_ref().map_err(Clone::clone)
    }
}
