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
pub mod stack_sets;
mod tables;
pub mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use stack::{Place, Stack};
pub use stack_sets::StackSet;
pub(crate) use tables::{Due, Tables};
pub use template::{Refusal, Template};

/// All stacks of the organization.
#[derive(Clone, Debug, Default)]
pub struct CloudFormation {
    /// Stacks by account, Region and name.
    pub stacks: BTreeMap<(String, String, String), Stack>,
    /// StackSets by name: one list, the management account's.
    pub stack_sets: BTreeMap<String, StackSet>,
    /// The DynamoDB tables that stacks made.
    pub(crate) tables: Tables,
}

impl CloudFormation {
    /// Forgets the tables that stacks left behind, as if somebody had deleted them:
    /// a stack that makes one of their names anew is not refused.
    pub fn forget_tables(&mut self) {
        self.tables = Tables::default();
    }
}
