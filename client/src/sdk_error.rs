//! Turns errors of AWS calls into kinds, by what the caller does about them.

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use firebreak_model::error::{ActionError, ErrorKind};

/// Reads an SDK error. `call` is the name of the IAM action, such as
/// `ec2:DescribeInstances`, which is also the missing permission.
pub fn from_sdk<E>(call: &str, error: &SdkError<E, HttpResponse>) -> ActionError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let code = match error {
        SdkError::ServiceError(service) => {
            service.err().code().map(str::to_owned).or_else(|| in_body(error, "Code"))
        }
        _ => None,
    };
    let kind = match (&code, error) {
        (Some(code), _) => kind_of_code(code, status(error)),
        // An unreadable response with a success status was truncated in transit. The call
        // may have succeeded, and can be repeated.
        (None, SdkError::ServiceError(_))
            if status(error).is_some_and(|code| (300..500).contains(&code)) =>
        {
            ErrorKind::Failed
        }
        (None, SdkError::ConstructionFailure(_)) => ErrorKind::Failed,
        (None, _) => ErrorKind::Transient,
    };
    let cause = match error {
        SdkError::ServiceError(service) => {
            let text = service.err().message().map(str::to_owned);
            match (&code, text.or_else(|| in_body(error, "Message"))) {
                (Some(code), Some(text)) => format!("{code}: {text}"),
                (Some(code), None) => code.clone(),
                (None, _) => with_causes(error),
            }
        }
        _ => with_causes(error),
    };
    let help = (kind == ErrorKind::Denied).then(|| {
        format!("grant {call} to the spoke role: redeploy stacksets/spoke.yaml, and check for a service control policy that denies it")
    });
    ActionError { kind, message: format!("{call} failed: {cause}"), code, help }
}

/// An error with its causes, outermost first. The SDK's `DisplayErrorContext` would also
/// print the response's headers and body.
pub fn with_causes(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors repeat their cause.
        if !message.ends_with(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    message
}

/// An element of an error that the SDK could not read: S3 Control may answer in S3's own shape,
/// `<Error><Code>`, in which its SDK finds no code (S3 API reference, "REST error responses").
fn in_body<E>(error: &SdkError<E, HttpResponse>, element: &str) -> Option<String> {
    let body = std::str::from_utf8(error.raw_response()?.body().bytes()?).ok()?;
    let (_, rest) = body.split_once(&format!("<{element}>"))?;
    let (text, _) = rest.split_once(&format!("</{element}>"))?;
    (!text.is_empty() && !text.contains('<')).then(|| text.to_owned())
}

fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// The kinds of AWS's error codes. Sources: the "Error codes" page of the EC2 API
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
    fn a_call_without_a_response_is_reported_with_its_causes_only() {
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
    fn an_error_in_another_shape_keeps_its_code_and_help() {
        let body = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
        let response = HttpResponse::new(403.try_into().unwrap(), body.into());
        let unread = aws_smithy_types::error::ErrorMetadata::builder().build();
        let error =
            from_sdk("s3:PutAccountPublicAccessBlock", &SdkError::service_error(unread, response));
        assert_eq!(error.kind, ErrorKind::Denied);
        assert_eq!(
            error.message,
            "s3:PutAccountPublicAccessBlock failed: AccessDenied: Access Denied"
        );
        assert!(error.has_code("AccessDenied") && error.help.is_some());
    }

    #[test]
    fn each_error_code_has_its_kind() {
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
