//! A snapshot of an organization's setup, as far as the credentials may read it.

use std::collections::{BTreeMap, BTreeSet};

use firebreak_model::resource::{AccountId, Region};
use serde::{Deserialize, Serialize};

use super::{Protection, Service};

/// The result of reading a part of the setup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading<T> {
    Read(T),
    /// The Region does not have the service.
    Absent(String),
    /// It could not be read; the reason.
    Unread(String),
}

impl<T> Reading<T> {
    /// What was read; `None` where it is absent or could not be read.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Read(it) => Some(it),
            Self::Absent(_) | Self::Unread(_) => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrganizationAccount {
    pub id: AccountId,
    /// The root user's e-mail address, which GuardDuty requires.
    pub email: String,
    /// `ACTIVE`, `SUSPENDED`, ….
    pub state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetupSnapshot {
    pub management: AccountId,
    /// The account that administers GuardDuty and Security Hub, or is to.
    pub administrator: AccountId,
    /// The Region that aggregates findings.
    pub home: Region,
    /// The organization's accounts; empty without the administrator's credentials.
    pub accounts: Vec<OrganizationAccount>,
    /// Skipped Regions, with the reason.
    pub skipped: BTreeMap<Region, String>,
    /// Which services AWS Organizations trusts: read by the management account.
    pub trust: Option<Reading<Trust>>,
    /// Each Region, the home Region first.
    pub regions: Vec<RegionState>,
}

/// Trusted access and delegation in AWS Organizations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Trust {
    /// CloudFormation's status of the access of StackSets: `ENABLED`, `DISABLED`, ….
    pub stacksets: String,
    /// Principals with trusted access.
    pub trusted: BTreeSet<String>,
    /// The accounts that may deploy StackSets for the organization.
    pub stacksets_administrators: BTreeSet<AccountId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegionState {
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
    /// At most one in practice.
    pub administrators: Vec<AccountId>,
    /// Whether it is on in the management account itself.
    pub on: bool,
}

/// GuardDuty as its administrator sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GuardDutyState {
    /// The administrator's own detector.
    pub detector: Option<Detector>,
    /// The configuration for members; `None` if the account is not the administrator yet, or
    /// has no detector.
    pub configuration: Option<GuardDutyConfiguration>,
    /// The members, with the status of their relationship.
    pub members: BTreeMap<AccountId, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detector {
    pub id: String,
    /// `false` if it is suspended.
    pub on: bool,
    /// How often updates of findings are published.
    pub frequency: String,
    /// What the Region offers, with whether it is on.
    pub protections: BTreeMap<Protection, bool>,
}

/// The configuration of GuardDuty for members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GuardDutyConfiguration {
    /// `ALL`, `NEW` or `NONE`.
    pub members: String,
    /// The same for each protection that the Region offers.
    pub protections: BTreeMap<Protection, String>,
}

/// Security Hub as its administrator sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SecurityHubState {
    /// Whether it is on in the administrator's own account.
    pub on: bool,
    /// Read in the home Region.
    pub aggregator: Option<Aggregator>,
    /// The configuration for members; `None` if the account is not the administrator yet, or
    /// Security Hub is off.
    pub configuration: Option<SecurityHubConfiguration>,
    /// The members, with their status.
    pub members: BTreeMap<AccountId, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Aggregator {
    /// The Region that aggregates.
    pub home: Region,
    /// `ALL_REGIONS`, …; unknown if the aggregator is in another Region.
    pub linking: Option<String>,
}

/// The configuration of Security Hub for new accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecurityHubConfiguration {
    pub auto_enable: bool,
    /// The standards of new accounts: `DEFAULT` or `NONE`.
    pub standards: String,
    /// `LOCAL`, or `CENTRAL` where configuration policies decide.
    pub kind: String,
}
