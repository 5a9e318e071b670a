//! Blocks public access of a bucket or, by parameter, of its whole account. It sets all
//! four flags and clears none. Undo restores the flags, or their absence, unless
//! others changed them.
//!
//! A bucket whose account blocks everything needs no block of its own. The same is true
//! if an organization's policy manages the account's block (S3 user guide, "Managing
//! block public access at the organization level").
//!
//! It breaks static websites and everything else that is public on purpose: policy
//! decides whether to use it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Reversal, Undone, Verification,
};
use crate::grant::{Grant, GrantScope};
use crate::support::s3::bucket;
use crate::support::s3::grants::CHANGE_BUCKETS;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct BlockPublicAccess;

// The permissions to put are those to delete as well (Service Authorization
// Reference, "Actions defined by Amazon S3").
const GET_ACCOUNT: &str = "s3:GetAccountPublicAccessBlock";
const GET_BUCKET: &str = "s3:GetBucketPublicAccessBlock";
const PUT_ACCOUNT: &str = "s3:PutAccountPublicAccessBlock";
const PUT_BUCKET: &str = "s3:PutBucketPublicAccessBlock";

/// What is blocked.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Parameters {
    /// Block the whole account, not only the finding's bucket.
    account: bool,
}

/// The four flags (S3 user guide, "Blocking public access").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "AWS's own four flags")]
struct Flags {
    block_public_acls: bool,
    ignore_public_acls: bool,
    block_public_policy: bool,
    restrict_public_buckets: bool,
}

const ALL: Flags = Flags {
    block_public_acls: true,
    ignore_public_acls: true,
    block_public_policy: true,
    restrict_public_buckets: true,
};

impl fmt::Display for Flags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.block_public_acls, "BlockPublicAcls"),
            (self.ignore_public_acls, "IgnorePublicAcls"),
            (self.block_public_policy, "BlockPublicPolicy"),
            (self.restrict_public_buckets, "RestrictPublicBuckets"),
        ];
        let raised: Vec<&str> =
            names.into_iter().filter(|(raised, _)| *raised).map(|(_, name)| name).collect();
        formatter.write_str(if raised.is_empty() { "no flag" } else { "" })?;
        formatter.write_str(&raised.join(", "))
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    /// `None` when nothing was configured, which undo restores as such.
    flags: Option<Flags>,
}

/// What carries the flags.
#[derive(Clone, Copy)]
enum Level<'a> {
    Bucket(&'a str),
    Account,
}

impl fmt::Display for Level<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket(name) => write!(formatter, "bucket `{name}`"),
            Self::Account => formatter.write_str("the account"),
        }
    }
}

const CLOSE_BUCKETS_OF_THE_ACCOUNT: GrantScope = GrantScope {
    sid: "CloseBucketsOfTheAccount",
    why: "AWS offers no resource level: what it changes is this account's setting.",
    resources: &["*"],
    conditions: &[],
    within: None,
};

