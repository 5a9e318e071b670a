//! Per-decision read cache: tags and several actions ask for the same instance at
//! the same moment, and it is read once.

use aws_sdk_ec2::types::Instance;
use tokio::sync::OnceCell;

use crate::account::AccountSession;
use crate::support::ec2::instance;
use firebreak_model::error::ActionError;

/// The reads of one decision. Changes do not use it: they need the present state.
#[derive(Debug, Default)]
pub struct ReadCache {
    instance: OnceCell<Result<Instance, ActionError>>,
}

impl ReadCache {
    /// The instance, as [`instance::describe`] reads it; `instance_id` is that
    /// of the decision's one target.
    pub(crate) async fn instance(
        &self,
        account: &AccountSession,
        instance_id: &str,
    ) -> Result<&Instance, ActionError> {
        let read = self.instance.get_or_init(|| instance::describe(account, instance_id)).await;
        read.as_ref().map_err(Clone::clone)
    }
}
