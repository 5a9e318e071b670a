//! Why a command failed, and with which exit code.

use std::process::ExitCode;

use firebreak_aws::audit_log::ExportError;
use firebreak_aws::error::HubError;
use firebreak_onboarding::aws::deploy::DeployError;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Check(String),
    /// A negative result, which is on standard output already.
    #[error("no")]
    No,
    /// Wrong usage or configuration.
    #[error("{0}")]
    Usage(String),
    /// A call to AWS failed.
    #[error("{0}")]
    Aws(HubError),
    /// A file, standard input or standard output.
    #[error("cannot read or write: {0}")]
    Io(#[from] std::io::Error),
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        if error.is_refused() { Self::Check(error.to_string()) } else { Self::Aws(error) }
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Aws(error) => error.into(),
            ExportError::Io(error) => error.into(),
        }
    }
}

impl From<DeployError> for Failure {
    fn from(error: DeployError) -> Self {
        match error {
            DeployError::Usage(why) => Self::Usage(why),
            DeployError::Aws(error) => Self::Aws(error),
        }
    }
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Check(_) | Self::No => 1,
            Self::Usage(_) | Self::Io(_) => 2,
            Self::Aws(_) => 3,
        })
    }
}
