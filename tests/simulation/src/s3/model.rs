//! What S3 holds: buckets, whose names are one space for all accounts, and
//! each account's own public access block.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use crate::policy::{self, Context, NotModelled, Question, Verdict};

use super::objects::Objects;

/// The four flags of a public access block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "AWS's own four flags")]
pub struct PublicAccessBlock {
    /// `BlockPublicAcls`.
    pub block_public_acls: bool,
    /// `IgnorePublicAcls`.
    pub ignore_public_acls: bool,
    /// `BlockPublicPolicy`.
    pub block_public_policy: bool,
    /// `RestrictPublicBuckets`.
    pub restrict_public_buckets: bool,
}

/// A bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Bucket {
    /// Its owner.
    pub account: String,
    /// Its Region.
    pub region: String,
    /// Its own public access block.
    pub public_access_block: Option<PublicAccessBlock>,
    /// Its tags; none at all is another state than an empty set.
    pub tags: Option<BTreeMap<String, String>>,
    /// Whether its ACL grants reading to everyone.
    pub public_acl: bool,
    /// The keys of objects with an ACL of their own that lets everyone read them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub public_objects: BTreeSet<String>,
    /// Whether its policy grants reading to everyone.
    pub public_policy: bool,
    /// Its policy, where it is another than one statement that grants reading
    /// to everyone, as it was put.
    pub policy: Option<String>,
    /// Its ACL without the grant of reading to everyone, as it was put; none
    /// for the one that a bucket begins with, full control by its owner.
    pub grants: Option<Vec<Grant>>,
    /// Whether object ownership is `BucketOwnerEnforced`: it has no ACL.
    pub acls_disabled: bool,
    /// `Enabled` or `Suspended`; a bucket that was never versioned has none.
    pub versioning: Option<String>,
    /// Its replication configuration.
    pub replication: Option<Value>,
    /// Its lifecycle configuration.
    pub lifecycle: Option<Value>,
    /// `TransitionDefaultMinimumObjectSize` of the lifecycle configuration.
    pub transition_minimum: Option<String>,
}

/// One grant of an ACL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// A canonical user's id or a group's URI.
    pub grantee: String,
    /// `FULL_CONTROL`, `READ`, `WRITE`, `READ_ACP` or `WRITE_ACP`.
    pub permission: String,
}

/// The group of everyone.
pub const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";

/// The canonical user id of an account.
pub fn canonical_id(account: &str) -> String {
    format!("{account:0>64}")
}

impl Grant {
    /// The owner's grant of full control.
    pub fn owner(account: &str) -> Self {
        Self { grantee: canonical_id(account), permission: "FULL_CONTROL".to_owned() }
    }

    /// The grant that lets everyone read.
    pub fn everyone() -> Self {
        Self { grantee: ALL_USERS.to_owned(), permission: "READ".to_owned() }
    }
}

impl Bucket {
    /// The whole ACL.
    pub fn acl(&self) -> Vec<Grant> {
        if self.acls_disabled {
            return vec![Grant::owner(&self.account)];
        }
        let others = self.grants.clone().unwrap_or_else(|| vec![Grant::owner(&self.account)]);
        others.into_iter().chain(self.public_acl.then(Grant::everyone)).collect()
    }

    /// Replaces the whole ACL.
    pub fn put_acl(&mut self, grants: Vec<Grant>) {
        let (everyone, others): (Vec<Grant>, Vec<Grant>) =
            grants.into_iter().partition(|grant| *grant == Grant::everyone());
        self.public_acl = !everyone.is_empty();
        self.grants = (others != [Grant::owner(&self.account)]).then_some(others);
    }

    /// The policy of a bucket of this name.
    pub fn policy_text(&self, name: &str) -> Option<String> {
        self.policy.clone().or_else(|| self.public_policy.then(|| public_policy(name)))
    }

