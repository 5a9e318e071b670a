//! What several actions in EKS clusters share.

pub(crate) mod access_entry;
pub(crate) mod aws_auth;
pub(crate) mod cluster;
pub(crate) mod known_principals;
pub(crate) mod pods;
