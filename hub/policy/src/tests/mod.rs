//! Tests of several layers together, and what they share.

mod decisions;
mod documentation;
mod issues;
mod keys;
mod layers;
pub(crate) mod support;
