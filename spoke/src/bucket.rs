//! How S3's refusals are told. Every call names the expected owner, and S3
//! answers a bucket of another account like a missing permission.

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::account::Account;
use crate::error::{ActionError, Kind};

/// Reads an SDK error of a call for a bucket; `call` is the IAM action.
pub(crate) fn error<E>(
    call: &str,
    error: &SdkError<E, HttpResponse>,
    account: &Account,
    bucket: &str,
) -> ActionError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    tell(call, ActionError::from_sdk(call, error), account.id.as_str(), bucket)
}

/// S3 names the kind of policy that lacks a permission or denies it; a bare
/// "Access Denied" is what an owner other than the expected one gets (S3 user
/// guide, "Verifying bucket ownership" and "Troubleshoot access denied errors").
fn tell(call: &str, error: ActionError, account: &str, bucket: &str) -> ActionError {
    let told = ["identity-based policy", "session policy", "service control policy"];
    if error.kind != Kind::Denied || told.iter().any(|policy| error.message.contains(policy)) {
        return error;
    }
    let message = format!(
        "refused to touch the bucket `{bucket}`: S3 denies access to it as a bucket of account {account}: {}",
        error.message
    );
    let help = format!(
        "look who owns the bucket: if it is {account}, grant the spoke role {call} and look for a bucket policy or service control policy that denies it"
    );
    ActionError { kind: Kind::Refused, message, help: Some(help), ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_of_another_account_is_told_from_a_missing_permission() {
        let check = |kind: Kind, said: &str, expected: Kind| {
            let error = tell("s3:X", ActionError::new(kind, said), "111111111111", "data");
            assert_eq!(error.kind, expected, "{said}");
        };
        check(Kind::Denied, "AccessDenied: Access Denied", Kind::Refused);
        let detailed = "AccessDenied: User: arn is not authorized to perform: s3:X on resource: \
                        data because no identity-based policy allows the s3:X action";
        check(Kind::Denied, detailed, Kind::Denied);
        check(Kind::Gone, "NoSuchBucket", Kind::Gone);
        check(Kind::Transient, "SlowDown", Kind::Transient);
    }
}
