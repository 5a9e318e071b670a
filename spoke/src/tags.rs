//! A resource's present tags. The finding's copy is as old as the finding, and
//! protection by tag must hold from the moment that somebody sets it.

use std::collections::BTreeMap;

use crate::account::Account;
use crate::error::ActionError;
use crate::pace::Class;
use crate::resource::{Principal, PrincipalType, Resource, ResourceKind};
use crate::{bucket, cluster, instance};

/// Every IAM action that reading tags uses.
pub const READS: &[&str] = &[
    "ec2:DescribeInstances",
    "eks:DescribeCluster",
    "iam:ListRoleTags",
    "iam:ListUserTags",
    "s3:GetBucketTagging",
];

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// Reads the tags of a resource; for credentials those of the user or role
/// behind them. `None` for a kind whose tags Firebreak cannot read: a policy
/// that depends on them then refuses.
///
/// # Errors
///
/// `Gone` when the resource does not exist any more or is terminated. That is
/// why an instance is described: DescribeTags answers an empty list for one
/// that never was, which reads like an instance that nobody protects.
pub async fn current(account: &Account, resource: &Resource) -> Result<Option<Tags>, ActionError> {
    match &resource.kind {
        ResourceKind::Instance { instance_id } => instance(account, instance_id).await.map(Some),
        ResourceKind::AccessKey { principal: Principal { kind, name: Some(name), .. }, .. } => {
            match kind {
                PrincipalType::IamUser => user(account, name).await.map(Some),
                PrincipalType::AssumedRole | PrincipalType::Role => {
                    role(account, name).await.map(Some)
                }
                PrincipalType::FederatedUser
                | PrincipalType::Root
                | PrincipalType::IdentityCenterUser
                | PrincipalType::AwsAccount
                | PrincipalType::AwsService
                | PrincipalType::Other(_) => Ok(None),
            }
        }
        ResourceKind::User { name } => user(account, name).await.map(Some),
        ResourceKind::Role { name } => role(account, name).await.map(Some),
        ResourceKind::Bucket { name } => bucket(account, name).await.map(Some),
        ResourceKind::EksCluster { name, .. } => {
            let cluster = cluster::describe(account, name).await?;
            Ok(Some(cluster.tags.unwrap_or_default().into_iter().collect()))
        }
        ResourceKind::AccessKey { .. }
        | ResourceKind::DbInstance { .. }
        | ResourceKind::DbCluster { .. }
        | ResourceKind::Function { .. }
        | ResourceKind::EcsCluster { .. }
        | ResourceKind::Other { .. } => Ok(None),
    }
}

async fn instance(account: &Account, instance_id: &str) -> Result<Tags, ActionError> {
    let instance = instance::describe(account, instance_id).await?;
    let tags = instance.tags.unwrap_or_default().into_iter();
    Ok(tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect())
}

async fn user(account: &Account, name: &str) -> Result<Tags, ActionError> {
    let mut tags = Tags::new();
    let mut marker = None;
    loop {
        let page = account
            .iam(Class::IamRead)
            .await
            .list_user_tags()
            .user_name(name)
            .set_marker(marker)
            .send()
            .await
            .map_err(|error| ActionError::from_sdk("iam:ListUserTags", &error))?;
        tags.extend(page.tags().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())));
        marker = page.marker().map(str::to_owned);
        if !page.is_truncated() || marker.is_none() {
            return Ok(tags);
        }
    }
}

async fn role(account: &Account, name: &str) -> Result<Tags, ActionError> {
    let mut tags = Tags::new();
    let mut marker = None;
    loop {
        let page = account
            .iam(Class::IamRead)
            .await
            .list_role_tags()
            .role_name(name)
            .set_marker(marker)
            .send()
            .await
            .map_err(|error| ActionError::from_sdk("iam:ListRoleTags", &error))?;
        tags.extend(page.tags().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())));
        marker = page.marker().map(str::to_owned);
        if !page.is_truncated() || marker.is_none() {
            return Ok(tags);
        }
    }
}

async fn bucket(account: &Account, name: &str) -> Result<Tags, ActionError> {
    let answer = account
        .s3()
        .await
        .get_bucket_tagging()
        .bucket(name)
        .expected_bucket_owner(account.id.as_str())
        .send()
        .await
        .map_err(|error| bucket::error("s3:GetBucketTagging", &error, account, name));
    match answer {
        Ok(tagging) => Ok(tagging
            .tag_set()
            .iter()
            .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
            .collect()),
        Err(error) if error.has_code("NoSuchTagSet") => Ok(Tags::new()),
        Err(error) => Err(error),
    }
}
