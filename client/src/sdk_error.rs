//! Sorts the errors of AWS calls by what the caller does about them.

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use firebreak_model::error::{ActionError, ErrorKind};

/// Reads an SDK error. `call` is the IAM action's name, such as
/// `ec2:DescribeInstances`, which names the missing permission as well.
pub fn from_sdk<E>(call: &str, error: &SdkError<E, HttpResponse>) -> ActionError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let code = match error {
        SdkError::ServiceError(service) => service.err().code().map(str::to_owned),
        _ => None,
    };
    let kind = match (&code, error) {
        (Some(code), _) => kind_of_code(code, status(error)),
        // An answer of success that cannot be read was cut off on its way:
        // nobody knows what became of the call, and it can be made again.
        (None, SdkError::ServiceError(_))
            if status(error).is_some_and(|code| (300..500).contains(&code)) =>
        {
            ErrorKind::Failed
        }
        (None, SdkError::ConstructionFailure(_)) => ErrorKind::Failed,
        (None, _) => ErrorKind::Transient,
    };
    let said = match error {
        SdkError::ServiceError(service) => match (service.err().code(), service.err().message()) {
            (Some(code), Some(text)) => format!("{code}: {text}"),
            (Some(code), None) => code.to_owned(),
            (None, _) => with_causes(error),
        },
        _ => with_causes(error),
    };
    let help = (kind == ErrorKind::Denied).then(|| {
        format!("grant the spoke role {call}: redeploy stacksets/spoke.yaml, and look for a service control policy that denies it")
    });
    ActionError { kind, message: format!("{call} failed: {said}"), code, help }
}

/// An error and what caused it, each in its own words, outermost first. The SDK's
/// `DisplayErrorContext` adds all of the answer, headers and body, as a program
/// sees it.
pub fn with_causes(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Some repeat what is below them.
        if !message.ends_with(&said) {
            message = format!("{message}: {said}");
        }
        cause = error.source();
    }
    message
}

fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// Sorts AWS's error codes. Sources: the "Error codes" page of the EC2 API
/// reference, the "Common errors" and per-action errors of the IAM, S3, S3
/// Control and STS API references.
fn kind_of_code(code: &str, status: Option<u16>) -> ErrorKind {
    match code {
        "InvalidInstanceID.NotFound"
        | "InvalidInstanceID.Malformed"
        | "InvalidNetworkInterfaceID.NotFound"
        | "InvalidNetworkInterfaceId.NotFound"
        | "InvalidGroup.NotFound"
        | "InvalidGroupId.NotFound"
        | "InvalidSecurityGroupID.NotFound"
        | "InvalidAssociationID.NotFound"
        | "NoSuchEntity"
        | "NoSuchBucket"
        | "DBInstanceNotFound"
        | "DBInstanceNotFoundFault"
        | "DBClusterNotFoundFault"
        | "ResourceNotFoundException"
        | "ClusterNotFoundException"
        | "ServiceNotFoundException" => ErrorKind::Gone,
        "UnauthorizedOperation"
        | "AccessDenied"
        | "AccessDeniedException"
        | "AuthFailure"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "OptInRequired" => ErrorKind::Denied,
        "UnmodifiableEntity" => ErrorKind::Refused,
        "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "SlowDown"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "ServiceUnavailable"
        | "Unavailable"
        | "InternalError"
        | "InternalFailure"
        | "ServiceFailure"
        | "ConcurrentModification"
        | "EntityTemporarilyUnmodifiable"
        | "OperationAborted"
        | "IncorrectState"
        | "IncorrectInstanceState"
        | "InvalidDBInstanceState"
        | "InvalidDBClusterStateFault"
        | "ResourceConflictException"
        | "ResourceInUseException"
        | "ResourceInUse"
        | "ScalingActivityInProgress"
        | "ResourceContention"
        | "ServerException"
        | "WAFOptimisticLockException"
        | "SnapshotCreationPerVolumeRateExceeded"
        | "ConcurrentSnapshotLimitExceeded"
        | "PendingSnapshotLimitExceeded"
        | "AutomationExecutionLimitExceededException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired" => ErrorKind::Transient,
        _ if status.is_some_and(|status| status >= 500) => ErrorKind::Transient,
        _ => ErrorKind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::result::ConnectorError;

    use super::*;

    #[test]
    fn what_was_not_answered_is_told_with_its_causes_and_nothing_else() {
        let refused = std::io::Error::other("connection refused");
        let error = ConnectorError::io(Box::new(refused));
        let error: SdkError<aws_smithy_types::error::ErrorMetadata, HttpResponse> =
            SdkError::dispatch_failure(error);
        let message = from_sdk("sts:GetCallerIdentity", &error);
        assert_eq!(
            message.message,
            "sts:GetCallerIdentity failed: dispatch failure: io error: connection refused"
        );
        assert_eq!(message.kind, ErrorKind::Transient);
    }

    #[test]
    fn codes_are_sorted_by_what_the_caller_does() {
        let check = |code: &str, status: u16, expected: ErrorKind| {
            assert_eq!(kind_of_code(code, Some(status)), expected, "{code}");
        };
        check("InvalidInstanceID.NotFound", 400, ErrorKind::Gone);
        check("NoSuchEntity", 404, ErrorKind::Gone);
        check("UnauthorizedOperation", 403, ErrorKind::Denied);
        check("UnmodifiableEntity", 400, ErrorKind::Refused);
        check("RequestLimitExceeded", 503, ErrorKind::Transient);
        check("SomethingNew", 500, ErrorKind::Transient);
        check("SomethingNew", 400, ErrorKind::Failed);
        check("LimitExceeded", 409, ErrorKind::Failed);
    }
}
