//! How Firebreak comes into an organization, on a simulated one: what `org
//! enable` sets up, with the permissions that its page grants and no others.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test reports")]

mod coverage;
mod enable;
mod interrupted;
mod organization;
mod program;
mod threat_list;
