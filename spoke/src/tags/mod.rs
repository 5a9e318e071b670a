//! Reads a resource's present tags, by kind. The finding's copy is as old as the
//! finding, and a protection by tag must hold as soon as it is set.

mod tag_resource;

use std::collections::BTreeMap;

use aws_sdk_ec2::types::Tag;

use crate::account::AccountSession;
use crate::read_cache::ReadCache;
use crate::registry::RegisteredAction;
use crate::support::ecs::container;
use crate::support::eks::cluster;
use crate::support::rds::database;
use crate::support::s3::bucket;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::{Principal, PrincipalType, Resource, ResourceKind};

/// The action that sets tags, on every kind of resource that it supports.
pub(crate) const ACTIONS: &[RegisteredAction] =
    &[RegisteredAction::of::<tag_resource::TagResource>()];

/// Every IAM action that reading tags uses.
pub const READS: &[&str] = &[
    "ec2:DescribeInstances",
    "ecs:DescribeClusters",
    "ecs:DescribeTasks",
    "eks:DescribeCluster",
    "iam:ListRoleTags",
    "iam:ListUserTags",
    "lambda:ListTags",
    "rds:DescribeDBClusters",
    "rds:DescribeDBInstances",
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
/// `Gone` when the resource does not exist any more or is terminated. An instance is
/// described for that reason: DescribeTags returns an empty list for an instance that
/// never existed, which would count as unprotected.
pub async fn current(
    account: &AccountSession,
    resource: &Resource,
    cache: &ReadCache,
) -> Result<Option<Tags>, ActionError> {
    match &resource.kind {
        ResourceKind::Instance { instance_id } => {
            instance(account, instance_id, cache).await.map(Some)
        }
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
        ResourceKind::DbInstance { identifier } => {
            let found = database::instance(account, identifier).await?;
            Ok(Some(database(found.tag_list())))
        }
        ResourceKind::DbCluster { identifier } => {
            let found = database::cluster(account, identifier).await?;
            Ok(Some(database(found.tag_list())))
        }
        ResourceKind::Function { .. } => function(account, resource).await.map(Some),
        ResourceKind::EcsCluster { cluster, task, .. } => {
            containers(account, cluster, task.as_deref()).await.map(Some)
        }
        ResourceKind::EksCluster { name, .. } => {
            let cluster = cluster::describe(account, name).await?;
            Ok(Some(cluster.tags.unwrap_or_default().into_iter().collect()))
        }
        ResourceKind::AccessKey { .. } | ResourceKind::Other { .. } => Ok(None),
    }
}

async fn instance(
    account: &AccountSession,
    instance_id: &str,
    cache: &ReadCache,
) -> Result<Tags, ActionError> {
    let instance = cache.instance(account, instance_id).await?;
    let pair =
        |tag: &Tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()));
    Ok(instance.tags().iter().filter_map(pair).collect())
}

fn database(tags: &[aws_sdk_rds::types::Tag]) -> Tags {
    let pair = |tag: &aws_sdk_rds::types::Tag| {
        Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()))
    };
    tags.iter().filter_map(pair).collect()
}

async fn function(account: &AccountSession, resource: &Resource) -> Result<Tags, ActionError> {
    let output = account.lambda().await.list_tags().resource(resource.arn()).send().await;
    let output = output.map_err(|error| from_sdk("lambda:ListTags", &error))?;
    Ok(output.tags.unwrap_or_default().into_iter().collect())
}

/// The task's tags; without a task, or if ECS does not know it any more, the cluster's:
/// a service outlives the task that the finding names.
async fn containers(
    account: &AccountSession,
    cluster: &str,
    task: Option<&str>,
) -> Result<Tags, ActionError> {
    let found = match task {
        Some(task) => match container::task(account, cluster, task).await {
            Ok(found) => found.tags,
            Err(error) if error.kind == ErrorKind::Gone => {
                container::cluster(account, cluster).await?.tags
            }
            Err(error) => return Err(error),
        },
        None => container::cluster(account, cluster).await?.tags,
    };
    let tags = found.unwrap_or_default().into_iter();
    Ok(tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect())
}

async fn user(account: &AccountSession, name: &str) -> Result<Tags, ActionError> {
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
            .map_err(|error| from_sdk("iam:ListUserTags", &error))?;
        tags.extend(page.tags().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())));
        marker = page.marker().map(str::to_owned);
        if !page.is_truncated() || marker.is_none() {
            return Ok(tags);
        }
    }
}

async fn role(account: &AccountSession, name: &str) -> Result<Tags, ActionError> {
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
            .map_err(|error| from_sdk("iam:ListRoleTags", &error))?;
        tags.extend(page.tags().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())));
        marker = page.marker().map(str::to_owned);
        if !page.is_truncated() || marker.is_none() {
            return Ok(tags);
        }
    }
}

async fn bucket(account: &AccountSession, name: &str) -> Result<Tags, ActionError> {
    let owner = account.id.as_str();
    let output = bucket::call(account, name, "s3:GetBucketTagging", |s3| {
        s3.get_bucket_tagging().bucket(name).expected_bucket_owner(owner).send()
    });
    match bucket::none_if_missing(output.await, "NoSuchTagSet")? {
        Some(tagging) => Ok(tagging
            .tag_set()
            .iter()
            .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
            .collect()),
        None => Ok(Tags::new()),
    }
}