    /// Replaces the policy or takes it off.
    pub fn put_policy(&mut self, name: &str, text: Option<&str>) {
        self.public_policy = text.is_some_and(is_public);
        let other = text.filter(|text| !self.public_policy || *text != public_policy(name));
        self.policy = other.map(str::to_owned);
    }

    /// Whether the policy denies a caller of this ARN an action.
    pub fn denies(
        &self,
        caller: &str,
        action: &str,
        resource: &str,
        context: &Context,
    ) -> Result<bool, NotModelled> {
        let Some(policy) = self.policy.as_deref() else { return Ok(false) };
        let policy: Value = serde_json::from_str(policy).unwrap_or_default();
        let statements: Vec<Value> = policy::list(policy.get("Statement"))
            .into_iter()
            .filter(|statement| speaks_of(statement, caller))
            .map(|statement| {
                // What names a principal is read like a trust policy, without
                // its resources: here they count.
                let mut statement = statement.clone();
                statement.as_object_mut().map(|it| it.remove("Principal"));
                statement
            })
            .collect();
        let question = Question { action, resource, context };
        Ok(policy::evaluate([&json!({ "Statement": statements })], &question)?
            == Verdict::ExplicitDeny)
    }
}

fn speaks_of(statement: &Value, caller: &str) -> bool {
    let principal = statement.get("Principal");
    let named = principal.and_then(|it| it.get("AWS")).or(principal);
    policy::list(named).iter().any(|it| it.as_str().is_some_and(|it| it == "*" || it == caller))
}

/// The policy that grants reading to everyone.
fn public_policy(name: &str) -> String {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "PublicRead",
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": format!("arn:aws:s3:::{name}/*"),
        }],
    })
    .to_string()
}

/// Whether a policy grants something to everyone, without any condition (S3
/// user guide, "The meaning of public").
pub fn is_public(text: &str) -> bool {
    let policy: Value = serde_json::from_str(text).unwrap_or_default();
    policy::list(policy.get("Statement")).into_iter().any(|statement| {
        statement.get("Effect").and_then(Value::as_str) == Some("Allow")
            && statement.get("Condition").is_none()
            && speaks_of(statement, "*")
    })
}

/// All buckets, and the accounts' own blocks.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct S3 {
    /// Buckets by name.
    pub buckets: BTreeMap<String, Bucket>,
    /// Objects, Object Lock and guests, by bucket.
    pub objects: Objects,
    /// Account-level public access blocks by account.
    pub account_blocks: BTreeMap<String, PublicAccessBlock>,
    /// Accounts whose block an organization policy manages: changing it fails.
    pub managed_by_organization: Vec<String>,
}

impl S3 {
    /// The blocks that hold for a bucket: its own and its account's.
    pub fn blocks(&self, bucket: &Bucket) -> [Option<PublicAccessBlock>; 2] {
        [bucket.public_access_block, self.account_blocks.get(&bucket.account).copied()]
    }

    /// Whether anyone on the internet can read the bucket's objects: an ACL or
    /// policy says so and no block, of bucket or account, takes it back
    /// ("the most restrictive combination", S3 user guide, "Blocking public access").
    pub fn anyone_can_read(&self, bucket: &str) -> bool {
        let Some((name, bucket)) = self.buckets.get_key_value(bucket) else { return false };
        let blocks = self.blocks(bucket);
        let blocked = |flag: fn(&PublicAccessBlock) -> bool| blocks.iter().flatten().any(flag);
        let object = format!("arn:aws:s3:::{name}/x");
        let denied = bucket.denies("", "s3:GetObject", &object, &Context::new());
        if denied.unwrap_or(true) {
            return false;
        }
        let acl = bucket.public_acl || (!bucket.public_objects.is_empty() && !bucket.acls_disabled);
        (acl && !blocked(|block| block.ignore_public_acls))
            || (bucket.public_policy && !blocked(|block| block.restrict_public_buckets))
    }
}
