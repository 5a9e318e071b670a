//! IAM: users, keys, roles, policies, instance profiles.

pub mod answers;
pub mod model;
