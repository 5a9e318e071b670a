//! What the tests share: Lambda's event source mapping before the simulated queue, the
//! processes of the hub, what has to be true at the end, the sample that runs of an
//! exhaustive suite, and the repository's files.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test reports"
)]

pub mod arrange;
pub mod canonical;
pub mod fleet;
pub mod player;
pub mod rates;
pub mod repository;
pub mod sample;
pub mod truth;
