//! Tests: the changes from a snapshot to the desired setup.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use firebreak_model::resource::{AccountId, Region};

fn account(number: u64) -> AccountId {
    format!("{number:012}").parse().unwrap()
}

fn region(name: &str) -> Region {
    name.parse().unwrap()
}

/// An organization of the management account 1, the administrator 2 and the
/// member 3, with all that is wanted.
fn complete() -> SetupSnapshot {
    let administrator = account(2);
    let wanted = Protection::all();
    let all = |id: u64, state: &str| OrganizationAccount {
        id: account(id),
        email: format!("{id}@example.com"),
        state: state.to_owned(),
    };
    let members: BTreeMap<AccountId, String> =
        [1, 3].map(|id| (account(id), "Enabled".to_owned())).into();
    let designated =
        Reading::Read(Designation { administrators: vec![administrator.clone()], on: true });
    SetupSnapshot {
        management: account(1),
        administrator: administrator.clone(),
        home: region("eu-central-1"),
        accounts: vec![all(1, "ACTIVE"), all(2, "ACTIVE"), all(3, "ACTIVE")],
        skipped: BTreeMap::new(),
        trust: Some(Reading::Read(Trust {
            stacksets: "ENABLED".to_owned(),
            trusted: [STACKSETS, MALWARE_PROTECTION].map(str::to_owned).into(),
            stacksets_administrators: [administrator].into(),
        })),
        regions: vec![RegionState {
            region: region("eu-central-1"),
            designations: [Service::GuardDuty, Service::SecurityHub]
                .map(|service| (service, designated.clone()))
                .into(),
            guardduty: Some(Reading::Read(GuardDutyState {
                detector: Some(Detector {
                    id: "d".to_owned(),
                    on: true,
                    frequency: "FIFTEEN_MINUTES".to_owned(),
                    protections: wanted.iter().map(|it| (it.clone(), true)).collect(),
                }),
                configuration: Some(GuardDutyConfiguration {
                    members: "ALL".to_owned(),
                    protections: wanted.iter().map(|it| (it.clone(), "ALL".to_owned())).collect(),
                }),
                members: members.clone(),
            })),
            security_hub: Some(Reading::Read(SecurityHubState {
                on: true,
                aggregator: Some(Aggregator {
                    home: region("eu-central-1"),
                    linking: Some("ALL_REGIONS".to_owned()),
                }),
                configuration: Some(SecurityHubConfiguration {
                    auto_enable: true,
                    standards: "NONE".to_owned(),
                    kind: "LOCAL".to_owned(),
                }),
                members,
            })),
        }],
    }
}

fn wanted() -> DesiredSetup {
    DesiredSetup { protections: Protection::all() }
}

fn guardduty(observed: &mut SetupSnapshot) -> &mut GuardDutyState {
    match observed.regions[0].guardduty.as_mut() {
        Some(Reading::Read(state)) => state,
        other => panic!("{other:?}"),
    }
}

fn security_hub(observed: &mut SetupSnapshot) -> &mut SecurityHubState {
    match observed.regions[0].security_hub.as_mut() {
        Some(Reading::Read(state)) => state,
        other => panic!("{other:?}"),
    }
}

fn designation(observed: &mut SetupSnapshot, service: Service) -> &mut Designation {
    match observed.regions[0].designations.get_mut(&service) {
        Some(Reading::Read(state)) => state,
        other => panic!("{other:?}"),
    }
}

fn trust(observed: &mut SetupSnapshot) -> &mut Trust {
    match observed.trust.as_mut() {
        Some(Reading::Read(state)) => state,
        other => panic!("{other:?}"),
    }
}

/// The changes and notes after something was taken away.
#[track_caller]
fn check(edit: impl FnOnce(&mut SetupSnapshot), changes: &[&str], notes: &[&str]) {
    let mut observed = complete();
    edit(&mut observed);
    let plan = plan(&observed, &wanted()).unwrap();
    let described: Vec<String> = plan.changes().map(ToString::to_string).collect();
    assert_eq!(described, changes);
    let said: Vec<&String> = plan.works.iter().flat_map(|work| &work.notes).collect();
    assert_eq!(said, notes);
}

