//! The laws that every action obeys, each exercised against the simulated
//! organization with exactly the permissions that the action declares. A new
//! action gets a case in `cases` and obeys them all, or this fails.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test reports"
)]

pub(crate) mod attacker;
mod automation;
mod cases;
mod clusters;
mod compute;
mod evidence;
mod identity;
mod isolation;
mod laws;
mod random;
mod stage;
mod stops;
mod storage;
mod targets;

/// Whether the laws are tried on this action.
pub(crate) fn has_case(action: &str) -> bool {
    cases::cases().iter().any(|case| case.action == action)
}
