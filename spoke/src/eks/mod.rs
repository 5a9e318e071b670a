//! Actions in EKS clusters.

mod cordon_node;
mod isolate_pod;
mod revoke_cluster_access;

use crate::registry::RegisteredAction;

/// In the order in which lists show them.
pub(crate) const ACTIONS: &[RegisteredAction] = &[
    RegisteredAction::of::<revoke_cluster_access::RevokeClusterAccess>(),
    RegisteredAction::of::<isolate_pod::IsolatePod>(),
    RegisteredAction::of::<cordon_node::CordonNode>(),
];
