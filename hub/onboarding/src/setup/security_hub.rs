//! The administrator's part for Security Hub in one Region.

use firebreak_model::resource::Region;

use super::guardduty::members;
use super::{Reading, SecurityHubState, Service, SetupChange, SetupSnapshot};

/// Another Region aggregates findings, and an account has only one aggregator: nothing
/// may be changed.
pub(super) fn conflict(observed: &SetupSnapshot) -> Option<String> {
    let home = observed.regions.iter().find(|it| it.region == observed.home)?;
    let aggregator = home.security_hub.as_ref().and_then(Reading::value)?.aggregator.as_ref()?;
    (aggregator.home != observed.home).then(|| {
        format!(
            "Security Hub aggregates findings in {there}, not in {here}: give --home-region {there}, or delete its finding aggregator",
            there = aggregator.home, here = observed.home,
        )
    })
}

/// The changes, and notes on what is kept.
pub(super) fn changes(
    observed: &SetupSnapshot,
    region: &Region,
    state: &SecurityHubState,
) -> (Vec<SetupChange>, Vec<String>) {
    let (mut changes, mut notes) = (Vec::new(), Vec::new());
    if !state.on {
        changes.push(SetupChange::TurnOnSecurityHub);
    }
    // "First create the aggregator": linked Regions and the configuration of members
    // depend on it (Security Hub user guide, "Central configuration").
    match &state.aggregator {
        None if *region == observed.home => changes.push(SetupChange::Aggregate),
        Some(aggregator) if aggregator.linking.as_deref() != Some("ALL_REGIONS") => {
            let linking = aggregator.linking.as_deref().unwrap_or("unknown");
            notes.push(format!("the finding aggregator links {linking}: kept"));
        }
        None | Some(_) => {}
    }
    match &state.configuration {
        // Configuration policies decide which accounts have Security Hub.
        Some(configuration) if configuration.kind == "CENTRAL" => {
            notes.push(
                "the organization uses central configuration: its policies are kept".to_owned(),
            );
            return (changes, notes);
        }
        Some(configuration) if configuration.auto_enable => {}
        Some(_) | None => changes.push(SetupChange::EnableSecurityHub),
    }
    let (accounts, others) = members(observed, &state.members);
    if !accounts.is_empty() {
        changes.push(SetupChange::AddMembers { service: Service::SecurityHub, accounts });
    }
    notes.extend(others);
    (changes, notes)
}
