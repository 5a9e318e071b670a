//! Why a call failed, distinguished as far as the set-up needs it.

use std::fmt;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::setup::Reading;
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
        message: String,
    },
}

impl Trouble {
    /// A failure that AWS did not answer.
    pub(in crate::aws) fn new(message: impl Into<String>) -> Self {
        Self::Failed { code: None, message: message.into() }
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
            Self::Failed { code, message } => {
                Self::Failed { code, message: format!("{message}\nhelp: {help}") }
            }
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHost(message) | Self::Failed { message, .. } => formatter.write_str(message),
        }
    }
}

/// Reads an SDK error; `call` names the call as IAM does.
pub(in crate::aws) fn trouble<E>(call: &str, error: &SdkError<E, HttpResponse>) -> Trouble
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let message = failed(call, error).to_string();
    match error {
        // The HTTP client's words for a name that does not resolve. Were it the
        // network, no Region's would.
        SdkError::DispatchFailure(_) if message.contains("dns error") => {
            let service = call.split(':').next().unwrap_or(call);
            Trouble::NoHost(format!("the Region has no endpoint of {service}"))
        }
        _ => Trouble::Failed { code: error.code().map(str::to_owned), message },
    }
}

/// What became of looking.
pub(in crate::aws) fn seen<T>(read: Result<T, Trouble>) -> Reading<T> {
    match read {
        Ok(it) => Reading::Read(it),
        Err(Trouble::NoHost(why)) => Reading::Absent(why),
        Err(trouble @ Trouble::Failed { .. }) => Reading::Unread(trouble.to_string()),
    }
}

/// An account id that AWS returned.
pub(in crate::aws) fn account(
    call: &str,
    id: Option<&str>,
) -> Result<firebreak_model::resource::AccountId, Trouble> {
    let id = id.ok_or_else(|| Trouble::new(format!("{call} answered without an account id")))?;
    id.parse().map_err(|error| Trouble::new(format!("{call} answered oddly: {error}")))
}