#[test]
fn a_complete_setup_needs_no_change() {
    check(|_| {}, &[], &[]);
}

#[test]
fn the_management_part_plans_what_is_missing() {
    check(
        |it| {
            *trust(it) = Trust { stacksets: "DISABLED".to_owned(), ..Trust::default() };
            *designation(it, Service::GuardDuty) = Designation::default();
            designation(it, Service::SecurityHub).administrators.clear();
        },
        &[
            "trust StackSets",
            "allow 000000000002 to deploy StackSets",
            "trust malware-protection.guardduty.amazonaws.com",
            "turn on GuardDuty in the management account",
            "make 000000000002 the administrator",
            "make 000000000002 the administrator",
        ],
        &[],
    );
}

#[test]
fn only_the_parts_of_a_detector_that_differ_are_changed() {
    check(
        |it| {
            let state = guardduty(it);
            let detector = state.detector.as_mut().unwrap();
            detector.frequency = "SIX_HOURS".to_owned();
            detector.protections.insert(Protection::feature("RDS_LOGIN_EVENTS"), false);
            let configuration = state.configuration.as_mut().unwrap();
            let addition = Protection::addition("RUNTIME_MONITORING", "EC2_AGENT_MANAGEMENT");
            configuration.protections.insert(addition, "NEW".to_owned());
        },
        &[
            "the administrator's detector: findings every 15 minutes, RDS_LOGIN_EVENTS",
            "enable GuardDuty for all accounts, with RUNTIME_MONITORING/EC2_AGENT_MANAGEMENT",
        ],
        &[],
    );
    check(
        |it| guardduty(it).detector.as_mut().unwrap().on = false,
        &["the administrator's detector: on"],
        &[],
    );
    check(
        |it| guardduty(it).configuration.as_mut().unwrap().members = "NEW".to_owned(),
        &["enable GuardDuty for all accounts"],
        &[],
    );
}

#[test]
fn runtime_monitoring_is_never_enabled_with_eks_runtime_monitoring() {
    let eks = Protection::feature("EKS_RUNTIME_MONITORING");
    let runtime = |it: &Protection| it.feature == "RUNTIME_MONITORING";
    check(
        |it| {
            let state = guardduty(it);
            let detector = state.detector.as_mut().unwrap();
            detector.protections.iter_mut().filter(|(it, _)| runtime(it)).for_each(|(_, on)| {
                *on = false;
            });
            detector.protections.insert(eks.clone(), true);
            let configuration = state.configuration.as_mut().unwrap();
            for (_, given) in configuration.protections.iter_mut().filter(|(it, _)| runtime(it)) {
                *given = "NONE".to_owned();
            }
            configuration.protections.insert(eks, "NEW".to_owned());
        },
        &[],
        &["RUNTIME_MONITORING is not changed because EKS_RUNTIME_MONITORING is on"],
    );
}

#[test]
fn features_that_a_region_does_not_offer_are_noted_and_not_requested() {
    let rds = Protection::feature("RDS_LOGIN_EVENTS");
    check(
        |it| {
            let state = guardduty(it);
            state.detector.as_mut().unwrap().protections.remove(&rds);
            state.configuration.as_mut().unwrap().protections.remove(&rds);
        },
        &[],
        &["the Region does not offer RDS_LOGIN_EVENTS"],
    );
}

#[test]
fn only_active_accounts_become_members_and_a_disabled_member_is_kept() {
    check(
        |it| {
            let extra = [(4, "ACTIVE"), (5, "SUSPENDED")].map(|(id, state)| OrganizationAccount {
                id: account(id),
                email: String::new(),
                state: state.to_owned(),
            });
            it.accounts.extend(extra);
            guardduty(it).members.insert(account(3), "Disabled".to_owned());
            security_hub(it).members.insert(account(4), "Enabled".to_owned());
        },
        &["add 1 member(s)"],
        &[
            "000000000005 is SUSPENDED: not added",
            "the member 000000000003 is `Disabled`: kept",
            "000000000005 is SUSPENDED: not added",
        ],
    );
}

