//! Scenarios, end to end: a message into the Lambda handler, and what then is
//! true of the organization, the record and Security Hub.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test reports"
)]

mod approvals;
mod audit;
mod authenticity;
mod batch;
mod containment;
mod durability;
mod engine;
mod failures;
mod hostile;
mod limits;
mod notices;
mod one_transaction;
mod policies;
mod prior_art;
mod residual;
mod resources;
mod several_targets;
mod stage;
mod sweep;
mod undo;
mod write_back;
