//! What the tests that let many things go wrong share: the queue in front of
//! the hub, its processes, and what is true at the end.

#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a panic is how a test reports"
)]

pub mod canonical;
pub mod fleet;
pub mod queue;
pub mod rates;
pub mod truth;
