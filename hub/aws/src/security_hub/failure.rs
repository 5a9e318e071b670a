//! What a failed call of Security Hub means for the findings in it.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::update::UpdateResult;
use crate::error::{HubError, HubErrorKind, failed};

/// A call that failed as a whole.
#[derive(Debug)]
pub(super) struct Failure {
    /// The error; `Transient` if a retry may succeed.
    pub(super) error: HubError,
    /// Whether one invalid finding may have failed the whole call: then each half of
    /// the findings is sent on its own.
    pub(super) is_invalid: bool,
}

/// Reads an SDK error; `call` is the name of the IAM action.
pub(super) fn failure<E>(call: &str, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = match error {
        SdkError::ServiceError(service) => service.err().code(),
        _ => None,
    };
    let is_invalid = matches!(code, Some("InvalidInputException" | "ValidationException"));
    // Security Hub throttles with LimitExceededException as well (API reference,
    // "429"); in other services that code is permanent.
    let passes = matches!(code, Some("LimitExceededException" | "ConflictException"));
    // A response that cannot be read does not show what was done; sending the same
    // again is harmless.
    let unread = error.raw_response().is_some_and(|response| response.status().is_success());
    let passes = passes || unread;
    let error = failed(call, error);
    let error = if passes { error.with_kind(HubErrorKind::Transient) } else { error };
    Failure { error, is_invalid }
}

impl Failure {
    /// The result for each finding in the call.
    pub(super) fn result(self) -> UpdateResult {
        let why = self.error.to_string();
        if self.error.is_transient() {
            UpdateResult::Later(why)
        } else {
            UpdateResult::Refused(why)
        }
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self { error, is_invalid: false }
    }
}

/// The result for a finding by its code in `UnprocessedFindings`. The codes are those
/// of both schemas (Security Hub API reference, BatchUpdateFindingsUnprocessedFinding
/// and its V2).
pub(super) fn unprocessed(call: &str, code: &str, message: Option<&str>) -> UpdateResult {
    let why = format!("{call}: {code}: {}", message.unwrap_or("no reason given"));
    match code {
        "FindingNotFound" | "ResourceNotFoundException" => UpdateResult::NotFound,
        "ConcurrentUpdateError"
        | "InternalFailure"
        | "ConflictException"
        | "InternalServerException" => UpdateResult::Later(why),
        _ => UpdateResult::Refused(why),
    }
}

/// Splits a list in half, to find the invalid item.
pub(super) fn halves<T: Clone>(list: &[T]) -> [Vec<T>; 2] {
    let (first, second) = list.split_at(list.len() / 2);
    [first.to_vec(), second.to_vec()]
}
