//! Disables a bucket's replication rules, so that what is written or deleted in it from then
//! on does not reach the destination buckets. Undo enables the rules again that were enabled.
//!
//! S3 accepts only a whole configuration, and writing it passes the replicating role to
//! S3, for which the caller needs `iam:PassRole` (S3 API reference,
//! PutBucketReplication). Undo does not replicate what was written meanwhile: S3 Batch
//! Replication does that.

use std::collections::BTreeSet;

use aws_sdk_s3::types::{ReplicationConfiguration, ReplicationRule, ReplicationRuleStatus};

use crate::account::AccountSession;
use crate::contract::{ActionSpec, Phase, Reversal};
use crate::grant::{Grant, GrantScope};
use crate::support::iam::grants::{ROLES, passed_to};
use crate::support::s3::bucket;
use crate::support::s3::bucket_rules::{RuleConfiguration, Rules, Status, SuspendRules};
use crate::support::s3::grants::CHANGE_BUCKETS;
use firebreak_model::error::ActionError;

pub(crate) type SuspendReplication = SuspendRules<ReplicationConfiguration>;

const PASS_REPLICATION_ROLES: GrantScope = GrantScope {
    sid: "PassReplicationRoles",
    why: "A replication that is suspended or resumed keeps its role.",
    resources: &[ROLES],
    conditions: &[passed_to(&["s3.amazonaws.com"])],
    within: None,
};

impl RuleConfiguration for ReplicationConfiguration {
    const SPEC: ActionSpec = ActionSpec {
        name: "suspend-replication",
        sentence: "Disables the bucket's replication rules, so that new changes are not replicated.",
        resource_types: &["S3Bucket"],
        reads: &["s3:GetReplicationConfiguration"],
        writes: &["iam:PassRole", "s3:PutReplicationConfiguration"],
        reversal: Reversal::Restored,
        phase: Phase::Protect,
    };
    const GRANTS: &'static [Grant] = &[
        CHANGE_BUCKETS.allows(&["s3:PutReplicationConfiguration"]),
        PASS_REPLICATION_ROLES.allows(&["iam:PassRole"]),
    ];
    const KIND: &'static str = "replication";

    async fn get(account: &AccountSession, name: &str) -> Result<Option<Self>, ActionError> {
        let owner = account.id.as_str();
        let output = bucket::call(account, name, "s3:GetReplicationConfiguration", |s3| {
            s3.get_bucket_replication().bucket(name).expected_bucket_owner(owner).send()
        });
        bucket::none_if_missing(output.await, "ReplicationConfigurationNotFoundError")
            .map(|output| output.and_then(|output| output.replication_configuration))
    }

    fn rules(&self) -> Rules {
        let one = |rule: &ReplicationRule| {
            let on = rule.status == ReplicationRuleStatus::Enabled;
            let status = if on { Status::Enabled } else { Status::Disabled };
            (rule.id().unwrap_or_default().to_owned(), status)
        };
        self.rules.iter().map(one).collect()
    }

    fn set(&mut self, ids: &BTreeSet<String>, status: Status) {
        let wanted = match status {
            Status::Enabled => ReplicationRuleStatus::Enabled,
            Status::Disabled => ReplicationRuleStatus::Disabled,
        };
        for rule in &mut self.rules {
            if ids.contains(rule.id().unwrap_or_default()) {
                rule.status = wanted.clone();
            }
        }
    }

    async fn put(self, account: &AccountSession, name: &str) -> Result<(), ActionError> {
        let owner = account.id.as_str();
        let output = bucket::call(account, name, "s3:PutReplicationConfiguration", |s3| {
            let call = s3.put_bucket_replication().bucket(name).expected_bucket_owner(owner);
            call.replication_configuration(self.clone()).send()
        });
        output.await.map(|_| ())
    }
}
