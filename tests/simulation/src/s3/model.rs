//! What S3 holds: buckets, whose names are one space for all accounts, and
//! each account's own public access block.

use std::collections::BTreeMap;

use serde::Serialize;

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
    /// Whether its policy grants reading to everyone.
    pub public_policy: bool,
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
    /// Whether anyone on the internet can read the bucket's objects: an ACL or
    /// policy says so and no block, of bucket or account, takes it back
    /// ("the most restrictive combination", S3 user guide, "Blocking public access").
    pub fn anyone_can_read(&self, bucket: &str) -> bool {
        let Some(bucket) = self.buckets.get(bucket) else { return false };
        let blocks =
            [bucket.public_access_block, self.account_blocks.get(&bucket.account).copied()];
        let blocked = |flag: fn(&PublicAccessBlock) -> bool| blocks.iter().flatten().any(flag);
        (bucket.public_acl && !blocked(|block| block.ignore_public_acls))
            || (bucket.public_policy && !blocked(|block| block.restrict_public_buckets))
    }
}
