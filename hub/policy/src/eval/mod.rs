//! Decides: the nearest matching rule, then every guardrail above it.

mod context;
mod decide;
mod draws;
mod matching;
mod principal;
mod protections;
mod tree;

pub(crate) use context::Context;
pub(crate) use decide::nearest_rule;
pub use matching::RuleMismatch;
pub use tree::Policy;
pub(crate) use tree::{BrokenDocument, PathStep};
