//! Security Hub: findings, updates, imports and the events that they raise.

pub mod answers;
pub mod model;
mod ocsf;
