//! Why an action could not do its work, sorted by what the caller does about it.

use std::error::Error;
use std::fmt;

/// What kind of failure it is: each is handled in its own way.
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
    /// Throttled, timed out, unreachable, or in a passing state: worth another try.
    Transient,
    /// Anything else that AWS answered: another try would fail alike.
    Failed,
}

/// One failure, worded for its reader: what could not be done, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionError {
    /// What the caller does about it.
    pub kind: ErrorKind,
    /// The whole sentence, without a full stop.
    pub message: String,
    /// AWS's error code, where AWS answered with one.
    pub code: Option<String>,
    /// What the reader can do, where there is something.
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
    /// A failure that AWS did not answer: found by the action itself.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), code: None, help: None }
    }

    /// Whether AWS answered with this error code.
    pub fn has_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// One error for all that failed side by side; `None` when nothing did. A
    /// passing failure is worth another try, whatever else failed beside it.
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
    fn of_several_failures_the_passing_one_decides_and_all_are_told() {
        assert_eq!(ActionError::all(Vec::new()), None);
        let failed = ActionError::new(ErrorKind::Failed, "no");
        let passing = ActionError::new(ErrorKind::Transient, "not yet");
        let all = ActionError::all(vec![failed.clone(), passing, failed]).unwrap();
        assert_eq!((all.kind, all.message.as_str()), (ErrorKind::Transient, "no; not yet"));
    }
}
