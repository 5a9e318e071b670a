//! The administrator's part for GuardDuty in one Region.

use super::protection::missing;
use super::{
    DesiredSetup, Detector, DetectorPart, GuardDutyConfiguration, GuardDutyState, Service,
    SetupChange, SetupSnapshot,
};
use firebreak_model::resource::AccountId;
use std::collections::BTreeMap;

/// The shortest frequency (GuardDuty API reference, UpdateDetector).
const FREQUENCY: &str = "FIFTEEN_MINUTES";

/// The changes, and notes on what is kept.
pub(super) fn changes(
    observed: &SetupSnapshot,
    wanted: &DesiredSetup,
    state: &GuardDutyState,
) -> (Vec<SetupChange>, Vec<String>) {
    let mut changes = Vec::new();
    let (parts, mut notes) = detector(wanted, state.detector.as_ref());
    if !parts.is_empty() {
        changes.push(SetupChange::Detector(parts));
    }
    let (given, others) = configuration(wanted, state.configuration.as_ref());
    changes.extend(given);
    notes.extend(others.into_iter().filter(|note| !notes.contains(note)).collect::<Vec<_>>());
    let (accounts, others) = members(observed, &state.members);
    if !accounts.is_empty() {
        changes.push(SetupChange::AddMembers { service: Service::GuardDuty, accounts });
    }
    notes.extend(others);
    (changes, notes)
}

fn detector(
    wanted: &DesiredSetup,
    detector: Option<&Detector>,
) -> (Vec<DetectorPart>, Vec<String>) {
    let Some(detector) = detector else {
        let protections = wanted.protections.iter().cloned().map(DetectorPart::Protection);
        let parts = [DetectorPart::On, DetectorPart::Frequency].into_iter().chain(protections);
        return (parts.collect(), Vec::new());
    };
    let on = (!detector.on).then_some(DetectorPart::On);
    let frequency = (detector.frequency != FREQUENCY).then_some(DetectorPart::Frequency);
    let state = |it: &_| detector.protections.get(it).copied();
    let (missing, notes) = missing(&wanted.protections, state, |it| state(it).unwrap_or_default());
    let protections = missing.into_iter().map(DetectorPart::Protection);
    (on.into_iter().chain(frequency).chain(protections).collect(), notes)
}

fn configuration(
    wanted: &DesiredSetup,
    configuration: Option<&GuardDutyConfiguration>,
) -> (Option<SetupChange>, Vec<String>) {
    let Some(configuration) = configuration else {
        let protections = wanted.protections.iter().cloned().collect();
        return (Some(SetupChange::EnableGuardDuty(protections)), Vec::new());
    };
    let given = |it: &_| configuration.protections.get(it).map(String::as_str);
    let (missing, notes) = missing(
        &wanted.protections,
        |it| given(it).map(|given| given == "ALL"),
        |it| given(it).is_some_and(|given| given != "NONE"),
    );
    let differs = configuration.members != "ALL" || !missing.is_empty();
    (differs.then_some(SetupChange::EnableGuardDuty(missing)), notes)
}

/// The accounts to add, and notes on those that cannot be added or are not enabled.
pub(super) fn members(
    observed: &SetupSnapshot,
    members: &BTreeMap<AccountId, String>,
) -> (Vec<AccountId>, Vec<String>) {
    let others = observed.accounts.iter().filter(|it| it.id != observed.administrator);
    let (active, rest): (Vec<_>, Vec<_>) =
        others.filter(|it| !members.contains_key(&it.id)).partition(|it| it.state == "ACTIVE");
    let skipped = rest.iter().map(|it| format!("{} is {}: not added", it.id, it.state));
    let disabled = members
        .iter()
        .filter(|(_, status)| !status.eq_ignore_ascii_case("enabled"))
        .map(|(id, status)| format!("the member {id} is `{status}`: kept"));
    (active.into_iter().map(|it| it.id.clone()).collect(), skipped.chain(disabled).collect())
}
