//! `org enable`: what it plans is what it does, once.

use std::collections::BTreeSet;

use firebreak_onboarding::aws::setup::SetupRequest;
use firebreak_onboarding::setup::{Part, PlanStatus, Service, SetupPlan, StepOutcome};
use firebreak_simulation::{Effect, Fault, Organization};

use crate::deploy::organization::{
    ADMINISTRATOR, HOME, MANAGEMENT, OTHER, all_done, begin, both, changing, enable, everything,
    member, organization, own, plan, state,
};

/// Everything that a Region has when it is set up.
fn assert_set_up(organization: &Organization, region: &str, members: usize) {
    organization.edit(|state| {
        let guardduty = &state.guardduty;
        assert_eq!(guardduty.administrator_in(region), Some(ADMINISTRATOR));
        let key = (ADMINISTRATOR.to_owned(), region.to_owned());
        let detector = &guardduty.settings[&key];
        assert_eq!((detector.enabled, detector.frequency.as_str()), (true, "FIFTEEN_MINUTES"));
        let wanted: BTreeSet<String> =
            everything().protections.iter().map(ToString::to_string).collect();
        let on = detector.on.iter().filter(|(_, on)| **on);
        assert_eq!(on.map(|(name, _)| name.clone()).collect::<BTreeSet<_>>(), wanted);
        let given = &guardduty.configurations[region];
        assert_eq!(given.members.as_deref(), Some("ALL"));
        assert!(given.features.values().all(|it| it == "ALL"));
        assert_eq!(given.features.keys().cloned().collect::<BTreeSet<_>>(), wanted);
        // The management account is a member like the others.
        assert_eq!(guardduty.members[region].len(), members + 1);
        let hub = &state.security_hub;
        assert_eq!(hub.administrator_in(region), Some(ADMINISTRATOR));
        assert!(hub.is_on(ADMINISTRATOR, region));
        assert!(hub.configurations[region].auto_enable);
        assert_eq!(hub.members[region].len(), members + 1);
    });
}

