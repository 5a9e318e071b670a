//! The changes of a plan, and the outcome of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use firebreak_model::resource::{AccountId, Region};
use serde::Serialize;

use super::Protection;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredSetup {
    /// GuardDuty's features, for the administrator and every member.
    pub protections: BTreeSet<Protection>,
}

/// Whose credentials a change needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    Management,
    Administrator,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Service {
    /// Trusted access and delegation, for all Regions at once.
    Organizations,
    GuardDuty,
    SecurityHub,
}

/// A part of a detector that is changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DetectorPart {
    /// It is created, or no longer suspended.
    On,
    /// Updates of findings are published every 15 minutes.
    Frequency,
    /// A feature is turned on.
    Protection(Protection),
}

/// One change, as the state afterwards. It does not name the calls: the designation of the
/// administrator may create the detector, which is then changed instead of created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetupChange {
    /// AWS Organizations trusts StackSets.
    TrustStackSets,
    /// AWS Organizations trusts a service.
    Trust { principal: String },
    /// The administrator may deploy StackSets for the organization.
    DelegateStackSets {
        /// The account that administers GuardDuty and Security Hub.
        administrator: AccountId,
    },
    /// The service is on in the management account itself.
    TurnOnInManagement(Service),
    /// The account administers the service for the organization.
    Designate {
        service: Service,
        /// The account that becomes the delegated administrator.
        administrator: AccountId,
    },
    /// The administrator's own detector.
    Detector(Vec<DetectorPart>),
    /// GuardDuty is enabled for every account, now and in future.
    EnableGuardDuty(Vec<Protection>),
    /// Security Hub is on in the administrator's account.
    TurnOnSecurityHub,
    /// The home Region aggregates the findings of all Regions.
    Aggregate,
    /// Security Hub is enabled for new accounts.
    EnableSecurityHub,
    /// Accounts of the organization become members.
    AddMembers {
        service: Service,
        /// The accounts that are not members yet.
        accounts: Vec<AccountId>,
    },
}

impl SetupChange {
    /// The calls that may change something, as IAM names them.
    pub fn calls(&self) -> &'static [&'static str] {
        match self {
            Self::TrustStackSets => &["cloudformation:ActivateOrganizationsAccess"],
            Self::Trust { .. } => &["organizations:EnableAWSServiceAccess"],
            Self::DelegateStackSets { .. } => &["organizations:RegisterDelegatedAdministrator"],
            Self::TurnOnInManagement(Service::SecurityHub) | Self::TurnOnSecurityHub => {
                &["securityhub:EnableSecurityHub"]
            }
            Self::TurnOnInManagement(Service::GuardDuty | Service::Organizations)
            | Self::Detector(_) => &["guardduty:CreateDetector", "guardduty:UpdateDetector"],
            Self::Designate { service: Service::SecurityHub, .. } => {
                &["securityhub:EnableOrganizationAdminAccount"]
            }
            Self::Designate { service: Service::GuardDuty | Service::Organizations, .. } => {
                &["guardduty:EnableOrganizationAdminAccount"]
            }
            Self::EnableGuardDuty(_) => &["guardduty:UpdateOrganizationConfiguration"],
            Self::Aggregate => &["securityhub:CreateFindingAggregator"],
            Self::EnableSecurityHub => &["securityhub:UpdateOrganizationConfiguration"],
            Self::AddMembers { service: Service::SecurityHub, .. } => {
                &["securityhub:CreateMembers"]
            }
            Self::AddMembers { service: Service::GuardDuty | Service::Organizations, .. } => {
                &["guardduty:CreateMembers"]
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    Planned,
    /// Made, and confirmed by reading back.
    Done,
    Failed(String),
    /// Something that it depends on failed.
    NotTried(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetupStep {
    pub change: SetupChange,
    pub outcome: StepOutcome,
}

/// Whether the present state could be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanStatus {
    Known,
    /// The Region does not have the service.
    Absent(String),
    /// It could not be read, so nothing is changed.
    Unread(String),
}

/// The changes of one service in one Region by one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Work {
    pub part: Part,
    /// For AWS Organizations the pseudo Region of the global services.
    pub region: Region,
    pub service: Service,
    pub status: PlanStatus,
    pub steps: Vec<SetupStep>,
    /// What is kept, and why.
    pub notes: Vec<String>,
}

impl Work {
    /// Whether any part failed.
    pub fn failed(&self) -> bool {
        matches!(self.status, PlanStatus::Unread(_))
            || self.steps.iter().any(|step| match step.outcome {
                StepOutcome::Planned | StepOutcome::Done => false,
                StepOutcome::Failed(_) | StepOutcome::NotTried(_) => true,
            })
    }
}

/// All changes, in the order in which they are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetupPlan {
    /// Ordered by Region.
    pub works: Vec<Work>,
    /// Skipped Regions, with the reason.
    pub skipped: BTreeMap<Region, String>,
}

impl SetupPlan {
    pub fn changes(&self) -> impl Iterator<Item = &SetupChange> {
        self.works.iter().flat_map(|work| &work.steps).map(|step| &step.change)
    }

    /// Whether something failed or could not be read, or nothing could be read.
    pub fn failed(&self) -> bool {
        self.works.iter().any(Work::failed)
            || self.works.iter().all(|work| work.status != PlanStatus::Known)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Organizations => "AWS Organizations",
            Self::GuardDuty => "GuardDuty",
            Self::SecurityHub => "Security Hub",
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Management => "management",
            Self::Administrator => "administrator",
        })
    }
}

