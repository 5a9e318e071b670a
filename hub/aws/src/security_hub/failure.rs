//! What a call of Security Hub that failed means for the findings in it.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::tell::TellResult;
use crate::error::{HubError, failed};

/// A call that failed as a whole.
#[derive(Debug)]
pub(super) struct Failure {
    /// The error; transient where another try can do better.
    pub(super) error: HubError,
    /// Whether one finding may have spoilt it for the others: then it is worth
    /// calling again with half of them.
    pub(super) is_invalid: bool,
}

/// Reads an SDK error; `call` names the call as IAM does.
pub(super) fn failure<E>(call: &str, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = match error {
        SdkError::ServiceError(service) => service.err().code(),
        _ => None,
    };
    let is_invalid = matches!(code, Some("InvalidInputException" | "ValidationException"));
    // Security Hub throttles with LimitExceededException as well (API
    // reference, "429"); elsewhere that code is a lasting one.
    let passes = matches!(code, Some("LimitExceededException" | "ConflictException"));
    // An answer that cannot be read says nothing of what was done: telling the
    // same again is harmless.
    let unread = error.raw_response().is_some_and(|answer| answer.status().is_success());
    let passes = passes || unread;
    let error = match failed(call, error) {
        HubError::Failed(why) if passes => HubError::Transient(why),
        other => other,
    };
    Failure { error, is_invalid }
}

impl Failure {
    /// What it means for each finding in the call.
    pub(super) fn result(self) -> TellResult {
        match self.error {
            HubError::Transient(why) => TellResult::Later(why),
            HubError::Failed(why) | HubError::Refused(why) => TellResult::Refused(why),
        }
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self { error, is_invalid: false }
    }
}

/// What a code among the `UnprocessedFindings` means for its finding. Both
/// schemas' codes stand here (Security Hub API reference,
/// BatchUpdateFindingsUnprocessedFinding and its V2).
pub(super) fn unprocessed(call: &str, code: &str, message: Option<&str>) -> TellResult {
    let why = format!("{call}: {code}: {}", message.unwrap_or("no reason given"));
    match code {
        "FindingNotFound" | "ResourceNotFoundException" => TellResult::NotFound,
        "ConcurrentUpdateError"
        | "InternalFailure"
        | "ConflictException"
        | "InternalServerException" => TellResult::Later(why),
        _ => TellResult::Refused(why),
    }
}

/// One half of a list and the other, to find what spoils it.
pub(super) fn halves<T: Clone>(list: &[T]) -> [Vec<T>; 2] {
    let (first, second) = list.split_at(list.len() / 2);
    [first.to_vec(), second.to_vec()]
}
