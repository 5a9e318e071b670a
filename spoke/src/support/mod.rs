//! What several actions share, by service. No file here is an action.

pub(crate) mod ec2;
pub(crate) mod ecs;
pub(crate) mod eks;
pub(crate) mod evidence;
pub(crate) mod iam;
pub(crate) mod rds;
pub(crate) mod s3;
