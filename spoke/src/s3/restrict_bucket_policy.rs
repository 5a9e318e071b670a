//! Denies access to a bucket to all but a few principals, by one statement in its
//! policy whose Sid names the response. Undo removes the statement with that Sid, also
//! if somebody changed its exceptions, but not if it no longer denies. Where nobody changed
//! the rest, it restores the former text, or deletes the policy if there was none.
//!
//! An explicit deny in a bucket's policy overrides every allow, of the account's
//! own principals too, and of requests without a signature, which have no
//! `aws:PrincipalArn` for the negated condition to except (S3 user guide,
//! "Bucket policies"; IAM user guide, "Condition operators"). It also denies AWS
//! services that write to the bucket, such as log deliveries. The spoke role and the
//! account's root user are always excepted, so that the statement can be removed
//! again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::account::AccountSession;
use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Reversal, Undone, Verification,
};
use crate::grant::Grant;
use crate::s3::block_public_access::{self, Flag};
use crate::support::s3::bucket;
use crate::support::s3::grants::CHANGE_BUCKETS;
use crate::support::s3::policy_document::{
    deleted_principals, same_policy, same_statement, statements, with_statements,
    without_deleted_principals,
};
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct RestrictBucketPolicy;

/// Who keeps access.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Parameters {
    /// The ARNs of users and roles that keep the access they have. For a role's
    /// sessions it is the role's ARN, with its path.
    except: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    /// The policy's text; `None` where there was none, which undo restores as such.
    text: Option<String>,
}

/// "Bucket policies are limited to 20 KB in size" (S3 user guide, "Bucket
/// policies").
const LIMIT: usize = 20 * 1024;

impl Action for RestrictBucketPolicy {
    const SPEC: ActionSpec = ActionSpec {
        name: "restrict-bucket-policy",
        sentence: "Denies access to the bucket to everyone except listed principals, by a statement in its policy.",
        resource_types: &["S3Bucket"],
        reads: &[
            "s3:GetAccountPublicAccessBlock",
            "s3:GetBucketPolicy",
            "s3:GetBucketPolicyStatus",
            "s3:GetBucketPublicAccessBlock",
        ],
        writes: &["s3:DeleteBucketPolicy", "s3:PutBucketPolicy"],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[CHANGE_BUCKETS.allows(Self::SPEC.writes)];
    type Parameters = Parameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        parameters: &Parameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        let text = get(context.account, name).await?;
        // Fails now if it would not fit.
        with(context, name, parameters, text.as_deref())?;
        if text.is_some()
            && bucket::policy_is_public(context.account, name).await?
            && block_public_access::is_raised(context, name, Flag::BlockPublicPolicy).await?
        {
            let message = format!(
                "refused to change the policy of `{name}`: it is public, and BlockPublicPolicy forbids writing it, with one more statement or unchanged"
            );
            let help = "use block-public-access, whose RestrictPublicBuckets makes the policy's public grants ineffective".to_owned();
            let help = Some(help);
            return Err(ActionError { help, ..ActionError::new(ErrorKind::Refused, message) });
        }
        let excepted = excepted(context, parameters);
        let mut changes = vec![Change {
            what: format!("policy of bucket {name}"),
            before: text.as_ref().map_or_else(|| "none".to_owned(), |_| "as it is".to_owned()),
            after: format!("also denies everybody everything but {}", excepted.join(", ")),
        }];
        let deleted = deleted_principals(&parse(text.as_deref()));
        if !deleted.is_empty() {
            changes.push(Change {
                what: format!(
                    "principals in the policy of bucket {name} that do not exist any more"
                ),
                before: deleted.join(", "),
                after: "left out, because S3 takes no policy that names them".to_owned(),
            });
        }
        Ok(CapturedState { prior: Prior { text }, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        parameters: &Parameters,
        _: &Prior,
    ) -> Result<(), ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        // Into the present policy, so that nothing is lost that others added since
        // the plan was made.
        let present = get(context.account, name).await?;
        if has(present.as_deref(), &statement(context, name, parameters)) {
            return Ok(());
        }
        let text = with(context, name, parameters, present.as_deref())?;
        put(context.account, name, &text).await.map(|_| ())
    }

    async fn verify(
        context: ActionContext<'_>,
        parameters: &Parameters,
        _: &Prior,
    ) -> Result<Verification, ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        let present = get(context.account, name).await?;
        Ok(if has(present.as_deref(), &statement(context, name, parameters)) {
            Verification::InEffect(format!(
                "the policy of `{name}` denies everyone except the exempted principals"
            ))
        } else {
            Verification::NotInEffect(format!(
                "the policy of `{name}` lacks the statement that denies"
            ))
        })
    }