#[test]
fn central_configuration_is_kept() {
    check(
        |it| {
            let state = security_hub(it);
            state.members.clear();
            let configuration = state.configuration.as_mut().unwrap();
            configuration.kind = "CENTRAL".to_owned();
            configuration.auto_enable = false;
        },
        &[],
        &["the organization uses central configuration: its policies are kept"],
    );
}

#[test]
fn an_aggregator_with_fewer_regions_is_kept_and_a_missing_one_created() {
    check(
        |it| {
            security_hub(it).aggregator.as_mut().unwrap().linking =
                Some("SPECIFIED_REGIONS".to_owned());
        },
        &[],
        &["the finding aggregator links SPECIFIED_REGIONS: kept"],
    );
    check(
        |it| security_hub(it).aggregator = None,
        &["aggregate the findings of all Regions here"],
        &[],
    );
}

#[test]
fn a_region_with_nothing_gets_everything() {
    check(
        |it| {
            *guardduty(it) = GuardDutyState::default();
            *security_hub(it) = SecurityHubState::default();
        },
        &[
            "the administrator's detector: on, findings every 15 minutes, all features",
            "enable GuardDuty for all accounts, with all features",
            "add 2 member(s)",
            "turn on Security Hub, without standards",
            "aggregate the findings of all Regions here",
            "enable Security Hub for new accounts",
            "add 2 member(s)",
        ],
        &[],
    );
}

#[test]
fn another_administrator_or_home_region_prevents_every_change() {
    let mut observed = complete();
    designation(&mut observed, Service::GuardDuty).administrators = vec![account(9)];
    guardduty(&mut observed).detector = None;
    let refused = plan(&observed, &wanted()).unwrap_err();
    let described =
        "GuardDuty in eu-central-1 is administered by 000000000009, not by 000000000002";
    assert_eq!(refused, [described]);

    let mut observed = complete();
    security_hub(&mut observed).aggregator =
        Some(Aggregator { home: region("us-east-1"), linking: None });
    let refused = plan(&observed, &wanted()).unwrap_err();
    assert!(refused[0].contains("give --home-region us-east-1"), "{refused:?}");
}

#[test]
fn an_unreadable_part_is_not_changed_and_fails_the_run() {
    let mut observed = complete();
    observed.regions[0].guardduty = Some(Reading::Unread("denied".to_owned()));
    let unread = plan(&observed, &wanted()).unwrap();
    assert_eq!(unread.changes().count(), 0);
    assert!(unread.failed());

    // A service that a Region does not have is not a failure, unless nothing could be
    // read.
    observed.regions[0].guardduty = Some(Reading::Absent("no host".to_owned()));
    assert!(!plan(&observed, &wanted()).unwrap().failed());
    observed.trust = None;
    observed.regions[0].designations.clear();
    observed.regions[0].security_hub = Some(Reading::Absent("no host".to_owned()));
    assert!(plan(&observed, &wanted()).unwrap().failed());
}

#[test]
fn fewer_features_can_be_requested() {
    let mut observed = complete();
    *guardduty(&mut observed) = GuardDutyState::default();
    let protections = BTreeSet::from([Protection::feature("S3_DATA_EVENTS")]);
    let plan = plan(&observed, &DesiredSetup { protections }).unwrap();
    let described: Vec<String> = plan.changes().map(ToString::to_string).collect();
    assert_eq!(
        described[..2],
        [
            "the administrator's detector: on, findings every 15 minutes, S3_DATA_EVENTS",
            "enable GuardDuty for all accounts, with S3_DATA_EVENTS",
        ]
    );
    assert!("EVERYTHING".parse::<Protection>().is_err());
}
