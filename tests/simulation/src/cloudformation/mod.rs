//! CloudFormation: templates, the stacks made of them, and StackSets.
//!
//! A loader for plain templates, without transforms and nested stacks: it knows
//! the resource types, properties and functions that it models and refuses every
//! other. What it makes stands in the same state that the services' calls read
//! and change.

mod functions;
mod parameters;
pub mod resources;
pub mod stack;
mod tables;
pub mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use stack::{Place, Stack};
pub(crate) use tables::{Due, Tables};
pub use template::{Refusal, Template};

/// All stacks of the organization.
#[derive(Clone, Debug, Default)]
pub struct CloudFormation {
    /// Stacks by account, Region and name.
    pub stacks: BTreeMap<(String, String, String), Stack>,
    /// The DynamoDB tables that they made.
    pub(crate) tables: Tables,
}
