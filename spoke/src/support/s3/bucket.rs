//! Calls for a bucket, in the bucket's Region, and the meaning of S3's errors. Every
//! call names the expected owner; for a bucket of another account S3 returns the error
//! of a missing permission.

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::account::AccountSession;
use crate::contract::Undone;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::{Region, ResourceKind};

/// The bucket that a target names.
pub(crate) fn name(kind: &ResourceKind) -> Result<&str, ActionError> {
    let ResourceKind::Bucket { name } = kind else {
        return Err(ActionError::new(ErrorKind::NotApplicable, "the target is not a bucket"));
    };
    Ok(name)
}

/// The result of undo if the bucket is gone; any other error is returned.
pub(crate) fn undo_if_gone(error: ActionError, name: &str) -> Result<Undone, ActionError> {
    if error.kind == ErrorKind::Gone {
        return Ok(Undone::drifted(format!("the bucket `{name}` does not exist any more")));
    }
    Err(error)
}

/// Makes a call for a bucket; `action` is the IAM action. A finding's Region may differ
/// from the bucket's: S3 then returns the bucket's Region, and the call is repeated
/// there (S3 user guide, "Making requests to a bucket in another Region":
/// `x-amz-bucket-region`).
pub(crate) async fn call<T, E, F>(
    account: &AccountSession,
    bucket: &str,
    action: &str,
    send: impl Fn(aws_sdk_s3::Client) -> F + Send,
) -> Result<T, ActionError>
where
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    T: Send,
    E: ProvideErrorMetadata + Error + Send + 'static,
{
    let output = send(account.s3_in(&account.region).await).await;
    let moved = output.as_ref().err().and_then(region);
    let output = match moved {
        Some(region) if region != account.region => send(account.s3_in(&region).await).await,
        Some(_) | None => output,
    };
    output.map_err(|failed| error(action, &failed, account, bucket))
}

/// The Region in a redirect.
fn region<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<Region> {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    let moved = error.raw_response()?.status().as_u16() == 301
        || matches!(code, Some("PermanentRedirect" | "AuthorizationHeaderMalformed"));
    let named = error.raw_response()?.headers().get("x-amz-bucket-region");
    named.filter(|_| moved)?.parse().ok()
}

/// Turns the error of this code into `None`.
pub(crate) fn none_if_missing<T>(
    output: Result<T, ActionError>,
    code: &str,
) -> Result<Option<T>, ActionError> {
    match output {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.has_code(code) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads an SDK error of a call for a bucket; `call` is the IAM action.
fn error<E>(
    call: &str,
    error: &SdkError<E, HttpResponse>,
    account: &AccountSession,
    bucket: &str,
) -> ActionError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    explain_denial(call, from_sdk(call, error), account.id.as_str(), bucket)
}

/// Whether S3 takes the policy of a bucket for public.
pub(crate) async fn policy_is_public(
    account: &AccountSession,
    name: &str,
) -> Result<bool, ActionError> {
    let owner = account.id.as_str();
    let output = call(account, name, "s3:GetBucketPolicyStatus", |s3| {
        s3.get_bucket_policy_status().bucket(name).expected_bucket_owner(owner).send()
    });
    let output = none_if_missing(output.await, "NoSuchBucketPolicy")?;
    let status = output.and_then(|output| output.policy_status);
    Ok(status.and_then(|status| status.is_public).unwrap_or(false))
}

/// S3 names the kind of policy that lacks a permission or denies it; a bare
/// "Access Denied" is what an owner other than the expected one gets (S3 user
/// guide, "Verifying bucket ownership" and "Troubleshoot access denied errors").
fn explain_denial(call: &str, error: ActionError, account: &str, bucket: &str) -> ActionError {
    let policies = ["identity-based policy", "session policy", "service control policy"];
    if error.kind != ErrorKind::Denied
        || policies.iter().any(|policy| error.message.contains(policy))
    {
        return error;
    }
    let message = format!(
        "refused to change the bucket `{bucket}`: S3 denies access to it as a bucket of account {account}: {}",
        error.message
    );
    let help = format!(
        "look who owns the bucket: if it is {account}, grant the spoke role {call} and look for a bucket policy or service control policy that denies it"
    );
    ActionError { kind: ErrorKind::Refused, message, help: Some(help), ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_of_another_account_is_distinguished_from_a_missing_permission() {
        let check = |kind: ErrorKind, said: &str, expected: ErrorKind| {
            let error =
                explain_denial("s3:X", ActionError::new(kind, said), "111111111111", "data");
            assert_eq!(error.kind, expected, "{said}");
        };
        check(ErrorKind::Denied, "AccessDenied: Access Denied", ErrorKind::Refused);
        let detailed = "AccessDenied: User: arn is not authorized to perform: s3:X on resource: \
                        data because no identity-based policy allows the s3:X action";
        check(ErrorKind::Denied, detailed, ErrorKind::Denied);
        check(ErrorKind::Gone, "NoSuchBucket", ErrorKind::Gone);
        check(ErrorKind::Transient, "SlowDown", ErrorKind::Transient);
    }
}
