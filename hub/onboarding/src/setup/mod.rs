//! Plans the setup of detection in an organization: the changes from the snapshot to the
//! desired setup. Pure: `aws::setup` reads and changes.
//!
//! A change never turns off or lowers anything. Where a person decided otherwise, it is a
//! conflict (another administrator) or kept and reported (central configuration,
//! EKS_RUNTIME_MONITORING).

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
    DesiredSetup, DetectorPart, Part, PlanStatus, Service, SetupChange, SetupPlan, SetupStep,
    StepOutcome, Work,
};
pub use protection::Protection;

/// GuardDuty's service principal in AWS Organizations.
pub const GUARDDUTY: &str = "guardduty.amazonaws.com";
/// Security Hub's service principal in AWS Organizations.
pub const SECURITY_HUB: &str = "securityhub.amazonaws.com";
/// The principal whose access GuardDuty needs to scan volumes of members: "the
/// management account must enable trusted access" (GuardDuty user guide,
/// "Enabling GuardDuty-initiated malware scan in multiple-account environments").
pub const MALWARE_PROTECTION: &str = "malware-protection.guardduty.amazonaws.com";
/// The principal for which an account becomes delegated administrator of StackSets
/// (CloudFormation user guide, "Register a delegated administrator").
pub const STACKSETS: &str = "member.org.stacksets.cloudformation.amazonaws.com";

/// Plans the changes from the snapshot to the desired setup.
///
/// # Errors
///
/// The conflicts, for which nothing may be changed in any Region.
pub fn plan(observed: &SetupSnapshot, wanted: &DesiredSetup) -> Result<SetupPlan, Vec<String>> {
    let conflicts: Vec<String> = observed
        .regions
        .iter()
        .flat_map(|region| management::conflicts(observed, region))
        .chain(security_hub::conflict(observed))
        .collect();
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let mut works: Vec<Work> = management::trust(observed, wanted).into_iter().collect();
    for region in &observed.regions {
        works.extend(management::designations(observed, region));
        works.extend(region_works(observed, wanted, region));
    }
    Ok(SetupPlan { works, skipped: observed.skipped.clone() })
}

/// The administrator's works in a Region, if they were read.
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

/// The work for one service in one Region.
fn work<T>(
    part: Part,
    region: &firebreak_model::resource::Region,
    service: Service,
    reading: &Reading<T>,
    changes: impl FnOnce(&T) -> (Vec<SetupChange>, Vec<String>),
) -> Work {
    let (status, (changes, notes)) = match reading {
        Reading::Read(state) => (PlanStatus::Known, changes(state)),
        Reading::Absent(why) => (PlanStatus::Absent(why.clone()), Default::default()),
        Reading::Unread(why) => (PlanStatus::Unread(why.clone()), Default::default()),
    };
    let steps =
        changes.into_iter().map(|change| SetupStep { change, outcome: StepOutcome::Planned });
    Work { part, region: region.clone(), service, status, steps: steps.collect(), notes }
}

#[cfg(test)]
mod tests;
