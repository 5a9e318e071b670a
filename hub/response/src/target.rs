//! What is known of a target: its responses by rule, its suppressions, what is
//! paused, and where its account is. Pure; `firebreak-aws` stores it.

use std::collections::BTreeMap;

use firebreak_model::organization::OuPath;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::pauses::Pauses;
use crate::record::{ResponseId, State, Suppression};

/// The entry of one rule in a target's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetEntry {
    /// Its latest response.
    pub response: ResponseId,
    /// That response's epoch.
    pub epoch: u64,
    /// That response's state.
    pub state: State,
    /// The end of the worker's lease.
    pub lease_until: Option<Timestamp>,
    /// Whether it runs, without a worker at it: what is left needs time, and
    /// the sweep goes on with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waiting: bool,
    /// The findings that it answers, each with the update that was seen last.
    pub findings: BTreeMap<String, Option<Timestamp>>,
}

/// The state of a target: its responses by rule, suppressions and pauses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetState {
    /// Counts the claims and the ends; 0 for a target never seen.
    pub revision: u64,
    /// By rule, `<attach>/<rule>`.
    pub entries: BTreeMap<String, TargetEntry>,
    /// By finding type.
    pub suppressions: BTreeMap<String, Suppression>,
    /// What is paused in the organization at this moment.
    pub pauses: Pauses,
    /// Where its account is, as one of the processes found it.
    pub place: Option<StoredPlace>,
}

/// Where an account is, for every process of the hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPlace {
    /// The OUs above it.
    pub ou_path: OuPath,
    /// Until when it may be believed.
    pub until: Timestamp,
}
