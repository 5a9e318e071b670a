//! Setting an organization up: who calls, what is there, and the changes that
//! `crate::setup` plans. The only code that changes how GuardDuty, Security Hub
//! and trusted access are set up.
//!
//! # Guarantees
//!
//! - Nothing is changed before everything was read and the plan refused nothing:
//!   `execute` makes the changes of a plan and no others.
//! - Every change may be made again: what is there already is read and left.
//! - A change counts as done when it reads back.
//! - A Region's failure stays that Region's: the others go on.

mod begin;
mod execute;
mod guardduty;
mod lists;
mod observe;
mod organizations;
mod security_hub;
pub(in crate::aws) mod trouble;

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use firebreak_model::resource::{AccountId, Region};

use firebreak_aws::error::HubError;

pub use lists::{ListOutcome, Listed, Upload};

/// How many Regions are worked on side by side.
const REGIONS_AT_ONCE: usize = 8;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The account that is to administer GuardDuty and Security Hub.
    pub administrator: Option<AccountId>,
    /// The role by which the management account gets into that account.
    pub administrator_role: Option<String>,
    /// The Regions; all that are enabled where there are none here.
    pub regions: Vec<Region>,
    /// The Region that gathers findings; without it the configuration's.
    pub home: Option<Region>,
}

/// Why nothing was begun.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The caller lacks permission, or the request is invalid; says what to do.
    #[error("{0}")]
    Refused(String),
    /// AWS, or the way to it.
    #[error("{0}")]
    Aws(#[from] HubError),
}

/// Receives progress, a line at a time.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// An organization with the credentials to set it up, in whole or in part.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Whose credentials these are.
    pub caller: AccountId,
    /// The organization's management account.
    pub management: AccountId,
    /// The account that administers GuardDuty and Security Hub, or is to.
    pub administrator: AccountId,
    /// The Region that gathers findings.
    pub home: Region,
    /// The Regions that are set up, the home Region first.
    pub regions: Vec<Region>,
    /// The Regions that are left out, and why.
    pub skipped: BTreeMap<Region, String>,
    /// Credentials of the management account, where the caller is it.
    managing: Option<SdkConfig>,
    /// Credentials of the administrator, where there are any.
    administering: Option<SdkConfig>,
}

impl Setup {
    /// Whether the management account's part is done with these credentials.
    pub fn manages(&self) -> bool {
        self.managing.is_some()
    }

    /// Credentials of the administrator, where there are any.
    pub(in crate::aws) fn administering(&self) -> Option<&SdkConfig> {
        self.administering.as_ref()
    }

    /// Whether the administrator's part is done with these credentials.
    pub fn administers(&self) -> bool {
        self.administering.is_some()
    }
}

/// The configuration for one Region.
pub(in crate::aws) fn regional(config: &SdkConfig, region: &Region) -> SdkConfig {
    config.to_builder().region(aws_config::Region::new(region.to_string())).build()
}
