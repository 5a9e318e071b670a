//! The typed changes, and what became of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use firebreak_model::resource::{AccountId, Region};
use serde::Serialize;

use super::Protection;

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredSetup {
    /// GuardDuty's features, for the administrator and every member.
    pub protections: BTreeSet<Protection>,
}

/// Whose credentials a change needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The organization's management account.
    Management,
    /// The delegated administrator.
    Administrator,
}

/// Of what a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Service {
    /// Trusted access and delegation, for all Regions at once.
    Organizations,
    /// Amazon GuardDuty.
    GuardDuty,
    /// AWS Security Hub.
    SecurityHub,
}

/// What of a detector is changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DetectorPart {
    /// It is made, or taken out of suspension.
    On,
    /// Updates of findings are published every 15 minutes.
    Frequency,
    /// A feature is turned on.
    Protection(Protection),
}

/// One change. It says what is so afterwards, not by which call: whether a
/// detector is to be made or changed can depend on what the designation of the
/// administrator does by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetupChange {
    /// AWS Organizations trusts StackSets.
    TrustStackSets,
    /// AWS Organizations trusts a service.
    Trust {
        /// The service's principal.
        principal: String,
    },
    /// The administrator may deploy StackSets for the organization.
    DelegateStackSets {
        /// The account.
        administrator: AccountId,
    },
    /// The service is on in the management account itself.
    TurnOnInManagement(Service),
    /// The account administers the service for the organization.
    Designate {
        /// The service.
        service: Service,
        /// The account.
        administrator: AccountId,
    },
    /// The administrator's own detector.
    Detector(Vec<DetectorPart>),
    /// GuardDuty is given to every account, now and in future.
    GiveGuardDuty(Vec<Protection>),
    /// Security Hub is on in the administrator's account.
    TurnOnSecurityHub,
    /// The home Region gathers the findings of all Regions.
    Aggregate,
    /// Security Hub is given to new accounts.
    GiveSecurityHub,
    /// Accounts of the organization become members.
    AddMembers {
        /// The service.
        service: Service,
        /// The accounts.
        accounts: Vec<AccountId>,
    },
}

impl SetupChange {
    /// The calls that may be made for it and change something, as IAM names them.
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
            Self::GiveGuardDuty(_) => &["guardduty:UpdateOrganizationConfiguration"],
            Self::Aggregate => &["securityhub:CreateFindingAggregator"],
            Self::GiveSecurityHub => &["securityhub:UpdateOrganizationConfiguration"],
            Self::AddMembers { service: Service::SecurityHub, .. } => {
                &["securityhub:CreateMembers"]
            }
            Self::AddMembers { service: Service::GuardDuty | Service::Organizations, .. } => {
                &["guardduty:CreateMembers"]
            }
        }
    }
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// Nothing yet.
    Planned,
    /// It was made, and reads back so.
    Done,
    /// It was tried, and why it failed.
    Failed(String),
    /// Something that it stands on failed.
    NotTried(String),
}

/// One change and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetupStep {
    /// The change.
    pub change: SetupChange,
    /// What became of it.
    pub outcome: StepOutcome,
}

/// Whether something could be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanStatus {
    /// It was read.
    Known,
    /// The Region does not have the service.
    Absent(String),
    /// It could not be read; nothing is changed there.
    Unread(String),
}

/// What is done about one service in one Region by one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Work {
    /// By whom.
    pub part: Part,
    /// Where; the pseudo Region of global services for AWS Organizations.
    pub region: Region,
    /// Of what.
    pub service: Service,
    /// Whether it could be looked at.
    pub standing: PlanStatus,
    /// What changes.
    pub steps: Vec<SetupStep>,
    /// What is left alone, and why.
    pub notes: Vec<String>,
}

impl Work {
    /// Whether it failed, in whole or in part.
    pub fn failed(&self) -> bool {
        matches!(self.standing, PlanStatus::Unread(_))
            || self.steps.iter().any(|step| match step.outcome {
                StepOutcome::Planned | StepOutcome::Done => false,
                StepOutcome::Failed(_) | StepOutcome::NotTried(_) => true,
            })
    }
}

/// All changes, in the order in which they are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// By account, Region and service; a Region's works stand together.
    pub works: Vec<Work>,
    /// Regions that are left out, and why.
    pub skipped: BTreeMap<Region, String>,
}

impl Plan {
    /// Every change.
    pub fn changes(&self) -> impl Iterator<Item = &SetupChange> {
        self.works.iter().flat_map(|work| &work.steps).map(|step| &step.change)
    }

    /// Whether something failed or could not be read, or there was nothing that
    /// could be.
    pub fn failed(&self) -> bool {
        self.works.iter().any(Work::failed)
            || self.works.iter().all(|work| work.standing != PlanStatus::Known)
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

/// The parts in words; all features together are two.
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
                write!(formatter, "let {administrator} deploy StackSets")
            }
            Self::TurnOnInManagement(service) => {
                write!(formatter, "turn {service} on in the management account")
            }
            Self::Designate { administrator, .. } => {
                write!(formatter, "make {administrator} the administrator")
            }
            Self::Detector(parts) => {
                write!(formatter, "the administrator's detector: {}", self::parts(parts))
            }
            Self::GiveGuardDuty(protections) if protections.is_empty() => {
                formatter.write_str("give GuardDuty to all accounts")
            }
            Self::GiveGuardDuty(protections) if protections.len() == Protection::all().len() => {
                formatter.write_str("give GuardDuty to all accounts, with all features")
            }
            Self::GiveGuardDuty(protections) => {
                write!(formatter, "give GuardDuty to all accounts, with {}", list(protections))
            }
            Self::TurnOnSecurityHub => {
                formatter.write_str("turn Security Hub on, without standards")
            }
            Self::Aggregate => formatter.write_str("gather the findings of all Regions here"),
            Self::GiveSecurityHub => formatter.write_str("give Security Hub to new accounts"),
            Self::AddMembers { accounts, .. } => {
                write!(formatter, "add {} member(s)", accounts.len())
            }
        }
    }
}
