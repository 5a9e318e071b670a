//! What several actions on buckets share.

pub(crate) mod bucket;
pub(crate) mod bucket_rules;
pub(crate) mod grants;
pub(crate) mod policy_document;
