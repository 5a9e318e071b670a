//! Security Hub: findings, updates, imports and the events that they raise; how
//! an organization is set up.

pub mod answers;
pub mod model;
mod ocsf;
mod setup;