/// The changing calls belong to the plan's changes, and every change has one.
#[track_caller]
fn assert_calls_match(organization: &Organization, plan: &SetupPlan) {
    let calls = changing(organization);
    let names: Vec<(String, String)> = calls
        .iter()
        .map(|call| (call.region.clone(), format!("{}:{}", call.service, call.operation)))
        .collect();
    let mut explained = BTreeSet::new();
    for work in &plan.works {
        for step in &work.steps {
            let of_change = |(region, name): &&(String, String)| {
                let here = work.region.is_global() || work.region.as_str() == region;
                here && step.change.calls().contains(&name.as_str())
            };
            let made: Vec<_> = names.iter().filter(of_change).collect();
            assert!(!made.is_empty(), "{} in {}", step.change, work.region);
            explained.extend(made);
        }
    }
    let others: Vec<_> = names.iter().filter(|name| !explained.contains(name)).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[tokio::test(start_paused = true)]
async fn the_plan_of_org_enable_is_what_it_does() {
    let organization = organization(3);
    let before = state(&organization);
    let (_, _, planned) = plan(&organization, MANAGEMENT, &both()).await.unwrap();
    assert_eq!(changing(&organization).len(), 0);
    assert_eq!(state(&organization), before);
    // 3 everywhere, and in each Region 2 and 2 by the management account and 3
    // and 3 by the administrator; in the home Region the aggregator.
    assert_eq!(planned.changes().count(), 3 + 2 * (2 + 2 + 3 + 3) + 1);

    let done = enable(&organization, MANAGEMENT, &both()).await.unwrap();
    all_done(&done);
    let changes = |plan: &SetupPlan| plan.changes().cloned().collect::<Vec<_>>();
    // The designation turned both services on in the administrator's account:
    // that the change says what is so afterwards keeps the two alike.
    assert_eq!(changes(&done), changes(&planned));
    assert_set_up(&organization, HOME, 3);
    assert_set_up(&organization, OTHER, 3);
    organization.edit(|state| {
        assert_eq!(state.security_hub.home_region.as_deref(), Some(HOME));
        assert_eq!(state.security_hub.linking.as_deref(), Some("ALL_REGIONS"));
        let organizations = &state.organizations;
        for principal in [
            firebreak_onboarding::setup::STACKSETS,
            firebreak_onboarding::setup::MALWARE_PROTECTION,
        ] {
            assert!(organizations.trusted.contains(principal));
        }
        let delegated =
            organizations.delegated_for(firebreak_onboarding::setup::STACKSETS).unwrap();
        assert!(delegated.contains(ADMINISTRATOR));
    });
}

#[tokio::test(start_paused = true)]
async fn every_changing_call_belongs_to_a_planned_change() {
    let organization = organization(3);
    organization.edit(|state| {
        state.guardduty.designation_leaves_off = true;
        state.security_hub.designation_leaves_off = true;
    });
    let done = enable(&organization, MANAGEMENT, &both()).await.unwrap();
    all_done(&done);
    assert_calls_match(&organization, &done);
    assert_set_up(&organization, HOME, 3);
    assert_set_up(&organization, OTHER, 3);
}

#[tokio::test(start_paused = true)]
async fn a_second_run_changes_nothing() {
    let organization = organization(3);
    all_done(&enable(&organization, MANAGEMENT, &both()).await.unwrap());
    let after = state(&organization);
    organization.forget_calls();
    let again = enable(&organization, MANAGEMENT, &both()).await.unwrap();
    assert_eq!(again.changes().count(), 0, "{again:#?}");
    assert!(!again.failed());
    let calls = organization.take_calls();
    let changing: Vec<_> = calls.iter().filter(|call| call.mutating).collect();
    assert!(changing.is_empty(), "{changing:?}");
    assert_eq!(state(&organization), after);
}

#[tokio::test(start_paused = true)]
async fn each_account_can_do_its_own_part_alone() {
    let organization = organization(2);
    let management = enable(&organization, MANAGEMENT, &own()).await.unwrap();
    all_done(&management);
    assert!(management.works.iter().all(|work| work.part == Part::Management));
    // The administrator needs no argument.
    let administrator =
        enable(&organization, ADMINISTRATOR, &SetupRequest::default()).await.unwrap();
    all_done(&administrator);
    assert!(administrator.works.iter().all(|work| work.part == Part::Administrator));
    assert_set_up(&organization, HOME, 2);
    assert_set_up(&organization, OTHER, 2);
    // And the management account finds the administrator by itself from then on.
    let request = SetupRequest { administrator: None, ..both() };
    let (_, _, plan) = plan(&organization, MANAGEMENT, &request).await.unwrap();
    assert_eq!(plan.changes().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn anyone_else_is_refused_with_what_to_do() {
    let organization = organization(1);
    let refusal = |account: String, request: SetupRequest| {
        let organization = organization.clone();
        async move {
            let trust = serde_json::json!({ "Statement": [] });
            let all = serde_json::json!({ "Statement": [
                { "Effect": "Allow", "Action": "*", "Resource": "*" },
            ]});
            if account != MANAGEMENT {
                let role = crate::deploy::organization::SETUP;
                organization.add_role(&account, "/", role, trust, all);
            }
            begin(&organization, &account, &request).await.unwrap_err().to_string()
        }
    };
    let help = format!("credentials of the management account {MANAGEMENT} first");
    // A member, and the administrator before it was made one.
    for account in [member(0), ADMINISTRATOR.to_owned()] {
        let error = refusal(account.clone(), SetupRequest::default()).await;
        assert!(error.contains(&help), "{error}");
    }
    let error = refusal(MANAGEMENT.to_owned(), SetupRequest::default()).await;
    assert!(error.contains("give --administrator ACCOUNT"), "{error}");
    let itself = SetupRequest { administrator: MANAGEMENT.parse().ok(), ..SetupRequest::default() };
    let error = refusal(MANAGEMENT.to_owned(), itself).await;
    assert!(error.contains("is the management account"), "{error}");
    let none = SetupRequest { regions: vec!["af-south-1".parse().unwrap()], ..own() };
    let error = refusal(MANAGEMENT.to_owned(), none).await;
    assert!(
        error.contains("af-south-1: its status in account 100000000001 is DISABLED"),
        "{error}"
    );

    // Once somebody else administers, the administrator's part is that account's.
    all_done(&enable(&organization, MANAGEMENT, &own()).await.unwrap());
    let error = refusal(member(0), SetupRequest::default()).await;
    assert!(error.contains(&help), "{error}");
    organization.edit(|state| {
        state.organizations.delegated.push(member(0));
    });
    let error = refusal(member(0), SetupRequest::default()).await;
    let expected = format!("does not administer GuardDuty for the organization: {ADMINISTRATOR}");
    assert!(error.contains(&expected), "{error}");
    organization.edit(|state| assert_eq!(state.guardduty.administrators.len(), 2));
}

#[tokio::test(start_paused = true)]
async fn another_administrator_in_any_region_is_named_and_nothing_is_changed() {
    for service in ["GuardDuty", "Security Hub"] {
        let organization = organization(1);
        organization.edit(|state| {
            let administrators = match service {
                "GuardDuty" => &mut state.guardduty.administrators,
                _ => &mut state.security_hub.administrators,
            };
            administrators.insert(OTHER.to_owned(), member(0));
        });
        let before = state(&organization);
        let refused = enable(&organization, MANAGEMENT, &both()).await.unwrap_err();
        let expected = format!(
            "{service} in {OTHER} is administered by {}, not by {ADMINISTRATOR}",
            member(0)
        );
        assert_eq!(refused, expected);
        assert!(changing(&organization).is_empty());
        assert_eq!(state(&organization), before);
    }
}

#[tokio::test(start_paused = true)]
async fn an_existing_setting_is_kept_and_never_lowered() {
    let organization = organization(1);
    let key = |account: &str| (account.to_owned(), HOME.to_owned());
    organization.edit(|state| {
        for account in [ADMINISTRATOR, MANAGEMENT] {
            state.guardduty.enable(account, HOME);
            state.security_hub.enable(account, HOME);
        }
        let detector = state.guardduty.settings.get_mut(&key(ADMINISTRATOR)).unwrap();
        detector.enabled = false;
        detector.on.insert("EKS_RUNTIME_MONITORING".to_owned(), true);
        detector.on.insert("EKS_RUNTIME_MONITORING/EKS_ADDON_MANAGEMENT".to_owned(), true);
        detector.on.insert("S3_DATA_EVENTS".to_owned(), true);
    });
    let ids = organization.edit(|state| state.guardduty.detectors.clone());
    let done = enable(&organization, MANAGEMENT, &both()).await.unwrap();
    all_done(&done);
    organization.edit(|state| {
        for (key, id) in &ids {
            assert_eq!(&state.guardduty.detectors[key], id);
        }
        let detector = &state.guardduty.settings[&key(ADMINISTRATOR)];
        assert!(detector.enabled);
        assert!(detector.on["EKS_RUNTIME_MONITORING"] && detector.on["LAMBDA_NETWORK_LOGS"]);
        assert!(!detector.on.contains_key("RUNTIME_MONITORING"));
        // Its members have neither yet, so they are given the newer one.
        assert_eq!(state.guardduty.configurations[HOME].features["RUNTIME_MONITORING"], "ALL");
    });
    let notes: Vec<&String> = done.works.iter().flat_map(|work| &work.notes).collect();
    assert_eq!(notes, ["RUNTIME_MONITORING is not changed because EKS_RUNTIME_MONITORING is on"]);
}

#[tokio::test(start_paused = true)]
async fn regions_and_services_that_are_not_there_are_skipped_with_the_reason() {
    let organization = organization(1);
    organization.edit(|state| {
        let offered = &mut state.regions.offered;
        offered.insert("eu-south-1".to_owned(), "DISABLED".to_owned());
        offered.insert("ap-south-1".to_owned(), "ENABLED_BY_DEFAULT".to_owned());
        // The administrator opted in, the management account did not.
        let key = (ADMINISTRATOR.to_owned(), "eu-south-1".to_owned());
        state.regions.chosen.insert(key, "ENABLED".to_owned());
        for service in ["guardduty", "securityhub"] {
            let key = (service.to_owned(), "ap-south-1".to_owned());
            state.regions.without_endpoint.insert(key);
        }
        state.regions.without_endpoint.insert(("securityhub".to_owned(), OTHER.to_owned()));
        state.guardduty.not_offered.insert((OTHER.to_owned(), "RDS_LOGIN_EVENTS".to_owned()));
    });
    let done = enable(&organization, MANAGEMENT, &both()).await.unwrap();
    let failed: Vec<_> = done.works.iter().filter(|work| work.failed()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let skipped: Vec<&str> = done.skipped.keys().map(|region| region.as_str()).collect();
    assert_eq!(skipped, ["af-south-1", "eu-south-1"]);
    let absent = done.works.iter().filter(|work| matches!(work.status, PlanStatus::Absent(_)));
    let absent: BTreeSet<(&str, Service)> =
        absent.map(|work| (work.region.as_str(), work.service)).collect();
    let expected = [
        ("ap-south-1", Service::GuardDuty),
        ("ap-south-1", Service::SecurityHub),
        (OTHER, Service::SecurityHub),
    ];
    assert_eq!(absent, expected.into());
    assert_set_up(&organization, HOME, 1);
    let notes: Vec<&String> = done.works.iter().flat_map(|work| &work.notes).collect();
    assert_eq!(notes, ["the Region does not offer RDS_LOGIN_EVENTS"]);
    organization.forget_calls();
    let again = enable(&organization, MANAGEMENT, &both()).await.unwrap();
    assert_eq!(again.changes().count(), 0, "{again:#?}");
    assert!(changing(&organization).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_denied_call_is_reported_for_its_region_and_the_others_continue() {
    for (service, operation) in [
        ("guardduty", "EnableOrganizationAdminAccount"),
        ("guardduty", "UpdateDetector"),
        ("guardduty", "ListMembers"),
        ("securityhub", "EnableOrganizationAdminAccount"),
        ("securityhub", "UpdateOrganizationConfiguration"),
        ("guardduty", "ListOrganizationAdminAccounts"),
    ] {
        let organization = organization(1);
        let denied = Effect::Error { status: 403, code: "AccessDeniedException".to_owned() };
        organization.inject(Fault {
            service: Some(service.to_owned()),
            region: Some(HOME.to_owned()),
            ..Fault::always(operation, denied)
        });
        let done = enable(&organization, MANAGEMENT, &both()).await.unwrap();
        assert!(done.failed(), "{operation}");
        let text = |work: &firebreak_onboarding::setup::Work| {
            let steps = work.steps.iter().filter_map(|step| match &step.outcome {
                StepOutcome::Failed(why) | StepOutcome::NotTried(why) => Some(why.clone()),
                StepOutcome::Planned | StepOutcome::Done => None,
            });
            let unread = match &work.status {
                PlanStatus::Unread(why) => Some(why.clone()),
                PlanStatus::Known | PlanStatus::Absent(_) => None,
            };
            steps.chain(unread).collect::<Vec<_>>().join("; ")
        };
        for work in done.works.iter().filter(|work| work.failed()) {
            assert_eq!(work.region.as_str(), HOME, "{operation}");
        }
        let all: String = done.works.iter().map(text).collect();
        assert!(all.contains(&format!("{service}:{operation} failed")), "{operation}: {all}");
        assert_set_up(&organization, OTHER, 1);
        // Once it is granted, the next run does the rest.
        organization.clear_faults();
        all_done(&enable(&organization, MANAGEMENT, &both()).await.unwrap());
        assert_set_up(&organization, HOME, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_designation_may_take_a_while() {
    let organization = organization(1);
    organization.edit(|state| {
        state.guardduty.designation_leaves_off = false;
    });
    let not_yet = Effect::Error { status: 400, code: "BadRequestException".to_owned() };
    organization
        .inject(Fault { times: 2, ..Fault::once("DescribeOrganizationConfiguration", not_yet) });
    all_done(&enable(&organization, MANAGEMENT, &both()).await.unwrap());
    assert_set_up(&organization, HOME, 1);
}

#[tokio::test(start_paused = true)]
async fn many_accounts_are_added_fifty_at_a_time_and_only_active_ones() {
    let organization = organization(120);
    organization.edit(|state| {
        let accounts = &mut state.organizations.accounts;
        accounts.get_mut(&member(7)).unwrap().state = "SUSPENDED".to_owned();
    });
    let done = enable(&organization, MANAGEMENT, &both()).await.unwrap();
    all_done(&done);
    let calls = changing(&organization);
    for service in ["guardduty", "securityhub"] {
        for region in [HOME, OTHER] {
            let of = |call: &&firebreak_simulation::CallRecord| {
                (call.service.as_str(), call.region.as_str(), call.operation.as_str())
                    == (service, region, "CreateMembers")
            };
            // 119 active members and the management account.
            assert_eq!(calls.iter().filter(of).count(), 3);
        }
    }
    let note = format!("{} is SUSPENDED: not added", member(7));
    let notes = done.works.iter().flat_map(|work| &work.notes);
    assert_eq!(notes.filter(|it| **it == note).count(), 4);
    assert_set_up(&organization, HOME, 119);
    organization.forget_calls();
    let again = enable(&organization, MANAGEMENT, &both()).await.unwrap();
    assert_eq!(again.changes().count(), 0);
    // An account that joins is the only one that is added.
    organization.add_account("r-fb01", "300000000001", "newcomer");
    let (_, _, plan) = plan(&organization, MANAGEMENT, &both()).await.unwrap();
    assert!(plan.changes().all(|change| change.to_string() == "add 1 member(s)"));
    assert_eq!(plan.changes().count(), 4);
}

#[tokio::test(start_paused = true)]
async fn accounts_that_a_service_refuses_are_named() {
    let organization = organization(1);
    // The administrator's part before the management account turned it on in itself.
    all_done(&enable(&organization, MANAGEMENT, &own()).await.unwrap());
    organization.edit(|state| {
        let key = (MANAGEMENT.to_owned(), HOME.to_owned());
        state.guardduty.detectors.remove(&key);
    });
    let done = enable(&organization, ADMINISTRATOR, &SetupRequest::default()).await.unwrap();
    let failed: Vec<String> = done
        .works
        .iter()
        .flat_map(|work| &work.steps)
        .filter_map(|step| match &step.outcome {
            StepOutcome::Failed(why) => Some(why.clone()),
            StepOutcome::Planned | StepOutcome::Done | StepOutcome::NotTried(_) => None,
        })
        .collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].starts_with(&format!("1 not added: {MANAGEMENT}: ")), "{failed:?}");
    assert!(failed[0].contains("help: run `firebreak org enable`"), "{failed:?}");
    organization.edit(|state| assert!(state.guardduty.members[HOME].contains_key(&member(0))));
}

#[tokio::test(start_paused = true)]
async fn central_configuration_is_left_alone() {
    let organization = organization(1);
    all_done(&enable(&organization, MANAGEMENT, &own()).await.unwrap());
    organization.edit(|state| {
        let mut central = firebreak_simulation::security_hub::model::Configuration::default();
        "CENTRAL".clone_into(&mut central.kind);
        "NONE".clone_into(&mut central.standards);
        for region in [HOME, OTHER] {
            state.security_hub.configurations.insert(region.to_owned(), central.clone());
        }
    });
    let before = state(&organization).1.configurations;
    let done = enable(&organization, ADMINISTRATOR, &SetupRequest::default()).await.unwrap();
    all_done(&done);
    assert_eq!(state(&organization).1.configurations, before);
    assert!(state(&organization).1.members.is_empty());
    let notes: Vec<&String> = done.works.iter().flat_map(|work| &work.notes).collect();
    assert_eq!(notes, ["the organization uses central configuration: its policies are kept"; 2]);
}

#[tokio::test(start_paused = true)]
async fn an_aggregator_elsewhere_forbids_every_change() {
    let organization = organization(1);
    all_done(&enable(&organization, MANAGEMENT, &own()).await.unwrap());
    organization.edit(|state| state.security_hub.home_region = Some(OTHER.to_owned()));
    organization.forget_calls();
    let refused = enable(&organization, ADMINISTRATOR, &SetupRequest::default()).await.unwrap_err();
    assert!(refused.contains(&format!("give --home-region {OTHER}")), "{refused}");
    assert!(changing(&organization).is_empty());
    let request = SetupRequest { home: OTHER.parse().ok(), ..SetupRequest::default() };
    all_done(&enable(&organization, ADMINISTRATOR, &request).await.unwrap());
    organization.edit(|state| assert_eq!(state.security_hub.home_region.as_deref(), Some(OTHER)));
}

/// Permissions that this run does without, and when they are needed.
const NOT_HERE: [(&str, &str); 10] = [
    ("management/guardduty:UpdateDetector", "where its own detector is suspended"),
    ("management/organizations:DescribeAccount", "GuardDuty's page asks for it"),
    ("administrator/guardduty:CreateThreatEntitySet", "threat-list put"),
    ("administrator/guardduty:CreateTrustedEntitySet", "threat-list put"),
    ("administrator/guardduty:GetThreatEntitySet", "threat-list put"),
    ("administrator/guardduty:GetTrustedEntitySet", "threat-list put"),
    ("administrator/guardduty:ListThreatEntitySets", "threat-list put"),
    ("administrator/guardduty:ListTrustedEntitySets", "threat-list put"),
    ("administrator/guardduty:UpdateThreatEntitySet", "threat-list put"),
    ("administrator/guardduty:UpdateTrustedEntitySet", "threat-list put"),
];

/// Whether each account does its part, and a second look at it, with its role.
async fn complete(organization: &Organization) -> bool {
    organization.edit(|state| {
        state.guardduty.designation_leaves_off = true;
        state.security_hub.designation_leaves_off = true;
    });
    // A session of the role once, so that the permission for it is needed.
    if begin(organization, MANAGEMENT, &both()).await.is_err() {
        return false;
    }
    for (account, request) in [
        (MANAGEMENT, own()),
        (ADMINISTRATOR, SetupRequest::default()),
        (ADMINISTRATOR, SetupRequest::default()),
        (MANAGEMENT, SetupRequest { administrator: None, ..both() }),
    ] {
        match enable(organization, account, &request).await {
            Ok(plan) if !plan.failed() => {}
            Ok(_) | Err(_) => return false,
        }
    }
    true
}

#[tokio::test(start_paused = true)]
async fn every_permission_that_the_page_grants_is_needed() {
    assert!(complete(&organization(1)).await);
    let mut missing = 0;
    for (part, account) in [("management", MANAGEMENT), ("administrator", ADMINISTRATOR)] {
        for action in crate::deploy::organization::granted_actions(part) {
            let name = format!("{part}/{action}");
            if action.starts_with("s3:") || NOT_HERE.iter().any(|(it, _)| *it == name) {
                continue;
            }
            let organization = organization(1);
            crate::deploy::organization::deny(&organization, account, &action);
            assert!(!complete(&organization).await, "{name} is not needed");
            missing += 1;
        }
    }
    assert!(missing > 35, "{missing}");
}
