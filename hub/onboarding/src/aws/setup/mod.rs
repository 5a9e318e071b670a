//! Sets up an organization: identifies the caller, reads the present setup, and makes
//! the changes that `crate::setup` plans. The only code that changes the setup of
//! GuardDuty, Security Hub and trusted access.
//!
//! # Guarantees
//!
//! - Nothing is changed before everything was read and the plan has no conflict:
//!   `execute` makes the changes of a plan and no others.
//! - Every change may be made again: what is set up already is kept.
//! - A change counts as done when reading back confirms it.
//! - A failure in one Region does not stop the others.

mod begin;
mod execute;
mod guardduty;
mod lists;
mod members;
mod organizations;
mod read_state;
mod security_hub;

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use firebreak_model::resource::{AccountId, Region};

use firebreak_aws::error::HubError;

pub use lists::{ListOutcome, Listed, Upload};

/// How many Regions are processed in parallel.
const MAX_PARALLEL_REGIONS: usize = 8;

#[derive(Clone, Debug, Default)]
pub struct SetupRequest {
    /// The account that is to administer GuardDuty and Security Hub.
    pub administrator: Option<AccountId>,
    /// The role that the management account assumes in that account.
    pub administrator_role: Option<String>,
    /// The Regions; if empty, all that are enabled.
    pub regions: Vec<Region>,
    /// The Region that aggregates findings; by default the configured Region.
    pub home: Option<Region>,
}

/// Why the setup was not started.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The caller lacks permission, or the request is invalid; says what to do.
    #[error("{0}")]
    Refused(String),
    /// A call to AWS failed.
    #[error("{0}")]
    Aws(#[from] HubError),
}

/// Receives progress, line by line.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// An organization with the credentials to set up all or part of it.
#[derive(Clone, Debug)]
pub struct Setup {
    pub caller: AccountId,
    pub management: AccountId,
    /// The account that administers GuardDuty and Security Hub, or is to.
    pub administrator: AccountId,
    /// The Region that aggregates findings.
    pub home: Region,
    /// The home Region first.
    pub regions: Vec<Region>,
    /// Skipped Regions, with the reason.
    pub skipped: BTreeMap<Region, String>,
    /// Credentials of the management account, if available.
    managing: Option<SdkConfig>,
    /// Credentials of the administrator, if available.
    administering: Option<SdkConfig>,
}

impl Setup {
    /// Whether these credentials set up the management account's part.
    pub fn manages(&self) -> bool {
        self.managing.is_some()
    }

    pub(in crate::aws) fn administering(&self) -> Option<&SdkConfig> {
        self.administering.as_ref()
    }

    /// Whether these credentials set up the administrator's part.
    pub fn administers(&self) -> bool {
        self.administering.is_some()
    }
}
