//! Actions on buckets.

mod block_public_access;
mod enable_versioning;
mod private_acl;
mod restrict_bucket_policy;
mod suspend_lifecycle;
mod suspend_replication;

use crate::registry::RegisteredAction;

/// In the order in which lists show them.
pub(crate) const ACTIONS: &[RegisteredAction] = &[
    RegisteredAction::of::<block_public_access::BlockPublicAccess>(),
    RegisteredAction::of::<restrict_bucket_policy::RestrictBucketPolicy>(),
    RegisteredAction::of::<private_acl::PrivateAcl>(),
    RegisteredAction::of::<enable_versioning::EnableVersioning>(),
    RegisteredAction::of::<suspend_replication::SuspendReplication>(),
    RegisteredAction::of::<suspend_lifecycle::SuspendLifecycle>(),
];
