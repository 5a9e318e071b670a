//! Under whose credentials the hub runs.

use std::sync::Arc;

use firebreak_aws::error::HubError;
use firebreak_aws::sessions::Sessions;
use firebreak_spoke::account::AccountSession;
use tokio::sync::OnceCell;
use tracing::warn;

/// The caller's ARN, asked for once in the life of a process.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    sessions: Arc<Sessions<AccountSession>>,
    arn: Arc<OnceCell<String>>,
}

impl Caller {
    pub(super) fn new(sessions: Arc<Sessions<AccountSession>>) -> Self {
        Self { sessions, arn: Arc::default() }
    }

    /// The ARN of the hub's credentials, from GetCallerIdentity.
    pub(super) async fn arn(&self) -> Result<String, HubError> {
        self.arn.get_or_try_init(|| self.sessions.caller()).await.cloned()
    }

    /// The same for audit events of what policy does; an unknown ARN does not stop a
    /// response.
    pub(super) async fn arn_or_unknown(&self) -> String {
        match self.arn().await {
            Ok(arn) => arn,
            Err(error) => {
                warn!("the record will not say under whose credentials this was: {error}");
                "unknown".to_owned()
            }
        }
    }
}
