//! How detection is set up in an organization: what was observed, what is
//! wanted, and the changes between the two. Pure: `aws::setup` reads and changes.
//!
//! A change is only ever a step up: nothing that is on is turned off or lowered,
//! and what somebody decided otherwise (another administrator, central
//! configuration, EKS_RUNTIME_MONITORING) is refused or left alone, and said.

pub mod entities;
mod guardduty;
mod management;
mod observed;
mod plan;
mod protection;
mod security_hub;

pub use observed::{
    Aggregator, Designation, Detector, GuardDutyConfiguration, GuardDutyState, OrganizationAccount,
    Reading, RegionState, SecurityHubConfiguration, SecurityHubState, SetupSnapshot, Trust,
};
pub use plan::{
    DesiredSetup, DetectorPart, Part, Plan, PlanStatus, Service, SetupChange, SetupStep,
    StepOutcome, Work,
};
pub use protection::Protection;

/// The service principal by which AWS Organizations knows GuardDuty.
pub const GUARDDUTY: &str = "guardduty.amazonaws.com";
/// The same for Security Hub.
pub const SECURITY_HUB: &str = "securityhub.amazonaws.com";
/// What GuardDuty's administrator needs to scan volumes in members: "the
/// management account must enable trusted access" (GuardDuty user guide,
/// "Enabling GuardDuty-initiated malware scan in multiple-account environments").
pub const MALWARE_PROTECTION: &str = "malware-protection.guardduty.amazonaws.com";
/// Of what an account is made delegated administrator to deploy StackSets
/// (CloudFormation user guide, "Register a delegated administrator").
pub const STACKSETS: &str = "member.org.stacksets.cloudformation.amazonaws.com";

/// The changes between what was observed and what is wanted.
///
/// # Errors
///
/// Why nothing may be changed anywhere: each thing that somebody decided
/// otherwise, reported with its Region.
pub fn plan(observed: &SetupSnapshot, wanted: &DesiredSetup) -> Result<Plan, Vec<String>> {
    let refused: Vec<String> = observed
        .regions
        .iter()
        .flat_map(|region| management::refused(observed, region))
        .chain(security_hub::refused(observed))
        .collect();
    if !refused.is_empty() {
        return Err(refused);
    }
    let mut works: Vec<Work> = management::trust(observed, wanted).into_iter().collect();
    for region in &observed.regions {
        works.extend(management::designations(observed, region));
        works.extend(region_works(observed, wanted, region));
    }
    Ok(Plan { works, skipped: observed.skipped.clone() })
}

/// The administrator's works in a Region, where it was looked at.
fn region_works(
    observed: &SetupSnapshot,
    wanted: &DesiredSetup,
    region: &RegionState,
) -> Vec<Work> {
    let guardduty = region.guardduty.as_ref().map(|seen| {
        work(Part::Administrator, &region.region, Service::GuardDuty, seen, |state| {
            guardduty::changes(observed, wanted, state)
        })
    });
    let security_hub = region.security_hub.as_ref().map(|seen| {
        work(Part::Administrator, &region.region, Service::SecurityHub, seen, |state| {
            security_hub::changes(observed, &region.region, state)
        })
    });
    guardduty.into_iter().chain(security_hub).collect()
}

/// What is to be done about what was seen of one service in one Region.
fn work<T>(
    part: Part,
    region: &firebreak_model::resource::Region,
    service: Service,
    seen: &Reading<T>,
    changes: impl FnOnce(&T) -> (Vec<SetupChange>, Vec<String>),
) -> Work {
    let (standing, (changes, notes)) = match seen {
        Reading::Read(state) => (PlanStatus::Known, changes(state)),
        Reading::Absent(why) => (PlanStatus::Absent(why.clone()), Default::default()),
        Reading::Unread(why) => (PlanStatus::Unread(why.clone()), Default::default()),
    };
    let steps =
        changes.into_iter().map(|change| SetupStep { change, outcome: StepOutcome::Planned });
    Work { part, region: region.clone(), service, standing, steps: steps.collect(), notes }
}

#[cfg(test)]
mod tests;
