//! The management account's part: trusted access, delegation, and turning on the services
//! in the management account itself, which no other account can do.

use super::{
    DesiredSetup, MALWARE_PROTECTION, Part, RegionState, Service, SetupChange, SetupSnapshot, Work,
    work,
};
use firebreak_model::resource::Region;

/// Another account administers a service: nothing may be changed.
pub(super) fn conflicts(observed: &SetupSnapshot, region: &RegionState) -> Vec<String> {
    let administrator = &observed.administrator;
    let designations = region.designations.iter();
    designations
        .filter_map(|(service, seen)| Some((service, seen.value()?)))
        .flat_map(|(service, designation)| {
            designation.administrators.iter().filter(|it| *it != administrator).map(move |it| {
                format!(
                    "{service} in {} is administered by {it}, not by {administrator}",
                    region.region
                )
            })
        })
        .collect()
}

/// Trusted access, which has to come first.
pub(super) fn trust(observed: &SetupSnapshot, wanted: &DesiredSetup) -> Option<Work> {
    let seen = observed.trust.as_ref()?;
    let scanning = wanted.protections.iter().any(|it| it.feature == "EBS_MALWARE_PROTECTION");
    Some(work(Part::Management, &Region::global(), Service::Organizations, seen, |trust| {
        let mut changes = Vec::new();
        // CloudFormation's own status is used, because it is not documented under which
        // principal AWS Organizations lists the access of StackSets.
        if trust.stacksets != "ENABLED" {
            changes.push(SetupChange::TrustStackSets);
        }
        if !trust.stacksets_administrators.contains(&observed.administrator) {
            let administrator = observed.administrator.clone();
            changes.push(SetupChange::DelegateStackSets { administrator });
        }
        if scanning && !trust.trusted.contains(MALWARE_PROTECTION) {
            changes.push(SetupChange::Trust { principal: MALWARE_PROTECTION.to_owned() });
        }
        (changes, Vec::new())
    }))
}

/// The delegations in one Region.
pub(super) fn designations(observed: &SetupSnapshot, region: &RegionState) -> Vec<Work> {
    let administrator = &observed.administrator;
    let designations = region.designations.iter().map(|(service, seen)| {
        work(Part::Management, &region.region, *service, seen, |designation| {
            let mut changes = Vec::new();
            // This comes first: "your organization master must first enable GuardDuty to be
            // added as a member".
            if !designation.on {
                changes.push(SetupChange::TurnOnInManagement(*service));
            }
            if !designation.administrators.contains(administrator) {
                let administrator = administrator.clone();
                changes.push(SetupChange::Designate { service: *service, administrator });
            }
            (changes, Vec::new())
        })
    });
    designations.collect()
}
