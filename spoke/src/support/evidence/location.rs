//! Where evidence is kept: objects of one response under one prefix of a
//! bucket, which may be another account's and in another Region.

use aws_sdk_s3::config::{Builder, Region as SdkRegion};
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ObjectLockEnabled, ObjectLockMode};
use firebreak_model::digest::sha256_hex;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::contract::ActionContext;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::{AccountId, Region};

/// Where evidence goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EvidenceLocation {
    pub(crate) bucket: String,
    /// With its slash at the end.
    pub(crate) prefix: String,
    /// The account that must own the bucket; where absent, any account.
    pub(crate) owner: Option<AccountId>,
    /// The bucket's Region; the target's where absent.
    pub(crate) region: Option<Region>,
}

/// One object of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Kept {
    pub(crate) key: String,
    pub(crate) size: i64,
    pub(crate) sha256: String,
}

/// When Object Lock's retention ends.
pub(crate) type Retention = Option<Timestamp>;

impl EvidenceLocation {
    fn region(&self, context: ActionContext<'_>) -> Builder {
        let region = self.region.as_ref().unwrap_or(&context.account.region);
        Builder::default().region(SdkRegion::new(region.as_str().to_owned()))
    }

    fn owner(&self) -> Option<String> {
        self.owner.as_ref().map(ToString::to_string)
    }

    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A denial may be the bucket's policy: it is seldom the target's account.
    fn in_context(&self, error: ActionError) -> ActionError {
        let message = format!("the bucket `{}`: {}", self.bucket, error.message);
        match error.kind {
            ErrorKind::Denied => {
                let help = format!(
                    "redeploy stacksets/spoke.yaml with an `EvidenceBuckets` that `{}` fits, and where another account owns the bucket grant the spoke role s3:PutObject, s3:PutObjectRetention, s3:GetObject, s3:ListBucket and s3:GetBucketObjectLockConfiguration in the bucket's policy, and the use of its key",
                    self.bucket
                );
                ActionError { message, help: Some(help), ..error }
            }
            // The bucket is not the target: a missing one is a mistake in the policy.
            ErrorKind::Gone => ActionError { kind: ErrorKind::Failed, message, ..error },
            ErrorKind::NotApplicable
            | ErrorKind::Refused
            | ErrorKind::Transient
            | ErrorKind::Failed => ActionError { message, ..error },
        }
    }
}

/// Whether Object Lock is on, so that objects can be retained.
pub(crate) async fn has_lock(
    context: ActionContext<'_>,
    place: &EvidenceLocation,
) -> Result<bool, ActionError> {
    let call = context
        .account
        .s3()
        .await
        .get_object_lock_configuration()
        .bucket(&place.bucket)
        .set_expected_bucket_owner(place.owner())
        .customize()
        .config_override(place.region(context));
    match call.send().await {
        Ok(output) => {
            let configuration = output.object_lock_configuration();
            let enabled = configuration.and_then(|it| it.object_lock_enabled());
            Ok(enabled == Some(&ObjectLockEnabled::Enabled))
        }
        Err(error) => {
            let error = from_sdk("s3:GetBucketObjectLockConfiguration", &error);
            if error.has_code("ObjectLockConfigurationNotFoundError") {
                return Ok(false);
            }
            Err(place.in_context(error))
        }
    }
}

/// Writes one object; returns its entry in the manifest.
pub(crate) async fn put(
    context: ActionContext<'_>,
    place: &EvidenceLocation,
    name: &str,
    content_type: &str,
    body: Vec<u8>,
    retention: Retention,
) -> Result<Kept, ActionError> {
    let key = place.key(name);
    let size = i64::try_from(body.len()).unwrap_or(i64::MAX);
    let sha256 = sha256_hex(&body);
    let call = context
        .account
        .s3()
        .await
        .put_object()
        .bucket(&place.bucket)
        .key(&key)
        .set_expected_bucket_owner(place.owner())
        .content_type(content_type)
        // In governance mode a mistake can still be corrected, by a person with the
        // permission to bypass it.
        .set_object_lock_mode(retention.map(|_| ObjectLockMode::Governance))
        .set_object_lock_retain_until_date(
            retention.map(|until| DateTime::from_secs(until.as_second())),
        )
        .body(ByteStream::from(body))
        .customize()
        .config_override(place.region(context));
    let result = call.send().await;
    result.map_err(|error| place.in_context(from_sdk("s3:PutObject", &error)))?;
    Ok(Kept { key, size, sha256 })
}

/// An object's size; `None` where there is no such object.
pub(crate) async fn size(
    context: ActionContext<'_>,
    place: &EvidenceLocation,
    key: &str,
) -> Result<Option<i64>, ActionError> {
    let call = context
        .account
        .s3()
        .await
        .head_object()
        .bucket(&place.bucket)
        .key(key)
        .set_expected_bucket_owner(place.owner())
        .customize()
        .config_override(place.region(context));
    match call.send().await {
        Ok(output) => Ok(Some(output.content_length().unwrap_or(0))),
        Err(error) => {
            // A response to HEAD has no body, only a status.
            let status = error.raw_response().map(|response| response.status().as_u16());
            let error = from_sdk("s3:GetObject", &error);
            if error.kind == ErrorKind::Failed && status == Some(403) {
                return Err(place.in_context(ActionError { kind: ErrorKind::Denied, ..error }));
            }
            absent(place, error)
        }
    }
}

/// An object's bytes; `None` where there is no such object.
pub(crate) async fn get(
    context: ActionContext<'_>,
    place: &EvidenceLocation,
    key: &str,
) -> Result<Option<Vec<u8>>, ActionError> {
    let call = context
        .account
        .s3()
        .await
        .get_object()
        .bucket(&place.bucket)
        .key(key)
        .set_expected_bucket_owner(place.owner())
        .customize()
        .config_override(place.region(context));
    let output = match call.send().await {
        Ok(output) => output,
        Err(error) => return absent(place, from_sdk("s3:GetObject", &error)),
    };
    let bytes = output.body.collect().await.map_err(|error| {
        ActionError::new(ErrorKind::Transient, format!("s3:GetObject broke off: {error}"))
    })?;
    Ok(Some(bytes.to_vec()))
}

/// GET says `NoSuchKey`, HEAD `NotFound`.
fn absent<T>(place: &EvidenceLocation, error: ActionError) -> Result<Option<T>, ActionError> {
    if error.has_code("NoSuchKey") || error.has_code("NotFound") {
        return Ok(None);
    }
    Err(place.in_context(error))
}
