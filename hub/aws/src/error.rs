//! Errors of the hub's own calls, by what the caller does about them.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

/// A failure of the hub, as a message for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// A retry may succeed: throttled, timed out, unreachable, or another worker holds
    /// the lease. The message goes back to the queue.
    #[error("{0}")]
    Transient(String),
    /// A retry fails in the same way until somebody fixes what the message names.
    #[error("{0}")]
    Failed(String),
    /// Rejected by Firebreak, not by AWS: there is no such response, its
    /// state does not allow it, no policy is in force, no such target can exist.
    #[error("{0}")]
    Refused(String),
}

impl HubError {
    /// Puts a description of what failed in front of the cause.
    #[must_use]
    pub fn context(self, what: impl std::fmt::Display) -> Self {
        match self {
            Self::Transient(cause) => Self::Transient(format!("{what}: {cause}")),
            Self::Failed(cause) => Self::Failed(format!("{what}: {cause}")),
            Self::Refused(cause) => Self::Refused(format!("{what}: {cause}")),
        }
    }
}

impl From<ActionError> for HubError {
    fn from(error: ActionError) -> Self {
        match error.kind {
            ErrorKind::Transient => Self::Transient(error.to_string()),
            ErrorKind::NotApplicable
            | ErrorKind::Refused
            | ErrorKind::Gone
            | ErrorKind::Denied
            | ErrorKind::Failed => Self::Failed(error.to_string()),
        }
    }
}

/// Reads an SDK error of one of the hub's own calls; `call` is the name of the IAM
/// action.
pub fn failed<E>(call: &str, error: &SdkError<E, HttpResponse>) -> HubError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    // The codes mean the same as in a member account, but the help is about the spoke
    // role.
    HubError::from(ActionError { help: None, ..from_sdk(call, error) })
}
