//! Tags the target with the finding and the response. Undo restores each tag's value or
//! absence, unless it was changed since.
//!
//! Only the keys that it sets are ever written. A bucket's tags are one set that
//! is replaced as a whole, so the present set is read right before each write
//! and every other tag of it kept.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::Tag as Ec2Tag;
use aws_sdk_iam::types::Tag as IamTag;
use aws_sdk_s3::types::{Tag as S3Tag, Tagging};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Reversal, Undone, Verification,
};
use crate::grant::{Grant, GrantScope};
use crate::read_cache::ReadCache;
use crate::support::ec2::grants::INSTANCES;
use crate::support::iam::grants::{CHANGE_ROLES, CHANGE_USERS};
use crate::support::iam::protected_roles::refuse_protected;
use crate::support::s3::bucket;
use crate::support::s3::grants::CHANGE_BUCKETS;
use crate::tags::{self, Tags};
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::ResourceKind;
use firebreak_model::text::tag_value;

pub(crate) struct TagResource;

/// Which tags.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Parameters {
    /// Keys and values. Without any: `firebreak:finding` with the finding's id
    /// and `firebreak:response` with the response's.
    tags: BTreeMap<String, String>,
}

impl Parameters {
    fn wanted(&self, context: ActionContext<'_>) -> Tags {
        if !self.tags.is_empty() {
            return self.tags.clone();
        }
        Tags::from([
            ("firebreak:finding".to_owned(), tag_value(context.finding)),
            ("firebreak:response".to_owned(), context.response.to_owned()),
        ])
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    /// The value before of each key that is set; absence is `null`.
    before: BTreeMap<String, Option<String>>,
}

const TAG_INSTANCES: GrantScope = GrantScope {
    sid: "TagInstances",
    why: "Tags that policies name.",
    resources: &[INSTANCES],
    conditions: &[],
    within: None,
};

impl Action for TagResource {
    const SPEC: ActionSpec = ActionSpec {
        name: "tag-resource",
        sentence: "Tags the resource with the finding and the response.",
        resource_types: &["Instance", "User", "Role", "S3Bucket"],
        reads: &[
            "ec2:DescribeInstances",
            "iam:GetRole",
            "iam:ListRoleTags",
            "iam:ListUserTags",
            "s3:GetBucketTagging",
        ],
        writes: &[
            "ec2:CreateTags",
            "ec2:DeleteTags",
            "iam:TagRole",
            "iam:TagUser",
            "iam:UntagRole",
            "iam:UntagUser",
            PUT_BUCKET,
        ],
        reversal: Reversal::Restored,
        phase: Phase::Collect,
    };
    const GRANTS: &'static [Grant] = &[
        TAG_INSTANCES.allows(&["ec2:CreateTags", "ec2:DeleteTags"]),
        CHANGE_USERS.allows(&["iam:TagUser", "iam:UntagUser"]),
        CHANGE_ROLES.allows(&["iam:TagRole", "iam:UntagRole"]),
        CHANGE_BUCKETS.allows(&["s3:PutBucketTagging"]),
    ];
    type Parameters = Parameters;
    type Prior = Prior;

    /// "Maximum number of tags per resource: 50; key length 128, value length
    /// 256; the prefix `aws:` is reserved" (Tagging AWS resources, "Tag naming
    /// limits").
    fn check(parameters: &Parameters) -> Result<(), String> {
        let long = |text: &str, most: usize| text.chars().count() > most;
        for (key, value) in &parameters.tags {
            if key.is_empty() || long(key, 128) || key.to_ascii_lowercase().starts_with("aws:") {
                return Err(format!(
                    "the tag key `{key}` must have 1 to 128 characters and not begin with `aws:`"
                ));
            }
            if long(value, 256) {
                return Err(format!("the value of the tag `{key}` has more than 256 characters"));
            }
        }
        if parameters.tags.len() > 50 {
            return Err("a resource has 50 tags at most".to_owned());
        }
        Ok(())
    }

