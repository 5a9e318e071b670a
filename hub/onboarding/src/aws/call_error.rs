//! Why a call failed, distinguished as far as the setup needs it.

use std::fmt;

use aws_smithy_async::future::pagination_stream::PaginationStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use firebreak_aws::error::failed;
use firebreak_model::resource::AccountId;

use crate::setup::Reading;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CallError {
    /// The host name does not resolve: the Region does not have the service.
    NoEndpoint(String),
    Failed {
        /// AWS's error code, if AWS returned an error.
        code: Option<String>,
        message: String,
    },
}

impl CallError {
    /// A failure without an error code.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self::Failed { code: None, message: message.into() }
    }

    /// Reads an SDK error; `call` names the call as IAM does.
    pub(super) fn from_sdk<E>(call: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let message = failed(call, error).to_string();
        match error {
            // The HTTP client's words for a name that does not resolve. Without a
            // network, no Region's would resolve.
            SdkError::DispatchFailure(_) if message.contains("dns error") => {
                let service = call.split(':').next().unwrap_or(call);
                Self::NoEndpoint(format!("the Region has no endpoint of {service}"))
            }
            _ => Self::Failed { code: error.code().map(str::to_owned), message },
        }
    }

    pub(super) fn has_code(&self, wanted: &str) -> bool {
        match self {
            Self::NoEndpoint(_) => false,
            Self::Failed { code, .. } => code.as_deref() == Some(wanted),
        }
    }

    /// Adds a line with what the reader can do about it.
    pub(super) fn help(self, help: &str) -> Self {
        match self {
            Self::NoEndpoint(_) => self,
            Self::Failed { code, message } => {
                Self::Failed { code, message: format!("{message}\nhelp: {help}") }
            }
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEndpoint(message) | Self::Failed { message, .. } => {
                formatter.write_str(message)
            }
        }
    }
}

/// Hands every page of a list to `each`.
pub(super) async fn for_each_page<T, E>(
    call: &str,
    mut pages: PaginationStream<Result<T, SdkError<E, HttpResponse>>>,
    mut each: impl FnMut(T) -> Result<(), CallError>,
) -> Result<(), CallError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    while let Some(page) = pages.next().await {
        each(page.map_err(|error| CallError::from_sdk(call, &error))?)?;
    }
    Ok(())
}

pub(super) fn to_reading<T>(read: Result<T, CallError>) -> Reading<T> {
    match read {
        Ok(it) => Reading::Read(it),
        Err(CallError::NoEndpoint(why)) => Reading::Absent(why),
        Err(error @ CallError::Failed { .. }) => Reading::Unread(error.to_string()),
    }
}

/// An account id that AWS returned.
pub(super) fn account_id(call: &str, id: Option<&str>) -> Result<AccountId, CallError> {
    let id = id.ok_or_else(|| CallError::new(format!("{call} returned no account id")))?;
    id.parse().map_err(|error| CallError::new(format!("{call} returned an invalid id: {error}")))
}
