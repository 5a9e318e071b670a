//! Turns a bucket's lifecycle rules off that expire objects or old versions, so
//! that no evidence is deleted meanwhile. Undo turns on again those that were on.
//!
//! A rule is on or off as a whole: transitions that stand in a rule that expires
//! pause with it. S3 takes a whole configuration only, with the smallest size
//! for transitions in a header beside it, which is kept (S3 API reference,
//! PutBucketLifecycleConfiguration).

use std::collections::BTreeSet;

use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, ExpirationStatus, LifecycleRule,
    TransitionDefaultMinimumObjectSize,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bucket_rules::{self, Prior, Rules, Status};
use super::{
    Action, ActionContext, ActionSpec, CapturedState, Phase, Reversal, Undone, Verification,
};
use crate::account::AccountSession;
use crate::bucket;
use firebreak_model::error::{ActionError, ErrorKind};

pub(super) struct SuspendLifecycle;

/// It takes none.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {}

const KIND: &str = "lifecycle";

impl Action for SuspendLifecycle {
    const SPEC: ActionSpec = ActionSpec {
        name: "suspend-lifecycle",
        sentence: "Disables the bucket's lifecycle rules that delete objects or old versions.",
        resource_types: &["S3Bucket"],
        reads: &["s3:GetLifecycleConfiguration"],
        writes: &["s3:PutLifecycleConfiguration"],
        reversal: Reversal::Restored,
        phase: Phase::Protect,
    };
    type Parameters = Parameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &Parameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        let present = get(context.account, name).await?;
        let prior = bucket_rules::observed(&rules(present.as_ref()));
        let changes = bucket_rules::changes(KIND, name, &prior);
        Ok(CapturedState { prior, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        let Some(present) = get(context.account, name).await? else { return Ok(()) };
        set(context.account, name, present, &prior.enabled, Status::Disabled).await
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        let present = get(context.account, name).await?;
        Ok(bucket_rules::judge(KIND, name, &rules(present.as_ref()), prior))
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        let present = match get(context.account, name).await {
            Err(error) if error.kind == ErrorKind::Gone => {
                let drift = vec![format!("the bucket `{name}` does not exist any more")];
                return Ok(Undone { drift, ..Undone::default() });
            }
            present => present?,
        };
        let (on, undone) = bucket_rules::reverse(KIND, name, &rules(present.as_ref()), prior);
        if let (Some(present), false) = (present, on.is_empty()) {
            set(context.account, name, present, &on, Status::Enabled).await?;
        }
        Ok(undone)
    }
}

/// A configuration, with what stands beside it in a header.
#[derive(Clone, Debug, PartialEq)]
struct Lifecycle {
    rules: Vec<LifecycleRule>,
    transition_minimum: Option<TransitionDefaultMinimumObjectSize>,
}

fn rules(lifecycle: Option<&Lifecycle>) -> Rules {
    let rules = lifecycle.map(|lifecycle| lifecycle.rules.as_slice()).unwrap_or_default();
    let deletes = |rule: &&LifecycleRule| {
        rule.expiration().is_some() || rule.noncurrent_version_expiration().is_some()
    };
    let one = |rule: &LifecycleRule| {
        let on = rule.status == ExpirationStatus::Enabled;
        let status = if on { Status::Enabled } else { Status::Disabled };
        (rule.id().unwrap_or_default().to_owned(), status)
    };
    rules.iter().filter(deletes).map(one).collect()
}

async fn get(account: &AccountSession, name: &str) -> Result<Option<Lifecycle>, ActionError> {
    let owner = account.id.as_str();
    let answer = bucket::call(account, name, "s3:GetLifecycleConfiguration", |s3| {
        s3.get_bucket_lifecycle_configuration().bucket(name).expected_bucket_owner(owner).send()
    });
    let answer = bucket::absent(answer.await, "NoSuchLifecycleConfiguration")?;
    Ok(answer.map(|answer| Lifecycle {
        rules: answer.rules.unwrap_or_default(),
        transition_minimum: answer.transition_default_minimum_object_size,
    }))
}

/// Gives the rules of these ids a status, where they have another.
async fn set(
    account: &AccountSession,
    name: &str,
    mut lifecycle: Lifecycle,
    ids: &BTreeSet<String>,
    status: Status,
) -> Result<(), ActionError> {
    let wanted = match status {
        Status::Enabled => ExpirationStatus::Enabled,
        Status::Disabled => ExpirationStatus::Disabled,
    };
    let before = lifecycle.clone();
    for rule in &mut lifecycle.rules {
        if ids.contains(rule.id().unwrap_or_default()) {
            rule.status = wanted.clone();
        }
    }
    if lifecycle == before {
        return Ok(());
    }
    let configuration = BucketLifecycleConfiguration::builder().set_rules(Some(lifecycle.rules));
    let configuration = configuration.build().map_err(|error| {
        ActionError::new(ErrorKind::Failed, format!("cannot build the lifecycle rules: {error}"))
    })?;
    let (owner, minimum) = (account.id.as_str(), lifecycle.transition_minimum);
    let answer = bucket::call(account, name, "s3:PutLifecycleConfiguration", |s3| {
        s3.put_bucket_lifecycle_configuration()
            .bucket(name)
            .expected_bucket_owner(owner)
            .lifecycle_configuration(configuration.clone())
            .set_transition_default_minimum_object_size(minimum.clone())
            .send()
    });
    answer.await.map(|_| ())
}
