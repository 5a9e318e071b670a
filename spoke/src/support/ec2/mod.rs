//! What several actions on EC2 instances share.

pub(crate) mod auto_scaling;
pub(crate) mod block_lists;
pub(crate) mod grants;
pub(crate) mod instance;
pub(crate) mod instance_profile;
pub(crate) mod instance_state;
pub(crate) mod interfaces;
pub(crate) mod isolation_groups;
pub(crate) mod isolation_rules;
pub(crate) mod network_acl;
pub(crate) mod reads;
pub(crate) mod tracked_connections;
