//! S3: buckets and their policies.

use serde_json::json;

use super::{Before, Here, Kind, Made, Physical, Properties, not_taken};
use crate::s3::model::{Bucket, PublicAccessBlock};
use crate::state::State;

pub(super) fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "AWS::S3::Bucket" => Kind { put: bucket, delete: delete_bucket },
        "AWS::S3::BucketPolicy" => Kind { put: policy, delete: delete_policy },
        _ => return None,
    })
}

fn flag(properties: &Properties, name: &str) -> bool {
    properties.text(name).as_deref() == Some("true")
}

fn bucket(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&[
        // Every object is encrypted, and nothing shows it here.
        "BucketEncryption",
        "BucketName",
        "LifecycleConfiguration",
        "ObjectLockConfiguration",
        "ObjectLockEnabled",
        "OwnershipControls",
        "PublicAccessBlockConfiguration",
        "VersioningConfiguration",
    ])?;
    let name = here.name(state, properties.text("BucketName"), before);
    not_taken("AWS::S3::Bucket", &name, state.s3.buckets.contains_key(&name), before)?;
    let held = state.s3.buckets.get(&name).cloned();
    let mut bucket = held.unwrap_or_else(|| Bucket {
        account: here.account.to_owned(),
        region: here.region.to_owned(),
        ..Bucket::default()
    });
    if let Some(block) = properties.object("PublicAccessBlockConfiguration")? {
        block.only(&[
            "BlockPublicAcls",
            "BlockPublicPolicy",
            "IgnorePublicAcls",
            "RestrictPublicBuckets",
        ])?;
        bucket.public_access_block = Some(PublicAccessBlock {
            block_public_acls: flag(&block, "BlockPublicAcls"),
            ignore_public_acls: flag(&block, "IgnorePublicAcls"),
            block_public_policy: flag(&block, "BlockPublicPolicy"),
            restrict_public_buckets: flag(&block, "RestrictPublicBuckets"),
        });
    }
    if let Some(controls) = properties.object("OwnershipControls")? {
        controls.only(&["Rules"])?;
        let rules = controls.objects("Rules")?;
        bucket.acls_disabled = rules
            .iter()
            .any(|rule| rule.text("ObjectOwnership").as_deref() == Some("BucketOwnerEnforced"));
    }
    if let Some(versioning) = properties.object("VersioningConfiguration")? {
        versioning.only(&["Status"])?;
        bucket.versioning = versioning.text("Status");
    }
    if let Some(lifecycle) = properties.get("LifecycleConfiguration") {
        bucket.lifecycle = Some(json!({ "CloudFormation": lifecycle }));
    }
    let locks = flag(properties, "ObjectLockEnabled");
    if properties.get("ObjectLockConfiguration").is_some() && !locks {
        return Err("ObjectLockConfiguration needs ObjectLockEnabled".to_owned());
    }
    if locks && bucket.versioning.as_deref() != Some("Enabled") {
        return Err("Object Lock needs versioning".to_owned());
    }
    if locks {
        state.s3.objects.locked.insert(name.clone());
    }
    state.s3.buckets.insert(name.clone(), bucket);
    let arn = format!("arn:aws:s3:::{name}");
    Ok(Physical::new(name, [("Arn", arn)]))
}

fn delete_bucket(state: &mut State, _: Here<'_>, before: &Before<'_>) {
    state.s3.buckets.remove(&before.physical.id);
    state.s3.objects.locked.remove(&before.physical.id);
}

fn policy(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&["Bucket", "PolicyDocument"])?;
    let name = properties.required("Bucket")?;
    let document = properties.policy("PolicyDocument")?;
    let bucket = state.s3.buckets.get_mut(&name);
    let bucket = bucket.filter(|bucket| bucket.account == here.account);
    let bucket = bucket.ok_or_else(|| format!("The specified bucket does not exist: {name}"))?;
    bucket.put_policy(&name, Some(&document.to_string()));
    Ok(Physical::new(here.name(state, None, before), []))
}

fn delete_policy(state: &mut State, _: Here<'_>, before: &Before<'_>) {
    let name = before.properties.text("Bucket").unwrap_or_default();
    if let Some(bucket) = state.s3.buckets.get_mut(&name) {
        bucket.put_policy(&name, None);
    }
}
