//! Why a call failed, told apart as far as setting up needs it.

use std::fmt;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::setup::Seen;
use firebreak_aws::error::failed;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::aws) enum Trouble {
    /// Nobody knows the service's host: the Region does not have the service.
    NoHost(String),
    /// Anything else.
    Failed {
        /// AWS's code, where it answered.
        code: Option<String>,
        /// The whole sentence.
        told: String,
    },
}

impl Trouble {
    /// A failure that AWS did not answer.
    pub(in crate::aws) fn new(told: impl Into<String>) -> Self {
        Self::Failed { code: None, told: told.into() }
    }

    /// Whether AWS answered with this code.
    pub(in crate::aws) fn has_code(&self, wanted: &str) -> bool {
        match self {
            Self::NoHost(_) => false,
            Self::Failed { code, .. } => code.as_deref() == Some(wanted),
        }
    }

    /// The same with what the reader can do about it.
    pub(in crate::aws) fn help(self, help: &str) -> Self {
        match self {
            Self::NoHost(_) => self,
            Self::Failed { code, told } => {
                Self::Failed { code, told: format!("{told}\nhelp: {help}") }
            }
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHost(told) | Self::Failed { told, .. } => formatter.write_str(told),
        }
    }
}

/// Reads an SDK error; `call` names the call as IAM does.
pub(in crate::aws) fn trouble<E>(call: &str, error: &SdkError<E, HttpResponse>) -> Trouble
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let told = failed(call, error).to_string();
    match error {
        // The HTTP client's words for a name that does not resolve. Were it the
        // network, no Region's would.
        SdkError::DispatchFailure(_) if told.contains("dns error") => {
            let service = call.split(':').next().unwrap_or(call);
            Trouble::NoHost(format!("the Region has no endpoint of {service}"))
        }
        _ => Trouble::Failed { code: error.code().map(str::to_owned), told },
    }
}

/// What became of looking.
pub(in crate::aws) fn seen<T>(read: Result<T, Trouble>) -> Seen<T> {
    match read {
        Ok(it) => Seen::Read(it),
        Err(Trouble::NoHost(why)) => Seen::Absent(why),
        Err(trouble @ Trouble::Failed { .. }) => Seen::Unread(trouble.to_string()),
    }
}

/// An account id that AWS told.
pub(in crate::aws) fn account(
    call: &str,
    id: Option<&str>,
) -> Result<firebreak_model::resource::AccountId, Trouble> {
    let id = id.ok_or_else(|| Trouble::new(format!("{call} answered without an account id")))?;
    id.parse().map_err(|error| Trouble::new(format!("{call} answered oddly: {error}")))
}
