//! StackSets with service-managed permissions: a template and its parameters, an
//! instance for each account and Region that it targets, and operations that
//! bring instances up to date one after another.
//!
//! Self-managed permissions are not modelled. Operations take simulated time: what
//! is due is carried out before the next call to any service, and by [`settle`].

mod advance;
pub mod answers;
mod form;
mod targets;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::template::Template;

pub(crate) use advance::settle;
pub(crate) use targets::{account_came, account_left};

/// How long one stack takes.
pub const STACK: SignedDuration = SignedDuration::from_secs(20);

/// The principal that has trusted access.
pub const TRUSTED: &str = "stacksets.cloudformation.amazonaws.com";
/// The principal that a delegated administrator is registered for.
pub const DELEGATED: &str = "member.org.stacksets.cloudformation.amazonaws.com";

/// A StackSet.
#[derive(Clone, Debug)]
pub struct StackSet {
    /// `name:uuid`.
    pub id: String,
    /// The Region in which it is administered.
    pub home: String,
    /// Its description.
    pub description: String,
    /// Its template.
    pub template: Arc<Template>,
    /// Its parameters.
    pub parameters: BTreeMap<String, String>,
    /// The capabilities that were acknowledged.
    pub capabilities: BTreeSet<String>,
    /// Whether accounts that join a target get a stack.
    pub deploys_automatically: bool,
    /// Whether accounts that leave keep it.
    pub retains: bool,
    /// Whether conflicting operations wait instead of being refused.
    pub queues: bool,
    /// The OUs and roots that it targets.
    pub units: BTreeSet<String>,
    /// The Regions in which it has instances.
    pub regions: BTreeSet<String>,
    /// Its instances by account and Region.
    pub instances: BTreeMap<(String, String), Instance>,
    /// Its operations, oldest first.
    pub operations: Vec<Operation>,
}

/// One stack of a StackSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The target that the account is below.
    pub unit: String,
    /// `CURRENT` or `OUTDATED`.
    pub is_current: bool,
    /// `DetailedStatus`: `PENDING`, `SUCCEEDED`, `FAILED`, …
    pub detail: &'static str,
    /// Why it is not current.
    pub reason: Option<String>,
    /// The operation that saw to it last.
    pub operation: String,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Makes instances.
    Create,
    /// Changes them.
    Update,
    /// Takes them away, or only out of the StackSet.
    Delete {
        /// Whether the stacks stay.
        retains: bool,
    },
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Waits for another one.
    Queued,
    /// Is under way.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended with more failures than are tolerated.
    Failed,
}

/// An operation.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its id.
    pub id: String,
    /// What it does.
    pub action: Action,
    /// Where it stands.
    pub status: Status,
    /// When it was asked for.
    pub created: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    preferences: Preferences,
    /// Accounts, Regions and targets, in their order; when each is done, once it runs.
    steps: Vec<Step>,
    /// What became of each account and Region.
    pub results: BTreeMap<(String, String), Outcome>,
}

#[derive(Clone, Debug)]
struct Step {
    account: String,
    region: String,
    unit: String,
    due: Timestamp,
}

/// What became of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `SUCCEEDED`, `FAILED`, `CANCELLED` or `PENDING`.
    pub status: &'static str,
    /// Why.
    pub reason: Option<String>,
    /// The target that the account is below.
    pub unit: String,
}

/// How an operation goes about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Preferences {
    tolerated: Share,
    at_once: Share,
    /// `SOFT_FAILURE_TOLERANCE`: failures do not slow it down.
    is_soft: bool,
    /// `PARALLEL`: all Regions at once.
    is_parallel: bool,
}

/// A number of accounts in a Region, or a part of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    Count(usize),
    Percent(usize),
}

impl Default for Share {
    fn default() -> Self {
        Self::Count(0)
    }
}

impl Share {
    /// Rounded down, as StackSets does.
    fn of(self, accounts: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => accounts * percent / 100,
        }
    }
}

impl StackSet {
    /// The name, which the id begins with.
    pub fn name(&self) -> &str {
        self.id.split(':').next().unwrap_or_default()
    }

    fn is_busy(&self) -> bool {
        self.operations.iter().any(|it| matches!(it.status, Status::Queued | Status::Running))
    }

    /// The name of the stack in an account and Region.
    fn stack(&self) -> String {
        format!("StackSet-{}", self.id.replace(':', "-"))
    }
}