    async fn capture(
        context: ActionContext<'_>,
        parameters: &Parameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        taggable(&context.resource.kind)?;
        let (permitted, present) =
            futures::join!(refuse_protected_role(context), read(context, context.cache));
        permitted?;
        Ok(compare(&present?, &parameters.wanted(context)))
    }

    async fn apply(
        context: ActionContext<'_>,
        parameters: &Parameters,
        _: &Prior,
    ) -> Result<(), ActionError> {
        put(context, &parameters.wanted(context)).await
    }

    async fn verify(
        context: ActionContext<'_>,
        parameters: &Parameters,
        _: &Prior,
    ) -> Result<Verification, ActionError> {
        let present = current(context).await?;
        let wanted = parameters.wanted(context);
        let missing: Vec<&str> = wanted
            .iter()
            .filter(|(key, value)| present.get(*key) != Some(*value))
            .map(|(key, _)| key.as_str())
            .collect();
        Ok(if missing.is_empty() {
            Verification::InEffect("the tags are set".to_owned())
        } else {
            Verification::NotInEffect(format!("the tags {} are not as set", missing.join(", ")))
        })
    }

    async fn undo(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let mut undone = Undone::default();
        let present = match current(context).await {
            Ok(present) => present,
            Err(error) if error.kind == ErrorKind::Gone => {
                undone.drift.push("the resource does not exist any more".to_owned());
                return Ok(undone);
            }
            Err(error) => return Err(error),
        };
        let PutBack { restore, remove, drift } =
            reverse(&present, &parameters.wanted(context), prior);
        if !restore.is_empty() {
            put(context, &restore).await?;
        }
        if !remove.is_empty() {
            delete(context, &remove).await?;
        }
        let drift = drift.into_iter().map(|key| format!("the tag `{key}` was changed since"));
        undone.drift.extend(drift);
        let keys: Vec<String> = restore.into_keys().chain(remove.into_keys()).collect();
        if !keys.is_empty() {
            undone.restored.push(format!("the tags {} are as before", keys.join(", ")));
        }
        Ok(undone)
    }
}

/// The value before of each wanted key, and what setting it changes.
fn compare(present: &Tags, wanted: &Tags) -> CapturedState<Prior> {
    let before = wanted.keys().map(|key| (key.clone(), present.get(key).cloned())).collect();
    let changes = wanted
        .iter()
        .filter(|(key, value)| present.get(*key) != Some(*value))
        .map(|(key, value)| Change {
            what: format!("tag {key}"),
            before: present.get(key).cloned().unwrap_or_else(|| "absent".to_owned()),
            after: value.clone(),
        })
        .collect();
    CapturedState { prior: Prior { before }, changes }
}

/// The work of undo: values to restore, tags to remove, and keys that others changed
/// since, which are drift.
#[derive(Debug, Default, PartialEq)]
struct PutBack {
    restore: Tags,
    /// With the value that the action set.
    remove: Tags,
    drift: Vec<String>,
}

fn reverse(present: &Tags, wanted: &Tags, prior: &Prior) -> PutBack {
    let mut reversal = PutBack::default();
    for (key, before) in &prior.before {
        let now = present.get(key);
        if now == before.as_ref() {
            continue;
        }
        match (now, before) {
            (Some(now), Some(before)) if wanted.get(key) == Some(now) => {
                reversal.restore.insert(key.clone(), before.clone());
            }
            (Some(now), None) if wanted.get(key) == Some(now) => {
                reversal.remove.insert(key.clone(), now.clone());
            }
            (Some(_) | None, _) => reversal.drift.push(key.clone()),
        }
    }
    reversal
}

