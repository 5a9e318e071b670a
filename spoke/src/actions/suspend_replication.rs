//! Turns a bucket's replication rules off, so that nothing that is written or
//! deleted in it reaches its copies. Undo turns on again those that were on.
//!
//! S3 takes a whole configuration only, and with it hands the replicating role
//! to itself, for which the caller needs `iam:PassRole` (S3 API reference,
//! PutBucketReplication). What was not replicated meanwhile is not made up for
//! afterwards: S3 Batch Replication does that.

use std::collections::BTreeSet;

use aws_sdk_s3::types::{ReplicationConfiguration, ReplicationRuleStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bucket_rules::{self, Prior, Rules, Status};
use super::{
    Action, ActionContext, ActionSpec, CapturedState, Phase, Reversal, Undone, Verification,
};
use crate::account::AccountSession;
use crate::bucket;
use firebreak_model::error::{ActionError, ErrorKind};

pub(super) struct SuspendReplication;

/// It takes none.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {}

const KIND: &str = "replication";

impl Action for SuspendReplication {
    const SPEC: ActionSpec = ActionSpec {
        name: "suspend-replication",
        sentence: "Disables the bucket's replication rules, so that new changes are not replicated.",
        resource_types: &["S3Bucket"],
        reads: &["s3:GetReplicationConfiguration"],
        writes: &["iam:PassRole", "s3:PutReplicationConfiguration"],
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

fn rules(configuration: Option<&ReplicationConfiguration>) -> Rules {
    let rules = configuration.map(ReplicationConfiguration::rules).unwrap_or_default();
    let one = |rule: &aws_sdk_s3::types::ReplicationRule| {
        let on = rule.status == ReplicationRuleStatus::Enabled;
        let status = if on { Status::Enabled } else { Status::Disabled };
        (rule.id().unwrap_or_default().to_owned(), status)
    };
    rules.iter().map(one).collect()
}

async fn get(
    account: &AccountSession,
    name: &str,
) -> Result<Option<ReplicationConfiguration>, ActionError> {
    let owner = account.id.as_str();
    let answer = bucket::call(account, name, "s3:GetReplicationConfiguration", |s3| {
        s3.get_bucket_replication().bucket(name).expected_bucket_owner(owner).send()
    });
    bucket::absent(answer.await, "ReplicationConfigurationNotFoundError")
        .map(|answer| answer.and_then(|answer| answer.replication_configuration))
}

/// Gives the rules of these ids a status, where they have another.
async fn set(
    account: &AccountSession,
    name: &str,
    mut configuration: ReplicationConfiguration,
    ids: &BTreeSet<String>,
    status: Status,
) -> Result<(), ActionError> {
    let wanted = match status {
        Status::Enabled => ReplicationRuleStatus::Enabled,
        Status::Disabled => ReplicationRuleStatus::Disabled,
    };
    let before = configuration.clone();
    for rule in &mut configuration.rules {
        if ids.contains(rule.id().unwrap_or_default()) {
            rule.status = wanted.clone();
        }
    }
    if configuration == before {
        return Ok(());
    }
    let owner = account.id.as_str();
    let answer = bucket::call(account, name, "s3:PutReplicationConfiguration", |s3| {
        let call = s3.put_bucket_replication().bucket(name).expected_bucket_owner(owner);
        call.replication_configuration(configuration.clone()).send()
    });
    answer.await.map(|_| ())
}
