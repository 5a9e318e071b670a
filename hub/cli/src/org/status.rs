//! `firebreak org status`: shows the setup of each Region, and what is missing. Reads
//! only.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use firebreak_model::resource::AccountId;
use serde_json::json;

use super::{OrgScope, heading, plan_json};
use crate::terminal::{report, table, write_json};
use crate::{Failure, Output};
use firebreak_onboarding::setup::{
    self, DesiredSetup, GuardDutyState, Protection, Reading, RegionState, SecurityHubState,
    Service, SetupPlan, SetupSnapshot,
};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    scope: OrgScope,
}

/// `Failure::No` if something is missing or cannot be read.
pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let setup = arguments.scope.begin().await?;
    let observed = setup.read_state(&report).await?;
    let wanted = DesiredSetup { protections: Protection::all() };
    let planned = setup::plan(&observed, &wanted);
    let complete = planned.as_ref().is_ok_and(|plan| plan.changes().count() == 0 && !plan.failed());
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => {
            let missing = planned.as_ref().ok().map(plan_json);
            let refused = planned.as_ref().err();
            let value = json!({
                "complete": complete, "observed": observed, "missing": missing, "refused": refused,
            });
            write_json(&mut out, &value)?;
        }
        Output::Text => write_text(&mut out, &observed, planned.as_ref())?,
    }
    if complete { Ok(()) } else { Err(Failure::No) }
}

fn write_text(
    out: &mut impl Write,
    observed: &SetupSnapshot,
    planned: Result<&SetupPlan, &Vec<String>>,
) -> Result<(), Failure> {
    writeln!(out, "{}", heading(observed))?;
    if let Some(trust) = &observed.trust {
        let trust_line = describe_reading(trust, |trust| {
            let administers = trust.stacksets_administrators.contains(&observed.administrator);
            let word = if administers { "may" } else { "may not" };
            format!(
                "trusted access of StackSets: {}; the administrator {word} deploy them",
                trust.stacksets
            )
        });
        writeln!(out, "{trust_line}")?;
    }
    let mut table =
        table(["Region", "service", "administrator", "its own", "for accounts", "members"]);
    for region in &observed.regions {
        let [own, given, members] = region
            .guardduty
            .as_ref()
            .map_or_else(not_visible, |seen| row(seen, |state| guardduty(observed, state)));
        let administrator = administrator(region, Service::GuardDuty);
        table.add_row([
            region.region.to_string(),
            "GuardDuty".to_owned(),
            administrator,
            own,
            given,
            members,
        ]);
        let [own, given, members] = region.security_hub.as_ref().map_or_else(not_visible, |seen| {
            row(seen, |state| security_hub(observed, region, state))
        });
        let administrator = self::administrator(region, Service::SecurityHub);
        table.add_row([
            String::new(),
            "Security Hub".to_owned(),
            administrator,
            own,
            given,
            members,
        ]);
    }
    writeln!(out, "{table}")?;
    for (region, why) in &observed.skipped {
        writeln!(out, "{region} skipped: {why}")?;
    }
    match planned {
        Err(refused) => {
            for why in refused {
                writeln!(out, "conflict: {why}")?;
            }
        }
        Ok(plan) => {
            for work in &plan.works {
                for step in &work.steps {
                    let region = &work.region;
                    if region.is_global() {
                        writeln!(out, "missing: {}", step.change)?;
                    } else {
                        writeln!(out, "missing in {region}, {}: {}", work.service, step.change)?;
                    }
                }
                for note in &work.notes {
                    writeln!(out, "{} {}: {note}", work.region, work.service)?;
                }
            }
            if plan.changes().count() == 0 && !plan.failed() {
                writeln!(out, "nothing is missing")?;
            }
        }
    }
    Ok(())
}

fn not_visible() -> [String; 3] {
    ["not visible with these credentials", "", ""].map(str::to_owned)
}

fn describe_reading<T>(seen: &Reading<T>, describe: impl FnOnce(&T) -> String) -> String {
    match seen {
        Reading::Read(it) => describe(it),
        Reading::Absent(why) => why.clone(),
        Reading::Unread(why) => format!("cannot be read: {why}"),
    }
}

fn row<T>(seen: &Reading<T>, describe: impl FnOnce(&T) -> [String; 3]) -> [String; 3] {
    match seen {
        Reading::Read(it) => describe(it),
        Reading::Absent(why) => [why.clone(), String::new(), String::new()],
        Reading::Unread(why) => [format!("cannot be read: {why}"), String::new(), String::new()],
    }
}

/// The administrator of a service, if the caller can see it.
fn administrator(region: &RegionState, service: Service) -> String {
    if let Some(seen) = region.designations.get(&service) {
        return describe_reading(seen, |designation| {
            let ids: Vec<&str> = designation.administrators.iter().map(AccountId::as_str).collect();
            if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
        });
    }
    let configured = match service {
        Service::SecurityHub => {
            let seen = region.security_hub.as_ref().and_then(Reading::value);
            seen.is_some_and(|state| state.configuration.is_some())
        }
        Service::GuardDuty | Service::Organizations => {
            let seen = region.guardduty.as_ref().and_then(Reading::value);
            seen.is_some_and(|state| state.configuration.is_some())
        }
    };
    if configured { "this account".to_owned() } else { "unknown".to_owned() }
}

fn guardduty(observed: &SetupSnapshot, state: &GuardDutyState) -> [String; 3] {
    let own = state.detector.as_ref().map_or_else(
        || "no detector".to_owned(),
        |detector| {
            let on = if detector.on { "on" } else { "suspended" };
            let wanted = Protection::all();
            let count =
                wanted.iter().filter(|it| detector.protections.get(*it) == Some(&true)).count();
            format!("{on}, {}, {count}/{} features", detector.frequency, wanted.len())
        },
    );
    let given = state.configuration.as_ref().map_or_else(
        || "nothing".to_owned(),
        |given| {
            let wanted = Protection::all();
            let all = |it: &&Protection| given.protections.get(*it).is_some_and(|it| it == "ALL");
            let count = wanted.iter().filter(all).count();
            format!("{}, {count}/{} features", given.members, wanted.len())
        },
    );
    [own, given, members(observed, &state.members)]
}

fn security_hub(
    observed: &SetupSnapshot,
    region: &RegionState,
    state: &SecurityHubState,
) -> [String; 3] {
    let gathering = match &state.aggregator {
        Some(aggregator) => format!(
            ", aggregates in {} ({})",
            aggregator.home,
            aggregator.linking.as_deref().unwrap_or("linking unknown")
        ),
        None if region.region == observed.home => ", no aggregator".to_owned(),
        None => String::new(),
    };
    let on = if state.on { "on" } else { "off" };
    let given = state.configuration.as_ref().map_or_else(
        || "nothing".to_owned(),
        |given| {
            let automatic = if given.auto_enable { "new accounts" } else { "nothing" };
            format!("{automatic}, {}, standards {}", given.kind, given.standards)
        },
    );
    [format!("{on}{gathering}"), given, members(observed, &state.members)]
}

/// Members with the service on, of the active accounts.
fn members(observed: &SetupSnapshot, members: &BTreeMap<AccountId, String>) -> String {
    let on = members.values().filter(|status| status.eq_ignore_ascii_case("enabled")).count();
    let possible = observed
        .accounts
        .iter()
        .filter(|it| it.state == "ACTIVE" && it.id != observed.administrator)
        .count();
    format!("{on} of {possible} on")
}