/// A resource that can be tagged.
enum Taggable<'a> {
    Instance(&'a str),
    User(&'a str),
    Role(&'a str),
    Bucket(&'a str),
}

/// Credentials are distinguished from their user or role: a policy that wants the
/// principal tagged names the principal.
fn taggable(kind: &ResourceKind) -> Result<Taggable<'_>, ActionError> {
    if let ResourceKind::Instance { instance_id } = kind {
        Ok(Taggable::Instance(instance_id))
    } else if let ResourceKind::User { name } = kind {
        Ok(Taggable::User(name))
    } else if let ResourceKind::Role { name } = kind {
        Ok(Taggable::Role(name))
    } else if let ResourceKind::Bucket { name } = kind {
        Ok(Taggable::Bucket(name))
    } else {
        Err(not_applicable())
    }
}

async fn refuse_protected_role(context: ActionContext<'_>) -> Result<(), ActionError> {
    let ResourceKind::Role { name } = &context.resource.kind else { return Ok(()) };
    let iam = context.account.iam(Class::IamRead).await;
    let output = iam.get_role().role_name(name).send().await;
    let output = output.map_err(|error| from_sdk("iam:GetRole", &error))?;
    match &output.role {
        Some(role) => refuse_protected(&role.role_name, &role.path, context.spoke_role),
        None => Ok(()),
    }
}

/// The tags as they are at this moment.
async fn current(context: ActionContext<'_>) -> Result<Tags, ActionError> {
    read(context, &ReadCache::default()).await
}

async fn read(context: ActionContext<'_>, cache: &ReadCache) -> Result<Tags, ActionError> {
    tags::current(context.account, context.resource, cache).await?.ok_or_else(not_applicable)
}

fn not_applicable() -> ActionError {
    ActionError::new(ErrorKind::NotApplicable, "this kind of target is not tagged")
}

fn unbuilt(error: impl std::fmt::Display) -> ActionError {
    ActionError::new(ErrorKind::Failed, format!("cannot build a tag: {error}"))
}

async fn put(context: ActionContext<'_>, tags: &Tags) -> Result<(), ActionError> {
    match taggable(&context.resource.kind)? {
        Taggable::Instance(instance_id) => {
            let tags =
                tags.iter().map(|(key, value)| Ec2Tag::builder().key(key).value(value).build());
            let ec2 = context.account.ec2(Class::Tags).await;
            let call = ec2.create_tags().resources(instance_id).set_tags(Some(tags.collect()));
            let result = call.send().await.map(|_| ());
            result.map_err(|error| from_sdk("ec2:CreateTags", &error))
        }
        Taggable::User(name) => {
            let iam = context.account.iam(Class::IamWrite).await;
            let call = iam.tag_user().user_name(name).set_tags(Some(iam_tags(tags)?));
            let result = call.send().await.map(|_| ());
            result.map_err(|error| from_sdk("iam:TagUser", &error))
        }
        Taggable::Role(name) => {
            let iam = context.account.iam(Class::IamWrite).await;
            let call = iam.tag_role().role_name(name).set_tags(Some(iam_tags(tags)?));
            let result = call.send().await.map(|_| ());
            result.map_err(|error| from_sdk("iam:TagRole", &error))
        }
        Taggable::Bucket(name) => {
            let mut all = current(context).await?;
            all.extend(tags.clone());
            put_bucket(context, name, &all).await
        }
    }
}

async fn delete(context: ActionContext<'_>, remove: &Tags) -> Result<(), ActionError> {
    let keys = || remove.keys().cloned().collect();
    match taggable(&context.resource.kind)? {
        Taggable::Instance(instance_id) => {
            // With the value, so that EC2 does not delete one that was just changed
            // (EC2 API reference, DeleteTags).
            let tags =
                remove.iter().map(|(key, value)| Ec2Tag::builder().key(key).value(value).build());
            let ec2 = context.account.ec2(Class::Tags).await;
            let call = ec2.delete_tags().resources(instance_id).set_tags(Some(tags.collect()));
            let result = call.send().await.map(|_| ());
            result.map_err(|error| from_sdk("ec2:DeleteTags", &error))
        }
        Taggable::User(name) => {
            let iam = context.account.iam(Class::IamWrite).await;
            let call = iam.untag_user().user_name(name).set_tag_keys(Some(keys()));
            let result = call.send().await.map(|_| ());
            result.map_err(|error| from_sdk("iam:UntagUser", &error))
        }
        Taggable::Role(name) => {
            let iam = context.account.iam(Class::IamWrite).await;
            let call = iam.untag_role().role_name(name).set_tag_keys(Some(keys()));
            let result = call.send().await.map(|_| ());
            result.map_err(|error| from_sdk("iam:UntagRole", &error))
        }
        Taggable::Bucket(name) => {
            let mut all = current(context).await?;
            all.retain(|key, _| !remove.contains_key(key));
            put_bucket(context, name, &all).await
        }
    }
}

fn iam_tags(tags: &Tags) -> Result<Vec<IamTag>, ActionError> {
    tags.iter()
        .map(|(key, value)| IamTag::builder().key(key).value(value).build().map_err(unbuilt))
        .collect()
}

/// PutBucketTagging replaces the whole set; a bucket without tags has no set.
async fn put_bucket(
    context: ActionContext<'_>,
    name: &str,
    tags: &Tags,
) -> Result<(), ActionError> {
    let owner = context.account.id.as_str();
    if tags.is_empty() {
        let output = bucket::call(context.account, name, PUT_BUCKET, |s3| {
            s3.delete_bucket_tagging().bucket(name).expected_bucket_owner(owner).send()
        });
        return output.await.map(|_| ());
    }
    let set: Vec<S3Tag> = tags
        .iter()
        .map(|(key, value)| S3Tag::builder().key(key).value(value).build().map_err(unbuilt))
        .collect::<Result<_, _>>()?;
    let tagging = Tagging::builder().set_tag_set(Some(set)).build().map_err(unbuilt)?;
    let output = bucket::call(context.account, name, PUT_BUCKET, |s3| {
        let call = s3.put_bucket_tagging().bucket(name).expected_bucket_owner(owner);
        call.tagging(tagging.clone()).send()
    });
    output.await.map(|_| ())
}

/// The permission to put is the one to delete as well.
const PUT_BUCKET: &str = "s3:PutBucketTagging";

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_plan_names_only_the_tags_that_change() {
        let present = tags(&[("a", "1"), ("b", "1"), ("other", "x")]);
        let CapturedState { prior, changes } =
            compare(&present, &tags(&[("a", "1"), ("b", "2"), ("c", "3")]));
        let read =
            |change: &Change| format!("{}: {} -> {}", change.what, change.before, change.after);
        let changes: Vec<String> = changes.iter().map(read).collect();
        assert_eq!(changes, ["tag b: 1 -> 2", "tag c: absent -> 3"]);
        let json = serde_json::to_value(&prior).unwrap();
        assert_eq!(json, serde_json::json!({ "before": { "a": "1", "b": "1", "c": null } }));
        assert_eq!(serde_json::from_value::<Prior>(json).unwrap(), prior);
    }

    #[test]
    fn undo_restores_values_and_absence_and_leaves_later_changes() {
        let wanted = tags(&[("value", "new"), ("absent", "new"), ("same", "s")]);
        let before = tags(&[("value", "old"), ("same", "s")]);
        let prior = compare(&before, &wanted).prior;
        let check = |present: &[(&str, &str)],
                     restore: &[(&str, &str)],
                     remove: &[(&str, &str)],
                     drift: &[&str]| {
            let drift = drift.iter().map(|&key| key.to_owned()).collect();
            let expected = PutBack { restore: tags(restore), remove: tags(remove), drift };
            assert_eq!(reverse(&tags(present), &wanted, &prior), expected, "{present:?}");
        };
        let same = ("same", "s");
        // After apply.
        check(
            &[("value", "new"), ("absent", "new"), same],
            &[("value", "old")],
            &[("absent", "new")],
            &[],
        );
        // Before apply, or after another undo.
        check(&[("value", "old"), same], &[], &[], &[]);
        // Stopped half way.
        check(&[("value", "old"), ("absent", "new"), same], &[], &[("absent", "new")], &[]);
        // One was changed and the other removed.
        check(&[("value", "theirs"), same], &[], &[], &["value"]);
        check(&[("absent", "theirs"), ("value", "old"), same], &[], &[], &["absent"]);
        check(&[("value", "old")], &[], &[], &["same"]);
    }
}