    async fn undo(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        let present = match get(context.account, name).await {
            Ok(present) => present,
            Err(error) => return bucket::undo_if_gone(error, name),
        };
        let mut undone = Undone::default();
        let own = statement(context, name, parameters);
        match without(present.as_deref(), &own, prior.text.as_deref()) {
            Without::Nothing => {}
            Without::Changed => undone.drift.push(format!(
                "the statement `{}` in the policy of `{name}` was changed since",
                sid(context.response)
            )),
            Without::Put(text) => {
                let mut left_out = put(context.account, name, &text).await?;
                left_out.extend(deleted_principals(&parse(prior.text.as_deref())));
                left_out.sort();
                left_out.dedup();
                let restored = format!("the policy of {name} is without the deny again");
                undone.restored.push(if left_out.is_empty() {
                    restored
                } else {
                    let ids = left_out.join(", ");
                    format!(
                        "{restored}; it does not name {ids} any more, which S3 refuses because they were deleted"
                    )
                });
            }
            Without::Delete => {
                delete(context.account, name).await?;
                undone.restored.push(format!("the bucket {name} has no policy again"));
            }
        }
        Ok(undone)
    }
}

/// Letters and digits only (IAM user guide, "IAM JSON policy elements: Sid").
fn sid(response: &str) -> String {
    let plain: String = response.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("FirebreakRestrict{plain}")
}

fn excepted(context: ActionContext<'_>, parameters: &Parameters) -> Vec<String> {
    let AccountSession { partition, id, .. } = context.account;
    let role = context.spoke_role.trim_start_matches('/');
    let mut arns = vec![
        format!("arn:{partition}:iam::{id}:root"),
        format!("arn:{partition}:iam::{id}:role/{role}"),
    ];
    arns.extend(parameters.except.iter().cloned());
    arns
}

fn statement(context: ActionContext<'_>, name: &str, parameters: &Parameters) -> Value {
    let bucket = format!("arn:{}:s3:::{name}", context.account.partition);
    let objects = format!("{bucket}/*");
    json!({
        "Sid": sid(context.response),
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket, objects],
        "Condition": { "ArnNotEquals": { "aws:PrincipalArn": excepted(context, parameters) } },
    })
}

fn parse(text: Option<&str>) -> Value {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null)
}

fn has(text: Option<&str>, own: &Value) -> bool {
    statements(&parse(text)).iter().any(|statement| same_statement(statement, own))
}

/// The policy with the statement, in place of one that bears its Sid.
fn with(
    context: ActionContext<'_>,
    name: &str,
    parameters: &Parameters,
    text: Option<&str>,
) -> Result<String, ActionError> {
    let own = statement(context, name, parameters);
    let policy = match text {
        None => json!({ "Version": "2012-10-17" }),
        Some(text) => serde_json::from_str(text).map_err(|error| {
            ActionError::new(
                ErrorKind::Failed,
                format!("the policy of `{name}` is unreadable: {error}"),
            )
        })?,
    };
    let mut all = statements(&policy);
    all.retain(|statement| statement.get("Sid") != own.get("Sid"));
    all.push(own);
    let text = with_statements(policy, all).to_string();
    if text.len() <= LIMIT {
        return Ok(text);
    }
    let message = format!(
        "cannot restrict the policy of `{name}`: with the statement it has {} bytes, and S3 takes {LIMIT}",
        text.len()
    );
    let help = "shorten the policy, or except fewer principals".to_owned();
    Err(ActionError { help: Some(help), ..ActionError::new(ErrorKind::Failed, message) })
}

/// What undo has to do with the present policy.
#[derive(Debug, PartialEq)]
enum Without {
    Nothing,
    Changed,
    Put(String),
    Delete,
}

