//! Actions on EC2 instances.

mod attach_security_group;
mod block_remote_ip;
mod collect_evidence;
mod deregister_from_load_balancers;
mod disassociate_addresses;
mod isolate_instance;
mod protect_instance;
mod revoke_instance_credentials;
mod snapshot_volumes;
mod stop_instance;
mod terminate_instance;

use crate::registry::RegisteredAction;

/// In the order in which lists show them.
pub(crate) const ACTIONS: &[RegisteredAction] = &[
    RegisteredAction::of::<isolate_instance::IsolateInstance>(),
    RegisteredAction::of::<revoke_instance_credentials::RevokeInstanceCredentials>(),
    RegisteredAction::of::<attach_security_group::AttachSecurityGroup>(),
    RegisteredAction::of::<disassociate_addresses::DisassociateAddresses>(),
    RegisteredAction::of::<block_remote_ip::BlockRemoteIp>(),
    RegisteredAction::of::<protect_instance::ProtectInstance>(),
    RegisteredAction::of::<deregister_from_load_balancers::DeregisterFromLoadBalancers>(),
    RegisteredAction::of::<stop_instance::StopInstance>(),
    RegisteredAction::of::<terminate_instance::TerminateInstance>(),
    RegisteredAction::of::<snapshot_volumes::SnapshotVolumes>(),
    RegisteredAction::of::<collect_evidence::CollectEvidence>(),
];
