//! The actions on buckets.

use aws_sdk_s3::types::{
    BucketCannedAcl, BucketLifecycleConfiguration, BucketVersioningStatus, DeleteMarkerReplication,
    DeleteMarkerReplicationStatus, Destination, ExpirationStatus, LifecycleExpiration,
    LifecycleRule, LifecycleRuleFilter, NoncurrentVersionExpiration, ReplicationConfiguration,
    ReplicationRule, ReplicationRuleFilter, ReplicationRuleStatus, VersioningConfiguration,
};
use firebreak_model::resource::ResourceKind;
use serde_json::{Value, json};

use super::Pair;
use crate::conformance::backend::{ACCOUNT, Backend};

async fn bucket(backend: &Backend, name: &str) -> ResourceKind {
    backend.bucket(name).await;
    ResourceKind::Bucket { name: name.to_owned() }
}

/// With a policy of one statement that is no list.
async fn with_policy(backend: &Backend, name: &str) -> ResourceKind {
    let kind = bucket(backend, name).await;
    let policy = json!({ "Version": "2012-10-17", "Statement": {
        "Sid": "Theirs", "Effect": "Allow", "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
        "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{name}/*"),
    }});
    let call = backend.s3().put_bucket_policy().bucket(name).policy(policy.to_string());
    call.send().await.unwrap();
    kind
}

/// Readable by everyone.
async fn public(backend: &Backend, name: &str) -> ResourceKind {
    let kind = bucket(backend, name).await;
    if let Some(organization) = backend.simulated() {
        organization.edit(|state| {
            state.s3.buckets.get_mut(name).unwrap().public_acl = true;
        });
    } else {
        let call = backend.s3().put_bucket_acl().bucket(name);
        call.acl(BucketCannedAcl::PublicRead).send().await.unwrap();
    }
    kind
}

async fn version(backend: &Backend, name: &str) {
    let enabled =
        VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let call = backend.s3().put_bucket_versioning().bucket(name);
    call.versioning_configuration(enabled).send().await.unwrap();
}

/// With two rules, of which one is disabled.
async fn replicated(backend: &Backend, name: &str) -> ResourceKind {
    let (kind, copy) = (bucket(backend, name).await, format!("{name}-copy"));
    backend.bucket(&copy).await;
    version(backend, name).await;
    version(backend, &copy).await;
    backend.role("replicate").await;
    let rule = |id: &str, priority: i32, status: ReplicationRuleStatus| {
        let destination = Destination::builder().bucket(format!("arn:aws:s3:::{copy}"));
        let markers = DeleteMarkerReplication::builder();
        ReplicationRule::builder()
            .id(id)
            .priority(priority)
            .status(status)
            .filter(ReplicationRuleFilter::builder().prefix("logs/").build())
            .delete_marker_replication(
                markers.status(DeleteMarkerReplicationStatus::Disabled).build(),
            )
            .destination(destination.build().unwrap())
            .build()
            .unwrap()
    };
    let configuration = ReplicationConfiguration::builder()
        .role(format!("arn:aws:iam::{ACCOUNT}:role/replicate"))
        .rules(rule("logs", 1, ReplicationRuleStatus::Enabled))
        .rules(rule("old", 2, ReplicationRuleStatus::Disabled))
        .build()
        .unwrap();
    let call = backend.s3().put_bucket_replication().bucket(name);
    call.replication_configuration(configuration).send().await.unwrap();
    kind
}

/// With two rules that delete, of which one is disabled.
async fn expiring(backend: &Backend, name: &str) -> ResourceKind {
    let kind = bucket(backend, name).await;
    let rule = |id: &str, status: ExpirationStatus| {
        LifecycleRule::builder()
            .id(id)
            .status(status)
            .filter(LifecycleRuleFilter::builder().prefix(format!("{id}/")).build())
    };
    let expiration = LifecycleExpiration::builder().days(30).build();
    let versions = NoncurrentVersionExpiration::builder().noncurrent_days(7).build();
    let current = rule("current", ExpirationStatus::Enabled).expiration(expiration);
    let old = rule("old", ExpirationStatus::Disabled).noncurrent_version_expiration(versions);
    let configuration = BucketLifecycleConfiguration::builder()
        .rules(current.build().unwrap())
        .rules(old.build().unwrap())
        .build()
        .unwrap();
    let call = backend.s3().put_bucket_lifecycle_configuration().bucket(name);
    call.lifecycle_configuration(configuration).send().await.unwrap();
    kind
}

/// The simulation evaluates the policy, so this run's own caller is excepted;
/// Firebreak itself is by its role.
fn restricted() -> Value {
    json!({ "except": [format!("arn:aws:iam::{ACCOUNT}:user/caller")] })
}

pub(super) async fn pairs(backend: &Backend) -> Vec<Pair> {
    let without = bucket(backend, "actions-restrict").await;
    let with = with_policy(backend, "actions-restrict-more").await;
    vec![
        Pair::new("block-public-access", "a bucket", bucket(backend, "actions-block").await),
        Pair::new("block-public-access", "an account", bucket(backend, "actions-account").await)
            .with(json!({ "account": true })),
        Pair::new("tag-resource", "a bucket", bucket(backend, "actions-tag").await),
        Pair::new("restrict-bucket-policy", "a bucket without one", without).with(restricted()),
        Pair::new("restrict-bucket-policy", "a bucket with one", with).with(restricted()),
        Pair::new("private-acl", "a public bucket", public(backend, "actions-acl").await),
        Pair::new("enable-versioning", "a bucket", bucket(backend, "actions-versions").await),
        Pair::new(
            "suspend-replication",
            "a bucket",
            replicated(backend, "actions-replicated").await,
        ),
        Pair::new("suspend-lifecycle", "a bucket", expiring(backend, "actions-expiring").await),
    ]
}
