//! The administrator's part for Security Hub in one Region.

use firebreak_model::resource::Region;

use super::guardduty::members;
use super::{Reading, SecurityHubState, Service, SetupChange, SetupSnapshot};

/// Why nothing may be changed: findings are gathered in another Region, and an
/// account has one aggregator.
pub(super) fn refused(observed: &SetupSnapshot) -> Option<String> {
    let home = observed.regions.iter().find(|it| it.region == observed.home)?;
    let aggregator = home.security_hub.as_ref().and_then(Reading::read)?.aggregator.as_ref()?;
    (aggregator.home != observed.home).then(|| {
        format!(
            "Security Hub gathers findings in {there}, not in {here}: choose --home-region {there}, or delete its finding aggregator",
            there = aggregator.home, here = observed.home,
        )
    })
}

/// What is to change, and what is left alone.
pub(super) fn changes(
    observed: &SetupSnapshot,
    region: &Region,
    state: &SecurityHubState,
) -> (Vec<SetupChange>, Vec<String>) {
    let (mut changes, mut notes) = (Vec::new(), Vec::new());
    if !state.on {
        changes.push(SetupChange::TurnOnSecurityHub);
    }
    // "First create the aggregator": linked Regions and what members are given
    // hang on it (Security Hub user guide, "Central configuration").
    match &state.aggregator {
        None if *region == observed.home => changes.push(SetupChange::Aggregate),
        Some(aggregator) if aggregator.linking.as_deref() != Some("ALL_REGIONS") => {
            let linking = aggregator.linking.as_deref().unwrap_or("unknown");
            notes.push(format!("the finding aggregator links {linking}: left alone"));
        }
        None | Some(_) => {}
    }
    match &state.configuration {
        // Configuration policies decide which accounts have it.
        Some(configuration) if configuration.kind == "CENTRAL" => {
            notes.push("the organization is configured centrally: left to its policies".to_owned());
            return (changes, notes);
        }
        Some(configuration) if configuration.auto_enable => {}
        Some(_) | None => changes.push(SetupChange::GiveSecurityHub),
    }
    let (accounts, others) = members(observed, &state.members);
    if !accounts.is_empty() {
        changes.push(SetupChange::AddMembers { service: Service::SecurityHub, accounts });
    }
    notes.extend(others);
    (changes, notes)
}