impl fmt::Display for DetectorPart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On => formatter.write_str("on"),
            Self::Frequency => formatter.write_str("findings every 15 minutes"),
            Self::Protection(protection) => write!(formatter, "{protection}"),
        }
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The parts in words; all features together are `all features`.
fn parts(parts: &[DetectorPart]) -> String {
    let features = parts.iter().filter(|part| match part {
        DetectorPart::On | DetectorPart::Frequency => false,
        DetectorPart::Protection(_) => true,
    });
    if features.count() < Protection::all().len() {
        return list(parts);
    }
    let others = parts.iter().filter_map(|part| match part {
        DetectorPart::On | DetectorPart::Frequency => Some(part.to_string()),
        DetectorPart::Protection(_) => None,
    });
    others.chain(["all features".to_owned()]).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for SetupChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrustStackSets => formatter.write_str("trust StackSets"),
            Self::Trust { principal } => write!(formatter, "trust {principal}"),
            Self::DelegateStackSets { administrator } => {
                write!(formatter, "allow {administrator} to deploy StackSets")
            }
            Self::TurnOnInManagement(service) => {
                write!(formatter, "turn on {service} in the management account")
            }
            Self::Designate { administrator, .. } => {
                write!(formatter, "make {administrator} the administrator")
            }
            Self::Detector(parts) => {
                write!(formatter, "the administrator's detector: {}", self::parts(parts))
            }
            Self::EnableGuardDuty(protections) if protections.is_empty() => {
                formatter.write_str("enable GuardDuty for all accounts")
            }
            Self::EnableGuardDuty(protections) if protections.len() == Protection::all().len() => {
                formatter.write_str("enable GuardDuty for all accounts, with all features")
            }
            Self::EnableGuardDuty(protections) => {
                write!(formatter, "enable GuardDuty for all accounts, with {}", list(protections))
            }
            Self::TurnOnSecurityHub => {
                formatter.write_str("turn on Security Hub, without standards")
            }
            Self::Aggregate => formatter.write_str("aggregate the findings of all Regions here"),
            Self::EnableSecurityHub => formatter.write_str("enable Security Hub for new accounts"),
            Self::AddMembers { accounts, .. } => {
                write!(formatter, "add {} member(s)", accounts.len())
            }
        }
    }
}
