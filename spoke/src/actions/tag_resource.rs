//! Tags what was answered with the finding and the response. Undo restores each
//! tag's value or absence, unless somebody changed it since.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::Tag as Ec2Tag;
use aws_sdk_iam::types::Tag as IamTag;
use aws_sdk_s3::types::{Tag as S3Tag, Tagging};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::protected::refuse_protected;
use super::{About, Action, Change, Observation, Phase, Scope, Undone, Verdict};
use crate::error::{ActionError, Kind};
use crate::pace::Class;
use crate::resource::ResourceKind;
use crate::tags::{self, Tags};

pub(super) struct TagResource;

/// Which tags.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Parameters {
    /// Keys and values. Without any: `firebreak:finding` with the finding's id
    /// and `firebreak:response` with the response's.
    tags: BTreeMap<String, String>,
}

impl Parameters {
    fn wanted(&self, scope: Scope<'_>) -> Tags {
        if !self.tags.is_empty() {
            return self.tags.clone();
        }
        Tags::from([
            ("firebreak:finding".to_owned(), scope.finding.to_owned()),
            ("firebreak:response".to_owned(), scope.response.to_owned()),
        ])
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Prior {
    /// The value before of each key that is set; absence is `null`.
    before: BTreeMap<String, Option<String>>,
}

impl Action for TagResource {
    const ABOUT: About = About {
        name: "tag-resource",
        sentence: "Tags the resource with the finding and the response.",
        resource_types: &["Instance", "User", "Role", "S3Bucket"],
        reads: &[
            "ec2:DescribeTags",
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
            "s3:PutBucketTagging",
        ],
        reversible: true,
        phase: Phase::Collect,
    };
    type Parameters = Parameters;
    type Prior = Prior;

    async fn observe(
        scope: Scope<'_>,
        parameters: &Parameters,
    ) -> Result<Observation<Prior>, ActionError> {
        refuse_protected_role(scope).await?;
        let present = current(scope).await?;
        let mut before = BTreeMap::new();
        let mut changes = Vec::new();
        for (key, value) in parameters.wanted(scope) {
            let old = present.get(&key).cloned();
            if old.as_ref() != Some(&value) {
                changes.push(Change {
                    what: format!("tag {key}"),
                    before: old.clone().unwrap_or_else(|| "absent".to_owned()),
                    after: value,
                });
            }
            before.insert(key, old);
        }
        Ok(Observation { prior: Prior { before }, changes })
    }

    async fn apply(
        scope: Scope<'_>,
        parameters: &Parameters,
        _: &Prior,
    ) -> Result<(), ActionError> {
        put(scope, &parameters.wanted(scope)).await
    }

    async fn verify(
        scope: Scope<'_>,
        parameters: &Parameters,
        _: &Prior,
    ) -> Result<Verdict, ActionError> {
        let present = current(scope).await?;
        let wanted = parameters.wanted(scope);
        let missing: Vec<&str> = wanted
            .iter()
            .filter(|(key, value)| present.get(*key) != Some(*value))
            .map(|(key, _)| key.as_str())
            .collect();
        Ok(if missing.is_empty() {
            Verdict::Holds("the tags are set".to_owned())
        } else {
            Verdict::Broken(format!("the tags {} are not as set", missing.join(", ")))
        })
    }

    async fn undo(
        scope: Scope<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let mut undone = Undone::default();
        let present = match current(scope).await {
            Ok(present) => present,
            Err(error) if error.kind == Kind::Gone => {
                undone.drift.push("the resource does not exist any more".to_owned());
                return Ok(undone);
            }
            Err(error) => return Err(error),
        };
        let wanted = parameters.wanted(scope);
        let (mut restore, mut remove) = (Tags::new(), Vec::new());
        for (key, before) in &prior.before {
            let now = present.get(key);
            if now == before.as_ref() {
                continue;
            }
            if now != wanted.get(key) {
                undone.drift.push(format!("the tag `{key}` was changed since"));
                continue;
            }
            match before {
                Some(value) => {
                    restore.insert(key.clone(), value.clone());
                }
                None => remove.push(key.clone()),
            }
        }
        if !restore.is_empty() {
            put(scope, &restore).await?;
        }
        if !remove.is_empty() {
            delete(scope, &remove).await?;
        }
        let keys: Vec<String> = restore.into_keys().chain(remove).collect();
        if !keys.is_empty() {
            undone.restored.push(format!("the tags {} are as before", keys.join(", ")));
        }
        Ok(undone)
    }
}

async fn refuse_protected_role(scope: Scope<'_>) -> Result<(), ActionError> {
    let ResourceKind::Role { name } = &scope.resource.kind else { return Ok(()) };
    let iam = scope.account.iam(Class::IamRead).await;
    let answer = iam.get_role().role_name(name).send().await;
    let answer = answer.map_err(|error| ActionError::from_sdk("iam:GetRole", &error))?;
    match &answer.role {
        Some(role) => refuse_protected(&role.role_name, &role.path, scope.spoke_role),
        None => Ok(()),
    }
}

async fn current(scope: Scope<'_>) -> Result<Tags, ActionError> {
    tags::current(scope.account, scope.resource).await?.ok_or_else(not_applicable)
}

fn not_applicable() -> ActionError {
    ActionError::new(Kind::NotApplicable, "this kind of target is not tagged")
}

fn unbuilt(error: impl std::fmt::Display) -> ActionError {
    ActionError::new(Kind::Failed, format!("cannot build a tag: {error}"))
}

async fn put(scope: Scope<'_>, tags: &Tags) -> Result<(), ActionError> {
    match &scope.resource.kind {
        ResourceKind::Instance { instance_id } => {
            let tags =
                tags.iter().map(|(key, value)| Ec2Tag::builder().key(key).value(value).build());
            let ec2 = scope.account.ec2(Class::Tags).await;
            let call = ec2.create_tags().resources(instance_id).set_tags(Some(tags.collect()));
            let result = call.send().await.map(|_| ());
            result.map_err(|error| ActionError::from_sdk("ec2:CreateTags", &error))
        }
        ResourceKind::User { name } => {
            let iam = scope.account.iam(Class::IamWrite).await;
            let call = iam.tag_user().user_name(name).set_tags(Some(iam_tags(tags)?));
            let result = call.send().await.map(|_| ());
            result.map_err(|error| ActionError::from_sdk("iam:TagUser", &error))
        }
        ResourceKind::Role { name } => {
            let iam = scope.account.iam(Class::IamWrite).await;
            let call = iam.tag_role().role_name(name).set_tags(Some(iam_tags(tags)?));
            let result = call.send().await.map(|_| ());
            result.map_err(|error| ActionError::from_sdk("iam:TagRole", &error))
        }
        ResourceKind::Bucket { name } => {
            let mut all = current(scope).await?;
            all.extend(tags.clone());
            put_bucket(scope, name, &all).await
        }
        ResourceKind::AccessKey { .. } | ResourceKind::Other { .. } => Err(not_applicable()),
    }
}

async fn delete(scope: Scope<'_>, keys: &[String]) -> Result<(), ActionError> {
    match &scope.resource.kind {
        ResourceKind::Instance { instance_id } => {
            let tags = keys.iter().map(|key| Ec2Tag::builder().key(key).build()).collect();
            let ec2 = scope.account.ec2(Class::Tags).await;
            let call = ec2.delete_tags().resources(instance_id).set_tags(Some(tags));
            let result = call.send().await.map(|_| ());
            result.map_err(|error| ActionError::from_sdk("ec2:DeleteTags", &error))
        }
        ResourceKind::User { name } => {
            let iam = scope.account.iam(Class::IamWrite).await;
            let call = iam.untag_user().user_name(name).set_tag_keys(Some(keys.to_vec()));
            let result = call.send().await.map(|_| ());
            result.map_err(|error| ActionError::from_sdk("iam:UntagUser", &error))
        }
        ResourceKind::Role { name } => {
            let iam = scope.account.iam(Class::IamWrite).await;
            let call = iam.untag_role().role_name(name).set_tag_keys(Some(keys.to_vec()));
            let result = call.send().await.map(|_| ());
            result.map_err(|error| ActionError::from_sdk("iam:UntagRole", &error))
        }
        ResourceKind::Bucket { name } => {
            let mut all = current(scope).await?;
            all.retain(|key, _| !keys.contains(key));
            put_bucket(scope, name, &all).await
        }
        ResourceKind::AccessKey { .. } | ResourceKind::Other { .. } => Err(not_applicable()),
    }
}

fn iam_tags(tags: &Tags) -> Result<Vec<IamTag>, ActionError> {
    tags.iter()
        .map(|(key, value)| IamTag::builder().key(key).value(value).build().map_err(unbuilt))
        .collect()
}

/// PutBucketTagging replaces the whole set; a bucket without tags has no set.
async fn put_bucket(scope: Scope<'_>, bucket: &str, tags: &Tags) -> Result<(), ActionError> {
    let owner = scope.account.id.as_str();
    let s3 = scope.account.s3().await;
    let result = if tags.is_empty() {
        let call = s3.delete_bucket_tagging().bucket(bucket).expected_bucket_owner(owner);
        let result = call.send().await.map(|_| ());
        result.map_err(|error| ActionError::from_sdk("s3:PutBucketTagging", &error))
    } else {
        let set: Vec<S3Tag> = tags
            .iter()
            .map(|(key, value)| S3Tag::builder().key(key).value(value).build().map_err(unbuilt))
            .collect::<Result<_, _>>()?;
        let tagging = Tagging::builder().set_tag_set(Some(set)).build().map_err(unbuilt)?;
        let call =
            s3.put_bucket_tagging().bucket(bucket).expected_bucket_owner(owner).tagging(tagging);
        let result = call.send().await.map(|_| ());
        result.map_err(|error| ActionError::from_sdk("s3:PutBucketTagging", &error))
    };
    result
}
