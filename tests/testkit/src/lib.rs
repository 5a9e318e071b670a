//! What the tests that let many things go wrong share: the queue in front of
//! the hub, its processes, and what is true at the end.

// The futures of the engine are deep, and Send is proved of each of their parts.
#![recursion_limit = "256"]
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
