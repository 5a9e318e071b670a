//! How Firebreak comes into an organization, on a simulated one: what `org
//! enable` sets up, the templates, and the StackSets that carry them into every
//! account.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test reports")]

mod coverage;
mod enable;
mod interrupted;
mod organization;
mod program;
mod stacksets;
mod templates;
mod threat_list;
mod wired;
mod wiring;
