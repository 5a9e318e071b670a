//! What an organization deploys: the templates, and the StackSets that carry them
//! into every account.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test reports"
)]

mod stacksets;
mod templates;
mod wired;
mod wiring;
