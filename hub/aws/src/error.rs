//! The hub's error type, with what the caller does about each kind.

use std::error::Error;
use std::fmt;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_response::transition::IllegalTransition;

/// The kind of a failure: it decides how the caller handles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HubErrorKind {
    /// A retry may succeed: throttled, timed out, unreachable, or another worker holds
    /// the lease. The queue delivers the finding again.
    Transient,
    /// A retry fails in the same way until the cause in the message is fixed.
    Failed,
    /// Rejected by Firebreak, not by AWS: there is no such response, its
    /// state does not allow it, no policy is in force, the ids of a target are malformed.
    Refused,
}

/// A failure of the hub: its kind, its cause, and what the hub was doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubError {
    /// What the caller does about it.
    pub kind: HubErrorKind,
    /// What the hub was doing, the outermost first.
    context: Vec<String>,
    cause: Cause,
}

/// Where an error originated.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    /// A call to AWS, or an action in a member account.
    Action(ActionError),
    /// An event that the state of a response does not allow.
    Transition(IllegalTransition),
    /// Detected by the hub itself.
    Message(String),
}

impl HubError {
    /// A failure that may succeed when retried.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(HubErrorKind::Transient, Cause::Message(message.into()))
    }

    /// A failure that repeats until the cause in the message is fixed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(HubErrorKind::Failed, Cause::Message(message.into()))
    }

    /// A rejection by Firebreak itself.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(HubErrorKind::Refused, Cause::Message(message.into()))
    }

    /// An event that the state of a response does not allow; `kind` says what the caller
    /// does about it.
    pub fn illegal(kind: HubErrorKind, illegal: IllegalTransition) -> Self {
        Self::new(kind, Cause::Transition(illegal))
    }

    fn new(kind: HubErrorKind, cause: Cause) -> Self {
        Self { kind, context: Vec::new(), cause }
    }

    /// Puts a description of what failed in front of the cause.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.context.insert(0, what.to_string());
        self
    }

    /// The same error, of another kind.
    #[must_use]
    pub fn with_kind(self, kind: HubErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// Adds help to an error of AWS or of an action; other errors are unchanged.
    #[must_use]
    pub(crate) fn with_help(mut self, help: String) -> Self {
        if let Cause::Action(error) = &mut self.cause {
            error.help = Some(help);
        }
        self
    }

    /// Whether a retry may succeed.
    pub fn is_transient(&self) -> bool {
        self.kind == HubErrorKind::Transient
    }

    /// Whether Firebreak itself rejected it.
    pub fn is_refused(&self) -> bool {
        self.kind == HubErrorKind::Refused
    }

    /// Whether AWS returned this error code.
    pub fn has_code(&self, code: &str) -> bool {
        matches!(&self.cause, Cause::Action(error) if error.has_code(code))
    }
}

impl fmt::Display for HubError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for what in &self.context {
            write!(formatter, "{what}: ")?;
        }
        match &self.cause {
            Cause::Action(error) => error.fmt(formatter),
            Cause::Transition(illegal) => illegal.fmt(formatter),
            Cause::Message(message) => formatter.write_str(message),
        }
    }
}

/// The cause is part of the message: a reader that prints the chain of sources would
/// print it twice.
impl Error for HubError {}

impl From<ActionError> for HubError {
    fn from(error: ActionError) -> Self {
        let kind = match error.kind {
            ErrorKind::Transient => HubErrorKind::Transient,
            ErrorKind::NotApplicable
            | ErrorKind::Refused
            | ErrorKind::Gone
            | ErrorKind::Denied
            | ErrorKind::Failed => HubErrorKind::Failed,
        };
        Self::new(kind, Cause::Action(error))
    }
}

/// Converts an SDK error of one of the hub's own calls; `call` is the IAM action.
pub fn failed<E>(call: &str, error: &SdkError<E, HttpResponse>) -> HubError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    // The help of `from_sdk` is about the spoke role and would mislead here.
    HubError::from(ActionError { help: None, ..from_sdk(call, error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_survives_the_context_and_is_not_read_from_the_text() {
        let code = Some("ParentNotFoundException".to_owned());
        let error = ActionError { code, ..ActionError::new(ErrorKind::Failed, "no parent") };
        let error = HubError::from(error).context("OU `ou-1`").context("place");
        assert!(error.has_code("ParentNotFoundException"));
        assert_eq!(error.to_string(), "place: OU `ou-1`: no parent");
        let quoted = HubError::failed("a tag says ParentNotFoundException");
        assert!(!quoted.has_code("ParentNotFoundException"));
    }

    #[test]
    fn help_comes_last() {
        let error = HubError::from(ActionError::new(ErrorKind::Failed, "gone"));
        let error = error.with_help("make it".to_owned()).context("topic");
        assert_eq!(error.to_string(), "topic: gone\nhelp: make it");
    }
}
