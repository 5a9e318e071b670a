//! Disables a bucket's lifecycle rules that expire objects or old versions, so that
//! no evidence is deleted meanwhile. Undo enables those again that were enabled.
//!
//! A rule is enabled or disabled as a whole: its transitions pause too. S3 takes a
//! whole configuration only, with the smallest size for transitions in a header, which
//! is kept (S3 API reference, PutBucketLifecycleConfiguration).

use std::collections::BTreeSet;

use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, ExpirationStatus, LifecycleRule,
    TransitionDefaultMinimumObjectSize,
};

use crate::account::AccountSession;
use crate::contract::{ActionSpec, Phase, Reversal};
use crate::grant::Grant;
use crate::support::s3::bucket;
use crate::support::s3::bucket_rules::{RuleConfiguration, Rules, Status, SuspendRules};
use crate::support::s3::grants::CHANGE_BUCKETS;
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) type SuspendLifecycle = SuspendRules<Lifecycle>;

/// A configuration, with the value of the header.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lifecycle {
    rules: Vec<LifecycleRule>,
    transition_minimum: Option<TransitionDefaultMinimumObjectSize>,
}

impl RuleConfiguration for Lifecycle {
    const SPEC: ActionSpec = ActionSpec {
        name: "suspend-lifecycle",
        sentence: "Disables the bucket's lifecycle rules that delete objects or old versions.",
        resource_types: &["S3Bucket"],
        reads: &["s3:GetLifecycleConfiguration"],
        writes: &["s3:PutLifecycleConfiguration"],
        reversal: Reversal::Restored,
        phase: Phase::Protect,
    };
    const GRANTS: &'static [Grant] = &[CHANGE_BUCKETS.allows(Self::SPEC.writes)];
    const KIND: &'static str = "lifecycle";

    async fn get(account: &AccountSession, name: &str) -> Result<Option<Self>, ActionError> {
        let owner = account.id.as_str();
        let output = bucket::call(account, name, "s3:GetLifecycleConfiguration", |s3| {
            s3.get_bucket_lifecycle_configuration().bucket(name).expected_bucket_owner(owner).send()
        });
        let output = bucket::none_if_missing(output.await, "NoSuchLifecycleConfiguration")?;
        Ok(output.map(|output| Self {
            rules: output.rules.unwrap_or_default(),
            transition_minimum: output.transition_default_minimum_object_size,
        }))
    }

    fn rules(&self) -> Rules {
        let deletes = |rule: &&LifecycleRule| {
            rule.expiration().is_some() || rule.noncurrent_version_expiration().is_some()
        };
        let one = |rule: &LifecycleRule| {
            let on = rule.status == ExpirationStatus::Enabled;
            let status = if on { Status::Enabled } else { Status::Disabled };
            (rule.id().unwrap_or_default().to_owned(), status)
        };
        self.rules.iter().filter(deletes).map(one).collect()
    }

    fn set(&mut self, ids: &BTreeSet<String>, status: Status) {
        let wanted = match status {
            Status::Enabled => ExpirationStatus::Enabled,
            Status::Disabled => ExpirationStatus::Disabled,
        };
        for rule in &mut self.rules {
            if ids.contains(rule.id().unwrap_or_default()) {
                rule.status = wanted.clone();
            }
        }
    }

    async fn put(self, account: &AccountSession, name: &str) -> Result<(), ActionError> {
        let configuration = BucketLifecycleConfiguration::builder().set_rules(Some(self.rules));
        let configuration = configuration.build().map_err(|error| {
            let message = format!("cannot build the lifecycle rules: {error}");
            ActionError::new(ErrorKind::Failed, message)
        })?;
        let (owner, minimum) = (account.id.as_str(), self.transition_minimum);
        let output = bucket::call(account, name, "s3:PutLifecycleConfiguration", |s3| {
            s3.put_bucket_lifecycle_configuration()
                .bucket(name)
                .expected_bucket_owner(owner)
                .lifecycle_configuration(configuration.clone())
                .set_transition_default_minimum_object_size(minimum.clone())
                .send()
        });
        output.await.map(|_| ())
    }
}
