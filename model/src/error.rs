//! Errors of actions, by what the caller does about them.

use std::error::Error;
use std::fmt;

/// The kind of a failure: it decides how the caller handles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The action has nothing to do on this kind of target; not a failure.
    NotApplicable,
    /// The action must not touch this target: protected, or not what it claims to be.
    Refused,
    /// The resource does not exist any more.
    Gone,
    /// IAM denies the spoke role a permission, or the session is not accepted.
    Denied,
    /// Throttled, timed out, unreachable, or in a transient state: a retry may succeed.
    Transient,
    /// Any other error from AWS: a retry fails in the same way.
    Failed,
}

/// One failure, as a message for people: what could not be done, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionError {
    /// What the caller does about it.
    pub kind: ErrorKind,
    /// The whole sentence, without a full stop.
    pub message: String,
    /// AWS's error code, if AWS returned one.
    pub code: Option<String>,
    /// What the reader can do, if anything.
    pub help: Option<String>,
}

impl fmt::Display for ActionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(formatter, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}

impl Error for ActionError {}

impl ActionError {
    /// A failure that the action itself found, not AWS.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), code: None, help: None }
    }

    /// Whether AWS returned this error code.
    pub fn has_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Combines failures of concurrent calls into one; `None` if there are none. If one
    /// of them is transient, so is the result, because a retry may succeed.
    pub fn all(failed: Vec<Self>) -> Option<Self> {
        let passing = failed.iter().find(|error| error.kind == ErrorKind::Transient);
        let Self { kind, code, .. } = passing.or(failed.first())?.clone();
        let mut messages: Vec<String> = Vec::new();
        let mut helps: Vec<String> = Vec::new();
        for error in failed {
            if !messages.contains(&error.message) {
                messages.push(error.message);
            }
            helps.extend(error.help.filter(|help| !helps.contains(help)));
        }
        let help = (!helps.is_empty()).then(|| helps.join("; "));
        Some(Self { kind, message: messages.join("; "), code, help })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_failures_the_transient_one_decides_the_kind_and_all_are_reported() {
        assert_eq!(ActionError::all(Vec::new()), None);
        let failed = ActionError::new(ErrorKind::Failed, "no");
        let passing = ActionError::new(ErrorKind::Transient, "not yet");
        let all = ActionError::all(vec![failed.clone(), passing, failed]).unwrap();
        assert_eq!((all.kind, all.message.as_str()), (ErrorKind::Transient, "no; not yet"));
    }
}