impl Action for BlockPublicAccess {
    const SPEC: ActionSpec = ActionSpec {
        name: "block-public-access",
        sentence: "Blocks public access of the bucket or, by parameter, of its whole account.",
        resource_types: &["S3Bucket"],
        reads: &[GET_ACCOUNT, GET_BUCKET],
        writes: &[PUT_ACCOUNT, PUT_BUCKET],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[
        CHANGE_BUCKETS.allows(&["s3:PutBucketPublicAccessBlock"]),
        CLOSE_BUCKETS_OF_THE_ACCOUNT.allows(&["s3:PutAccountPublicAccessBlock"]),
    ];
    // With its flags set S3 refuses every change of a public policy or ACL.
    const AFTER: &'static [&'static str] = &["private-acl", "restrict-bucket-policy"];
    type Parameters = Parameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        parameters: &Parameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let level = level(context, parameters)?;
        let flags = get(context, level).await?;
        let change = Change {
            what: format!("public access block of {level}"),
            before: flags.map_or_else(|| "none".to_owned(), |flags| flags.to_string()),
            after: ALL.to_string(),
        };
        // An organization's policy appears as the account's block, and applies to the
        // bucket even if the bucket's own block differs.
        let blocked = flags == Some(ALL)
            || matches!(level, Level::Bucket(_)) && account_blocks_all(context).await?;
        let changes = if blocked { Vec::new() } else { vec![change] };
        Ok(CapturedState { prior: Prior { flags }, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        parameters: &Parameters,
        _: &Prior,
    ) -> Result<(), ActionError> {
        put(context, level(context, parameters)?, ALL).await
    }

    async fn verify(
        context: ActionContext<'_>,
        parameters: &Parameters,
        _: &Prior,
    ) -> Result<Verification, ActionError> {
        let level = level(context, parameters)?;
        let flags = get(context, level).await?;
        if flags != Some(ALL)
            && matches!(level, Level::Bucket(_))
            && account_blocks_all(context).await?
        {
            let described =
                format!("all public access of {level} is blocked by its account's block");
            return Ok(Verification::InEffect(described));
        }
        Ok(match flags {
            Some(ALL) => Verification::InEffect(format!("all public access of {level} is blocked")),
            Some(flags) => Verification::NotInEffect(format!("{level} has only {flags}")),
            None => Verification::NotInEffect(format!("{level} has no public access block")),
        })
    }

    async fn undo(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let level = level(context, parameters)?;
        let mut undone = Undone::default();
        let present = match get(context, level).await {
            Ok(present) => present,
            Err(error) if error.kind == ErrorKind::Gone => {
                undone.drift.push(format!("{level} does not exist any more"));
                return Ok(undone);
            }
            Err(error) => return Err(error),
        };
        match (present, prior.flags) {
            (present, before) if present == before => return Ok(undone),
            (Some(ALL), Some(before)) => put(context, level, before).await?,
            (Some(ALL), None) => delete(context, level).await?,
            (present, _) => {
                let now = present.map_or_else(|| "none".to_owned(), |flags| flags.to_string());
                let drift = format!("the public access block of {level} was changed to {now}");
                undone.drift.push(drift);
                return Ok(undone);
            }
        }
        undone.restored.push(format!("the public access block of {level} is as before"));
        Ok(undone)
    }
}

fn level<'a>(
    context: ActionContext<'a>,
    parameters: &Parameters,
) -> Result<Level<'a>, ActionError> {
    let name = bucket::name(&context.resource.kind)?;
    Ok(if parameters.account { Level::Account } else { Level::Bucket(name) })
}

/// A flag that forbids public ACLs or policies to be put.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flag {
    /// Public grants in ACLs.
    BlockPublicAcls,
    /// Public policies.
    BlockPublicPolicy,
    /// The grants of public ACLs, which it takes back.
    IgnorePublicAcls,
    /// The access of others by a public policy, which it takes back.
    RestrictPublicBuckets,
}

/// Whether a flag is in effect for a bucket, by its own block or its account's.
pub(crate) async fn is_raised(
    context: ActionContext<'_>,
    bucket: &str,
    flag: Flag,
) -> Result<bool, ActionError> {
    let (own, account) =
        futures::try_join!(get(context, Level::Bucket(bucket)), get(context, Level::Account))?;
    let raised = |flags: &Flags| match flag {
        Flag::BlockPublicAcls => flags.block_public_acls,
        Flag::BlockPublicPolicy => flags.block_public_policy,
        Flag::IgnorePublicAcls => flags.ignore_public_acls,
        Flag::RestrictPublicBuckets => flags.restrict_public_buckets,
    };
    Ok([own, account].iter().flatten().any(raised))
}

/// Whether the account's own block has all four flags, which then hold for each
/// of its buckets. Where it cannot be read, it is not counted on.
async fn account_blocks_all(context: ActionContext<'_>) -> Result<bool, ActionError> {
    match get(context, Level::Account).await {
        Ok(flags) => Ok(flags == Some(ALL)),
        Err(error) if error.kind == ErrorKind::Denied => Ok(false),
        Err(error) => Err(error),
    }
}

/// The two services have types of their own with the same four fields.
macro_rules! configuration {
    ($sdk:ident, $flags:expr) => {
        $sdk::types::PublicAccessBlockConfiguration::builder()
            .block_public_acls($flags.block_public_acls)
            .ignore_public_acls($flags.ignore_public_acls)
            .block_public_policy($flags.block_public_policy)
            .restrict_public_buckets($flags.restrict_public_buckets)
            .build()
    };
}