/// Whether a statement with our Sid still denies everything. Its exceptions may differ.
fn is_our_deny(statement: &Value, own: &Value) -> bool {
    ["Effect", "Action"].iter().all(|element| {
        let of = |it: &Value| it.get(element).cloned().unwrap_or_default();
        same_statement(&of(statement), &of(own))
    })
}

fn without(present: Option<&str>, own: &Value, prior: Option<&str>) -> Without {
    let policy = parse(present);
    let (ours, rest): (Vec<Value>, Vec<Value>) =
        statements(&policy).into_iter().partition(|it| it.get("Sid") == own.get("Sid"));
    match ours.as_slice() {
        [] => return Without::Nothing,
        ours if !ours.iter().all(|it| is_our_deny(it, own)) => return Without::Changed,
        _ => {}
    }
    if rest.is_empty() {
        return Without::Delete;
    }
    let policy = with_statements(policy, rest);
    match prior {
        Some(text) if same_policy(&policy, &parse(prior)) => Without::Put(text.to_owned()),
        Some(_) | None => Without::Put(policy.to_string()),
    }
}

async fn get(account: &AccountSession, name: &str) -> Result<Option<String>, ActionError> {
    let owner = account.id.as_str();
    let output = bucket::call(account, name, "s3:GetBucketPolicy", |s3| {
        s3.get_bucket_policy().bucket(name).expected_bucket_owner(owner).send()
    });
    bucket::none_if_missing(output.await, "NoSuchBucketPolicy")
        .map(|output| output.and_then(|output| output.policy))
}

/// Puts a policy; where S3 refuses it because it names principals that were deleted, without
/// these. Returns which were left out.
async fn put(account: &AccountSession, name: &str, text: &str) -> Result<Vec<String>, ActionError> {
    let error = match put_text(account, name, text).await {
        Ok(()) => return Ok(Vec::new()),
        Err(error) => error,
    };
    let policy = parse(Some(text));
    let deleted = deleted_principals(&policy);
    if !error.has_code("MalformedPolicy") || deleted.is_empty() {
        return Err(error);
    }
    let policy = without_deleted_principals(&policy);
    if statements(&policy).is_empty() {
        delete(account, name).await?;
    } else {
        put_text(account, name, &policy.to_string()).await?;
    }
    Ok(deleted)
}

async fn put_text(account: &AccountSession, name: &str, text: &str) -> Result<(), ActionError> {
    let owner = account.id.as_str();
    let output = bucket::call(account, name, "s3:PutBucketPolicy", |s3| {
        let call = s3.put_bucket_policy().bucket(name).expected_bucket_owner(owner);
        call.policy(text).send()
    });
    output.await.map(|_| ())
}

async fn delete(account: &AccountSession, name: &str) -> Result<(), ActionError> {
    let owner = account.id.as_str();
    let output = bucket::call(account, name, "s3:DeleteBucketPolicy", |s3| {
        s3.delete_bucket_policy().bucket(name).expected_bucket_owner(owner).send()
    });
    output.await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(sids: &[&str]) -> String {
        let statements: Vec<Value> = sids.iter().map(|sid| json!({ "Sid": sid })).collect();
        json!({ "Version": "2008-10-17", "Statement": statements }).to_string()
    }

    #[test]
    fn undo_removes_only_its_own_statement() {
        let own = json!({ "Sid": "own" });
        let check = |present: Option<&str>, prior: Option<&str>, expected: Without| {
            assert_eq!(without(present, &own, prior), expected, "{present:?} {prior:?}");
        };
        let (theirs, both) = (policy(&["theirs"]), policy(&["theirs", "own"]));
        check(None, None, Without::Nothing);
        check(Some(&theirs), Some(&theirs), Without::Nothing);
        check(Some(&policy(&["own"])), None, Without::Delete);
        // The very text that was there, white space and all.
        let spaced = theirs.replace(',', ", ");
        check(Some(&both), Some(&spaced), Without::Put(spaced.clone()));
        // A statement was added since.
        let more = policy(&["more", "own"]);
        check(Some(&more), None, Without::Put(policy(&["more"])));
        let changed = json!({ "Statement": { "Sid": "own", "Effect": "Allow" } }).to_string();
        check(Some(&changed), None, Without::Changed);
    }

    #[test]
    fn a_sid_has_letters_and_digits_only() {
        assert_eq!(sid("r-0001"), "FirebreakRestrictr0001");
    }
}
