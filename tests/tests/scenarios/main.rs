//! Scenarios, end to end: a message into the Lambda handler, and what then is
//! true of the organization, the record and Security Hub.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test reports"
)]

mod authenticity;
mod containment;
mod engine;
mod failures;
mod policies;
mod prior_art;
mod resources;
mod stage;
mod undo;
mod write_back;
