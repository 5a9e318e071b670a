//! Turns a bucket's versioning on, so that what is overwritten or deleted from
//! now on stays as an older version.
//!
//! "Once you version-enable a bucket, it can never return to an unversioned
//! state" (S3 user guide, "Retaining multiple versions of objects"). So undo suspends
//! versioning where it was suspended before, and leaves it on where the bucket never
//! had it. All versions are kept.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use serde::{Deserialize, Serialize};

use crate::account::AccountSession;
use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Reversal,
    Undone, Verification,
};
use crate::grant::Grant;
use crate::support::s3::bucket;
use crate::support::s3::grants::CHANGE_BUCKETS;
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct EnableVersioning;

/// A bucket's versioning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Versioning {
    Never,
    Enabled,
    Suspended,
}

impl Versioning {
    fn describe(self) -> &'static str {
        match self {
            Self::Never => "never enabled",
            Self::Enabled => "enabled",
            Self::Suspended => "suspended",
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    versioning: Versioning,
}

impl Action for EnableVersioning {
    const SPEC: ActionSpec = ActionSpec {
        name: "enable-versioning",
        sentence: "Enables versioning on the bucket, so that overwritten and deleted objects remain as versions.",
        resource_types: &["S3Bucket"],
        reads: &["s3:GetBucketVersioning"],
        writes: &["s3:PutBucketVersioning"],
        reversal: Reversal::Kept,
        phase: Phase::Protect,
    };
    const GRANTS: &'static [Grant] = &[CHANGE_BUCKETS.allows(Self::SPEC.writes)];
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        let versioning = get(context.account, name).await?;
        let change = Change {
            what: format!("versioning of bucket {name}"),
            before: versioning.describe().to_owned(),
            after: match versioning {
                Versioning::Never => "enabled for good: it can only be suspended afterwards",
                Versioning::Enabled | Versioning::Suspended => "enabled",
            }
            .to_owned(),
        };
        let changes = if versioning == Versioning::Enabled { Vec::new() } else { vec![change] };
        Ok(CapturedState { prior: Prior { versioning }, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        _: &Prior,
    ) -> Result<(), ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        put(context.account, name, BucketVersioningStatus::Enabled).await
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        _: &Prior,
    ) -> Result<Verification, ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        let present = get(context.account, name).await?;
        let described = format!("the versioning of `{name}` is {}", present.describe());
        Ok(match present {
            Versioning::Enabled => Verification::InEffect(described),
            Versioning::Never | Versioning::Suspended => Verification::NotInEffect(described),
        })
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        let present = match get(context.account, name).await {
            Ok(present) => present,
            Err(error) => return bucket::undo_if_gone(error, name),
        };
        let mut undone = Undone::default();
        if (present, prior.versioning) == (Versioning::Enabled, Versioning::Suspended) {
            put(context.account, name, BucketVersioningStatus::Suspended).await?;
            undone.restored.push(format!("the versioning of {name} is suspended as before"));
        }
        Ok(undone)
    }
}

async fn get(account: &AccountSession, name: &str) -> Result<Versioning, ActionError> {
    let owner = account.id.as_str();
    let output = bucket::call(account, name, "s3:GetBucketVersioning", |s3| {
        s3.get_bucket_versioning().bucket(name).expected_bucket_owner(owner).send()
    });
    match output.await?.status {
        None => Ok(Versioning::Never),
        Some(BucketVersioningStatus::Enabled) => Ok(Versioning::Enabled),
        Some(BucketVersioningStatus::Suspended) => Ok(Versioning::Suspended),
        Some(other) => Err(ActionError::new(
            ErrorKind::Failed,
            format!("the versioning of `{name}` is `{}`, which is not known here", other.as_str()),
        )),
    }
}

async fn put(
    account: &AccountSession,
    name: &str,
    status: BucketVersioningStatus,
) -> Result<(), ActionError> {
    let owner = account.id.as_str();
    let configuration = VersioningConfiguration::builder().status(status).build();
    let output = bucket::call(account, name, "s3:PutBucketVersioning", |s3| {
        let call = s3.put_bucket_versioning().bucket(name).expected_bucket_owner(owner);
        call.versioning_configuration(configuration.clone()).send()
    });
    output.await.map(|_| ())
}