macro_rules! flags {
    ($configuration:expr) => {
        $configuration.map(|it| Flags {
            block_public_acls: it.block_public_acls.unwrap_or(false),
            ignore_public_acls: it.ignore_public_acls.unwrap_or(false),
            block_public_policy: it.block_public_policy.unwrap_or(false),
            restrict_public_buckets: it.restrict_public_buckets.unwrap_or(false),
        })
    };
}

async fn get(context: ActionContext<'_>, level: Level<'_>) -> Result<Option<Flags>, ActionError> {
    let owner = context.account.id.as_str();
    let result = match level {
        Level::Bucket(bucket) => {
            let output = bucket::call(context.account, bucket, GET_BUCKET, |s3| {
                s3.get_public_access_block().bucket(bucket).expected_bucket_owner(owner).send()
            });
            output.await.map(|output| flags!(output.public_access_block_configuration))
        }
        Level::Account => {
            let s3control = context.account.s3control().await;
            let call = s3control.get_public_access_block().account_id(owner);
            call.send()
                .await
                .map(|output| flags!(output.public_access_block_configuration))
                .map_err(|error| from_sdk(GET_ACCOUNT, &error))
        }
    };
    match result {
        Err(error) if error.has_code("NoSuchPublicAccessBlockConfiguration") => Ok(None),
        result => result,
    }
}

async fn put(
    context: ActionContext<'_>,
    level: Level<'_>,
    flags: Flags,
) -> Result<(), ActionError> {
    let owner = context.account.id.as_str();
    match level {
        Level::Bucket(bucket) => {
            let output = bucket::call(context.account, bucket, PUT_BUCKET, |s3| {
                s3.put_public_access_block()
                    .bucket(bucket)
                    .expected_bucket_owner(owner)
                    .public_access_block_configuration(configuration!(aws_sdk_s3, flags))
                    .send()
            });
            output.await.map(|_| ())
        }
        Level::Account => {
            let s3control = context.account.s3control().await;
            let call = s3control
                .put_public_access_block()
                .account_id(owner)
                .public_access_block_configuration(configuration!(aws_sdk_s3control, flags));
            let result = call.send().await.map(|_| ());
            result.map_err(|error| account_error(from_sdk(PUT_ACCOUNT, &error)))
        }
    }
}

async fn delete(context: ActionContext<'_>, level: Level<'_>) -> Result<(), ActionError> {
    let owner = context.account.id.as_str();
    match level {
        Level::Bucket(bucket) => {
            let output = bucket::call(context.account, bucket, PUT_BUCKET, |s3| {
                s3.delete_public_access_block().bucket(bucket).expected_bucket_owner(owner).send()
            });
            output.await.map(|_| ())
        }
        Level::Account => {
            let s3control = context.account.s3control().await;
            let call = s3control.delete_public_access_block().account_id(owner);
            let result = call.send().await.map(|_| ());
            result.map_err(|error| account_error(from_sdk(PUT_ACCOUNT, &error)))
        }
    }
}

/// Where an organization policy manages the account's block, the account-level
/// call fails (S3 user guide, "Managing block public access at the organization level").
fn account_error(error: ActionError) -> ActionError {
    if error.kind != ErrorKind::Denied {
        return error;
    }
    let help = "grant the spoke role s3:PutAccountPublicAccessBlock, unless an organization policy manages the account's public access block: then change it there".to_owned();
    ActionError { help: Some(help), ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_named_as_aws_names_them() {
        let one = Flags { block_public_acls: false, ignore_public_acls: false, ..ALL };
        assert_eq!(one.to_string(), "BlockPublicPolicy, RestrictPublicBuckets");
        let none = Flags {
            block_public_acls: false,
            ignore_public_acls: false,
            block_public_policy: false,
            restrict_public_buckets: false,
        };
        assert_eq!(none.to_string(), "no flag");
    }

    #[test]
    fn absence_and_flags_read_back_as_they_were_recorded() {
        let some = Flags { block_public_acls: false, ..ALL };
        for flags in [None, Some(some)] {
            let prior = Prior { flags };
            let json = serde_json::to_value(&prior).unwrap();
            assert_eq!(serde_json::from_value::<Prior>(json).unwrap(), prior);
        }
    }

    #[test]
    fn a_denial_at_the_account_names_the_organization_policy_as_a_cause() {
        let help = |kind| account_error(ActionError::new(kind, "said")).help;
        assert!(help(ErrorKind::Denied).unwrap().contains("organization policy"));
        assert_eq!(help(ErrorKind::Transient), None);
    }
}
