//! What was read of an organization's set-up, by whoever may read it.

use std::collections::{BTreeMap, BTreeSet};

use firebreak_model::resource::{AccountId, Region};
use serde::{Deserialize, Serialize};

use super::{Protection, Service};

/// What became of looking at something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading<T> {
    /// It is so.
    Read(T),
    /// The Region does not have the service.
    Absent(String),
    /// It could not be read, and why.
    Unread(String),
}

impl<T> Reading<T> {
    /// What was read.
    pub fn read(&self) -> Option<&T> {
        match self {
            Self::Read(it) => Some(it),
            Self::Absent(_) | Self::Unread(_) => None,
        }
    }
}

/// An account of the organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrganizationAccount {
    /// Its id.
    pub id: AccountId,
    /// The root user's e-mail address, which GuardDuty requires.
    pub email: String,
    /// `ACTIVE`, `SUSPENDED`, ….
    pub state: String,
}

/// All that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetupSnapshot {
    /// The organization's management account.
    pub management: AccountId,
    /// The account that administers GuardDuty and Security Hub, or is to.
    pub administrator: AccountId,
    /// The Region in which findings are gathered, or are to be.
    pub home: Region,
    /// The organization's accounts; none where only the management part is done.
    pub accounts: Vec<OrganizationAccount>,
    /// Regions that are left out, and why.
    pub skipped: BTreeMap<Region, String>,
    /// Which services AWS Organizations trusts: read by the management account.
    pub trust: Option<Reading<Trust>>,
    /// Each Region, the home Region first.
    pub regions: Vec<RegionState>,
}

/// What AWS Organizations knows of services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Trust {
    /// CloudFormation's word for StackSets' access: `ENABLED`, `DISABLED`, ….
    pub stacksets: String,
    /// Principals with trusted access.
    pub trusted: BTreeSet<String>,
    /// The accounts that may deploy StackSets for the organization.
    pub stacksets_administrators: BTreeSet<AccountId>,
}

/// What was read in one Region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegionState {
    /// The Region.
    pub region: Region,
    /// What the management account sees of GuardDuty and of Security Hub; empty
    /// for other callers.
    pub designations: BTreeMap<Service, Reading<Designation>>,
    /// What the administrator sees of GuardDuty.
    pub guardduty: Option<Reading<GuardDutyState>>,
    /// What the administrator sees of Security Hub.
    pub security_hub: Option<Reading<SecurityHubState>>,
}

/// A service as the management account sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Designation {
    /// Who administers it for the organization: at most one in practice.
    pub administrators: Vec<AccountId>,
    /// Whether it is on in the management account itself, which nobody else can
    /// turn on.
    pub on: bool,
}

/// GuardDuty as its administrator sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GuardDutyState {
    /// The administrator's own detector.
    pub detector: Option<Detector>,
    /// What members are given; none where the account is not yet the
    /// administrator, or has no detector.
    pub configuration: Option<GuardDutyConfiguration>,
    /// The members, with the status of their relationship.
    pub members: BTreeMap<AccountId, String>,
}

/// A detector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detector {
    /// Its id.
    pub id: String,
    /// Whether it is on, or suspended.
    pub on: bool,
    /// How often updates of findings are published.
    pub frequency: String,
    /// What the Region offers, and whether it is on.
    pub protections: BTreeMap<Protection, bool>,
}

/// What GuardDuty gives members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GuardDutyConfiguration {
    /// `ALL`, `NEW` or `NONE`.
    pub members: String,
    /// The same for all that the Region offers.
    pub protections: BTreeMap<Protection, String>,
}

/// Security Hub as its administrator sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SecurityHubState {
    /// Whether it is on in the administrator's own account.
    pub on: bool,
    /// Where findings are gathered; read in the home Region.
    pub aggregator: Option<Aggregator>,
    /// What members are given; none where the account is not yet the
    /// administrator, or has not turned Security Hub on.
    pub configuration: Option<SecurityHubConfiguration>,
    /// The members, with their status.
    pub members: BTreeMap<AccountId, String>,
}

/// A finding aggregator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Aggregator {
    /// The Region in which it gathers.
    pub home: Region,
    /// `ALL_REGIONS`, …; unknown where the aggregator is in another Region.
    pub linking: Option<String>,
}

/// What Security Hub gives new accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecurityHubConfiguration {
    /// Whether it is turned on in them.
    pub auto_enable: bool,
    /// `DEFAULT` or `NONE`: the standards that they are given.
    pub standards: String,
    /// `LOCAL`, or `CENTRAL` where configuration policies decide.
    pub kind: String,
}
