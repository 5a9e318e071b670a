//! `org coverage`: what is covered is told as covered, each thing that is missing
//! as missing, and an interrupted survey goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use firebreak_aws::config;
use firebreak_aws::policies::{Author, Policies};
use firebreak_aws::settings::Settings;
use firebreak_aws::store::Store;
use firebreak_onboarding::aws::coverage::{KEPT_EVERY, Surveyor};
use firebreak_onboarding::aws::setup::{Setup, SetupRequest};
use firebreak_onboarding::coverage::{
    self, AccountStatus, CoverageStatus, Matrix, SecurityHubUse, Survey, SurveyContext,
};
use firebreak_onboarding::stacksets::{self, DIGEST_TAG, SPOKE};
use firebreak_policy::StoredDocument;
use firebreak_response::audit_event::{AuditEvent, AuditKind};
use firebreak_simulation::events;
use firebreak_simulation::events::rules::{self, Rule, Target};
use firebreak_simulation::{CallRecord, Effect, Fault, Options, Organization, Process};
use firebreak_spoke::registry;
use firebreak_testkit::repository::template;
use firebreak_testkit::sample::sample;
use serde_json::{Value, json};

use crate::deploy::organization::{
    ADMINISTRATOR, HOME, MANAGEMENT, OTHER, actions_of, all_done, both, enable, granted_under,
    member, organization_with,
};
use crate::deploy::program::{serving, texts};

const OPERATOR: &str = "Operator";
const EXTERNAL_ID: &str = "coverage-test";
const SPOKE_ROLE: &str = "FirebreakSpoke";
const HEADING: &str = "### The coverage command's permissions";

const POLICY: &str = "attach: r-fb01
rules:
  - name: instances
    when:
      type: [{ wildcard: \"*:EC2/*\" }]
    mode: auto
    then: [isolate-instance]
";

fn settings() -> Settings {
    Settings::new(EXTERNAL_ID)
}

fn digest() -> String {
    let all: Vec<_> = registry::all().iter().collect();
    stacksets::render(SPOKE, &all).unwrap().digest
}

/// The spoke role as its template tags it, trusting as it does.
fn add_spoke_role(organization: &Organization, account: &str) {
    let condition = |more: Value| {
        let mut condition = json!({ "aws:PrincipalOrgID": "o-fb01deploy" });
        condition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({
            "ArnEquals": { "aws:PrincipalArn": format!("arn:aws:iam::{ADMINISTRATOR}:role/{OPERATOR}") },
            "StringEquals": condition,
        })
    };
    let principal = json!({ "AWS": format!("arn:aws:iam::{ADMINISTRATOR}:root") });
    let trust = json!({ "Statement": [
        {
            "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole",
            "Condition": condition(json!({ "sts:ExternalId": EXTERNAL_ID })),
        },
        {
            "Effect": "Allow", "Principal": principal,
            "Action": ["sts:SetSourceIdentity", "sts:TagSession"],
            "Condition": condition(json!({})),
        },
    ]});
    let reads = json!({ "Statement": [
        { "Effect": "Allow", "Action": "iam:ListRoleTags", "Resource": "*" },
    ]});
    organization.add_role(account, "/", SPOKE_ROLE, trust, reads);
    let template = template("spoke.yaml");
    let tags = template.pointer("/Resources/SpokeRole/Properties/Tags").unwrap();
    organization.edit(|state| {
        let role = state.iam(account).roles.get_mut(SPOKE_ROLE).unwrap();
        for tag in tags.as_array().unwrap() {
            let text = |name: &str| tag[name].as_str().unwrap().to_owned();
            role.identity.tags.insert(text("Key"), text("Value"));
        }
    });
}

/// The rules of stacksets/region.yaml; Security Hub's where it gathers findings.
fn add_rules(organization: &Organization) {
    let template = template("region.yaml");
    let resources = template["Resources"].as_object().unwrap();
    for region in [HOME, OTHER] {
        for resource in resources.values().filter(|it| it["Type"] == "AWS::Events::Rule") {
            if resource["Condition"] == "ForwardsSecurityHub" && region != HOME {
                continue;
            }
            let properties = &resource["Properties"];
            let rule = Rule {
                bus: events::arn(ADMINISTRATOR, region, "default"),
                pattern: Some(properties["EventPattern"].clone()),
                schedule: None,
                targets: vec![Target {
                    id: "hub".to_owned(),
                    arn: events::arn(ADMINISTRATOR, HOME, "firebreak"),
                    role: None,
                    dead_letters: None,
                    group: None,
                }],
                is_enabled: true,
            };
            organization.edit(|state| {
                let name = properties["Name"].as_str().unwrap();
                let arn = rules::arn(ADMINISTRATOR, region, name);
                state.events.rules.insert(arn, rule);
            });
        }
    }
}

/// An organization of which nothing is missing.
async fn covered_with(members: usize, options: Options) -> Organization {
    let organization = organization_with(members, options);
    all_done(&enable(&organization, MANAGEMENT, &both()).await.unwrap());
    let lambda = json!({ "Statement": [] });
    organization.add_role(ADMINISTRATOR, "/", OPERATOR, lambda.clone(), granted_under(HEADING));
    let all =
        json!({ "Statement": [{ "Effect": "Allow", "Action": "dynamodb:*", "Resource": "*" }] });
    organization.add_role(ADMINISTRATOR, "/", "Hub", lambda, all);
    for account in accounts(members) {
        add_spoke_role(&organization, &account);
    }
    add_rules(&organization);
    let hub = configured(&organization, &organization.process(), "Hub").await;
    Store::new(&hub, &settings()).create_table().await.unwrap();
    let policies = Policies::new(&hub, &settings(), registry::catalog());
    let document = StoredDocument {
        attach: "r-fb01".to_owned(),
        file: "root.yaml".to_owned(),
        text: POLICY.to_owned(),
    };
    let before = policies.version().await.unwrap();
    let author = Author { by: "test".to_owned(), note: String::new() };
    policies.push(&[document], &before, &author).await.unwrap();
    organization.forget_calls();
    organization
}

async fn covered() -> Organization {
    covered_with(2, Options::default()).await
}

/// Every account: the management account, the administrator, the members.
fn accounts(members: usize) -> Vec<String> {
    let members = (0..members).map(member);
    [MANAGEMENT.to_owned(), ADMINISTRATOR.to_owned()].into_iter().chain(members).collect()
}

async fn configured(
    organization: &Organization,
    process: &Process,
    role: &str,
) -> aws_config::SdkConfig {
    let session = organization.role_session(ADMINISTRATOR, role, "somebody");
    let (time, region) = (organization.time_source(), HOME.parse().unwrap());
    config::with_http_client(process.http_client(), session, time, &region).await
}

fn except(accounts: &[&str]) -> BTreeSet<firebreak_model::resource::AccountId> {
    accounts.iter().map(|account| account.parse().unwrap()).collect()
}

/// One run of the command in a process that may die; what is kept stands in
/// `kept` as the text of the file.
async fn run_in(
    organization: &Organization,
    process: &Process,
    kept: &mut Option<String>,
    left_out: &[&str],
) -> Result<Matrix, String> {
    let config = configured(organization, process, OPERATOR).await;
    let setup =
        Setup::begin(&config, &SetupRequest::default()).await.map_err(|it| it.to_string())?;
    let surveyor = Surveyor::new(setup, settings()).map_err(|it| it.to_string())?;
    let question = surveyor.question(digest(), SecurityHubUse::Wanted);
    let now = surveyor.now();
    let mut survey = match kept.as_ref() {
        Some(text) => {
            let survey: Survey = serde_json::from_str(text).unwrap();
            survey.resume(&question, now).unwrap()
        }
        None => Survey::new(question, now),
    };
    let except = except(left_out);
    let mut keep = |survey: &Survey| {
        *kept = Some(serde_json::to_string(survey).unwrap());
        Ok(())
    };
    let read = surveyor.read(&mut survey, &except, &|_: &str| {}, &mut keep).await;
    read.map_err(|it| it.to_string())?;
    let policy = surveyor.policy().await.map_err(|it| it.to_string());
    let last = surveyor.last_findings(30).await.map_err(|it| it.to_string());
    let skipped = surveyor.skipped().clone();
    let policy = policy.as_deref().map_err(String::as_str);
    Ok(coverage::matrix(&survey, &SurveyContext { policy, last, except, skipped }))
}

async fn run(organization: &Organization) -> Matrix {
    run_in(organization, &organization.process(), &mut None, &[]).await.unwrap()
}

/// Every gap that is reported.
fn missing(matrix: &Matrix) -> Vec<String> {
    let regions = matrix.regions.iter().filter(|row| row.forwarding.status.is_missing());
    let regions = regions.map(|row| format!("{}: {}", row.region, row.forwarding.detail));
    let accounts = matrix.accounts.iter();
    let accounts =
        accounts.flat_map(|row| row.gaps.iter().map(|gap| format!("{}: {gap}", row.account)));
    regions.chain(accounts).chain(matrix.problems.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn without_a_gap_nothing_is_reported_and_nothing_is_changed() {
    let organization = covered().await;
    let matrix = run(&organization).await;
    assert_eq!(missing(&matrix), Vec::<String>::new());
    assert!(matrix.complete && matrix.notes.is_empty(), "{matrix:#?}");
    assert_eq!((matrix.summary.accounts, matrix.summary.covered), (4, 4));
    for region in &matrix.regions {
        assert_eq!((region.guardduty, region.security_hub), (4, 4), "{}", region.region);
    }
    assert!(matrix.skipped.keys().any(|region| region.as_str() == "af-south-1"));
    for row in &matrix.accounts {
        assert_eq!(row.modes["EC2"].to_string(), "nothing..auto", "{:?}", row.modes);
        assert_eq!(row.modes["S3"].to_string(), "nothing");
        assert_eq!(row.last_finding, None);
    }
    let calls = organization.take_calls();
    let changing = calls.iter().filter(|call| call.mutating && call.service != "sts");
    assert_eq!(changing.count(), 0);
}

type Change = fn(&Organization);

/// Makes a change; exactly this gap is reported.
async fn check(cases: &[(Change, &str)]) {
    for (change, expected) in cases {
        let organization = covered().await;
        change(&organization);
        let matrix = run(&organization).await;
        let gaps = missing(&matrix);
        assert!(gaps.len() == 1 && gaps[0].starts_with(expected), "{expected}: {gaps:?}");
        assert!(!matrix.complete);
    }
}

#[tokio::test(start_paused = true)]
async fn each_gap_of_an_account_is_reported() {
    fn role<T>(
        organization: &Organization,
        change: impl FnOnce(&mut firebreak_simulation::iam::model::Role) -> T,
    ) {
        organization.edit(|state| {
            change(state.iam(&member(1)).roles.get_mut(SPOKE_ROLE).unwrap());
        });
    }
    check(&[
        (
            |it| {
                it.edit(|state| {
                    drop(state.guardduty.members.get_mut(OTHER).unwrap().remove(&member(1)));
                });
            },
            "200000000002: GuardDuty in us-east-1: not a member",
        ),
        (
            |it| {
                it.edit(|state| {
                    let members = state.guardduty.members.get_mut(OTHER).unwrap();
                    "Disabled".clone_into(&mut members.get_mut(&member(1)).unwrap().status);
                });
            },
            "200000000002: GuardDuty in us-east-1: a member that is Disabled",
        ),
        (
            |it| {
                it.edit(|state| {
                    drop(state.security_hub.members.get_mut(HOME).unwrap().remove(&member(1)));
                });
            },
            "200000000002: Security Hub in eu-central-1: not a member",
        ),
        (
            |it| it.edit(|state| drop(state.iam(&member(1)).roles.remove(SPOKE_ROLE))),
            "200000000002: spoke role: cannot open a session of `arn:aws:iam::200000000002:role/FirebreakSpoke`",
        ),
        (
            |it| role(it, |role| role.trust["Statement"].as_array_mut().unwrap().pop()),
            "200000000002: spoke role: cannot open a session of",
        ),
        (
            |it| {
                role(it, |role| role.identity.tags.insert(DIGEST_TAG.to_owned(), "old".to_owned()));
            },
            "200000000002: spoke role: assumed, but its permissions are `old`, not `",
        ),
        (
            |it| role(it, |role| role.identity.tags.clear()),
            "200000000002: spoke role: assumed, but it has no tag with the digest `",
        ),
        (
            |it| role(it, |role| role.identity.inline.clear()),
            "200000000002: spoke role: assumed, but its tags cannot be read: ",
        ),
        (
            |it| {
                it.edit(|state| {
                    let key = (ADMINISTRATOR.to_owned(), HOME.to_owned());
                    state.guardduty.settings.get_mut(&key).unwrap().enabled = false;
                });
            },
            "100000000002: GuardDuty in eu-central-1: off in the administrator's account",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn each_gap_of_a_region_is_reported() {
    fn rule(organization: &Organization, name: &str, change: impl FnOnce(&mut Rule)) {
        let arn = rules::arn(ADMINISTRATOR, HOME, name);
        organization.edit(|state| change(state.events.rules.get_mut(&arn).unwrap()));
    }
    check(&[
        (
            |it| {
                let arn = rules::arn(ADMINISTRATOR, HOME, "firebreak-security-hub-other");
                it.edit(|state| drop(state.events.rules.remove(&arn)));
            },
            "eu-central-1: there is no rule `firebreak-security-hub-other`",
        ),
        (
            |it| rule(it, "firebreak-guardduty", |rule| rule.is_enabled = false),
            "eu-central-1: the rule `firebreak-guardduty` is DISABLED",
        ),
        (
            |it| rule(it, "firebreak-guardduty", |rule| rule.targets.clear()),
            "eu-central-1: the rule `firebreak-guardduty` has no target `event-bus/firebreak` of",
        ),
        (
            |it| {
                rule(it, "firebreak-security-hub", |rule| {
                    let pattern = rule.pattern.as_ref().unwrap().to_string();
                    let changed = pattern.replace("\"NEW\"", "\"RESOLVED\"");
                    rule.pattern = Some(serde_json::from_str(&changed).unwrap());
                });
            },
            "eu-central-1: the pattern of the rule `firebreak-security-hub` excludes findings",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_does_not_reach_an_account_is_a_gap() {
    let organization = covered().await;
    let hub = configured(&organization, &organization.process(), "Hub").await;
    let policies = Policies::new(&hub, &settings(), registry::catalog());
    let before = policies.version().await.unwrap();
    let document = StoredDocument {
        attach: member(0),
        file: "one.yaml".to_owned(),
        text: POLICY.replace("r-fb01", &format!("\"{}\"", member(0))),
    };
    let author = Author { by: "test".to_owned(), note: String::new() };
    policies.push(&[document], &before, &author).await.unwrap();
    let matrix = run(&organization).await;
    assert_eq!(matrix.summary.without_policy, 3, "{:?}", missing(&matrix));
    assert!(missing(&matrix).iter().all(|gap| gap.contains(": policy: no policy document covers")));
    // And where there is none at all, nothing is covered.
    let gone = Effect::Error { status: 400, code: "ResourceNotFoundException".to_owned() };
    organization.inject(Fault {
        service: Some("dynamodb".to_owned()),
        times: u32::MAX,
        effect: gone,
        ..Fault::default()
    });
    let matrix = run(&organization).await;
    assert!(matrix.problems[0].starts_with("the policy cannot be read: "), "{matrix:?}");
    assert!(matrix.notes[0].starts_with("the last findings cannot be read: "));
    assert!(!matrix.complete);
}

#[tokio::test(start_paused = true)]
async fn suspended_accounts_are_reported_and_some_are_left_out_on_purpose() {
    let organization = covered_with(3, Options::default()).await;
    organization.edit(|state| {
        let accounts = &mut state.organizations.accounts;
        accounts.get_mut(&member(0)).unwrap().state = "SUSPENDED".to_owned();
        accounts.get_mut(&member(1)).unwrap().state = "PENDING_CLOSURE".to_owned();
        for account in [MANAGEMENT.to_owned(), member(0), member(1)] {
            state.iam(&account).roles.remove(SPOKE_ROLE);
        }
    });
    organization.forget_calls();
    let process = organization.process();
    let matrix = run_in(&organization, &process, &mut None, &[MANAGEMENT]).await.unwrap();
    let standings: BTreeMap<String, AccountStatus> =
        matrix.accounts.iter().map(|row| (row.account.to_string(), row.status)).collect();
    assert_eq!(standings[MANAGEMENT], AccountStatus::Excepted);
    assert_eq!(standings[&member(0)], AccountStatus::Inactive);
    // It still works, so it counts.
    assert_eq!(standings[&member(1)], AccountStatus::Gaps);
    assert_eq!(standings[&member(2)], AccountStatus::Covered);
    assert_eq!(matrix.accounts[2].spoke.detail, "the account is SUSPENDED");
    let calls = organization.take_calls();
    let assumed = calls.iter().filter(|call| call.operation == "AssumeRole").count();
    assert_eq!(assumed, 3, "the suspended account and the one left out are not tried");
    // Whom to leave out has to exist.
    let process = organization.process();
    let matrix = run_in(&organization, &process, &mut None, &["300000000001"]).await.unwrap();
    assert!(matrix.problems[0].contains("300000000001 was given by --except"), "{matrix:?}");
}

#[tokio::test(start_paused = true)]
async fn the_last_day_with_a_decision_is_reported() {
    let organization = covered().await;
    let hub = configured(&organization, &organization.process(), "Hub").await;
    let store = Store::new(&hub, &settings());
    for (days, index) in [(9, 0), (3, 0), (40, 1)] {
        let at = organization.now() - jiff::SignedDuration::from_hours(24 * days);
        let event = AuditEvent::new(AuditKind::Decided, &member(index), "hub", "why", at);
        store.write_event(&event).await.unwrap();
    }
    let matrix = run(&organization).await;
    let day = organization.now() - jiff::SignedDuration::from_hours(24 * 3);
    let day = day.to_string()[..10].to_owned();
    let last: Vec<Option<&str>> =
        matrix.accounts.iter().map(|row| row.last_finding.as_deref()).collect();
    // Forty days ago is longer than is looked back.
    assert_eq!(last, [None, None, Some(day.as_str()), None]);
}

#[tokio::test(start_paused = true)]
async fn a_survey_that_dies_at_any_call_resumes_to_the_same_result() {
    let organization = covered().await;
    organization.edit(|state| drop(state.iam(&member(1)).roles.remove(SPOKE_ROLE)));
    let mut expected = run(&organization).await;
    let calls = organization.take_calls();
    let deaths: Vec<(u32, &CallRecord)> = (0..).zip(&calls).collect();
    let deaths = sample("deaths at every call of org coverage", deaths);
    let mut shorter = 0;
    for &(after, call) in &deaths {
        organization.inject(Fault {
            after,
            times: 1,
            effect: Effect::CrashBefore,
            ..Fault::default()
        });
        let (process, mut kept) = (organization.process(), None);
        let died = tokio::select! {
            biased;
            () = process.died() => true,
            _ = run_in(&organization, &process, &mut kept, &[]) => false,
        };
        assert!(died, "{}:{} was not met", call.service, call.operation);
        organization.clear_faults();
        organization.forget_calls();
        let process = organization.process();
        let matrix = run_in(&organization, &process, &mut kept, &[]).await.unwrap();
        expected.began = matrix.began;
        assert!(matrix == expected, "{}:{}", call.service, call.operation);
        shorter += usize::from(organization.take_calls().len() < calls.len());
    }
    assert!(shorter > deaths.len() / 2, "{shorter} of {} runs resumed", deaths.len());
}

#[tokio::test(start_paused = true)]
async fn a_cell_that_could_not_be_read_is_unknown_and_read_again() {
    let organization = covered().await;
    let denied = Effect::Error { status: 400, code: "AccessDeniedException".to_owned() };
    let fault = Fault::always("DescribeRule", denied);
    organization.inject(Fault { region: Some(OTHER.to_owned()), ..fault });
    let mut kept = None;
    let process = organization.process();
    let matrix = run_in(&organization, &process, &mut kept, &[]).await.unwrap();
    let row = matrix.regions.iter().find(|row| row.region.as_str() == OTHER).unwrap();
    assert_eq!(row.forwarding.status, CoverageStatus::Unknown, "{row:?}");
    assert!(!matrix.complete);
    organization.clear_faults();
    organization.forget_calls();
    let process = organization.process();
    let matrix = run_in(&organization, &process, &mut kept, &[]).await.unwrap();
    assert!(matrix.complete, "{:?}", missing(&matrix));
    let calls = organization.take_calls();
    let count = |operation: &str| calls.iter().filter(|it| it.operation == operation).count();
    assert_eq!((count("AssumeRole"), count("ListAccounts")), (0, 0));
    assert_eq!(count("DescribeRule"), 3, "of the one Region that was left");
}

#[tokio::test(start_paused = true)]
async fn many_accounts_are_read_once_at_a_pace_and_kept_in_between() {
    let members = 400;
    let organization = covered_with(members, Options::default()).await;
    let began = tokio::time::Instant::now();
    let mut kept = None;
    let process = organization.process();
    let fault = Fault::once("ListRoleTags", Effect::CrashBefore);
    organization.inject(Fault { after: u32::try_from(KEPT_EVERY).unwrap() + 60, ..fault });
    let died = tokio::select! {
        biased;
        () = process.died() => true,
        _ = run_in(&organization, &process, &mut kept, &[]) => false,
    };
    assert!(died);
    organization.clear_faults();
    let calls = organization.take_calls();
    let listed = calls.iter().filter(|call| call.operation == "ListAccounts").count();
    assert_eq!(listed, 402_usize.div_ceil(20));
    // 21 pages at 8 a second, after a burst of 12.
    assert!(began.elapsed().as_millis() >= 1_000, "{:?}", began.elapsed());
    let process = organization.process();
    let matrix = run_in(&organization, &process, &mut kept, &[]).await.unwrap();
    assert!(matrix.complete, "{:?}", missing(&matrix));
    let calls = organization.take_calls();
    let count = |operation: &str| calls.iter().filter(|it| it.operation == operation).count();
    assert_eq!((count("ListAccounts"), count("DescribeRule")), (0, 0));
    assert_eq!(count("AssumeRole"), members + 2 - KEPT_EVERY);
}

#[tokio::test(start_paused = true)]
async fn every_permission_that_the_page_grants_is_needed() {
    let organization = covered().await;
    let actions = actions_of(&granted_under(HEADING));
    assert!(actions.len() > 15, "{actions:?}");
    for action in actions {
        let deny = json!({ "Statement": [
            { "Effect": "Deny", "Action": action, "Resource": "*" },
        ]});
        organization.edit(|state| {
            let role = state.iam(ADMINISTRATOR).roles.get_mut(OPERATOR).unwrap();
            role.identity.inline.insert("denied".to_owned(), deny);
        });
        let matrix = run_in(&organization, &organization.process(), &mut None, &[]).await;
        assert!(matrix.is_err() || matrix.is_ok_and(|it| !it.complete), "{action} is not needed");
    }
}

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("firebreak-coverage-{}-{name}", std::process::id()))
}

#[test]
fn the_program_reports_coverage_in_every_format_with_its_exit_code() {
    let served = serving(|options| covered_with(1, options));
    served.organization.edit(|state| {
        let account = state.organizations.accounts.get_mut(&member(0)).unwrap();
        account.name = "=<b>\"shop\"</b>".to_owned();
    });
    let run = |arguments: &[&str]| {
        let environment = [("FIREBREAK_EXTERNAL_ID", EXTERNAL_ID)];
        let arguments: Vec<&str> = ["coverage"].iter().chain(arguments).copied().collect();
        texts(&served.run_as((ADMINISTRATOR, OPERATOR), &environment, &arguments))
    };
    let (page, state) = (temporary("page.html"), temporary("state.json"));
    let (page_path, state_path) = (page.to_str().unwrap(), state.to_str().unwrap());
    let (code, text, error) = run(&["--html", page_path, "--resume", state_path, "--all"]);
    assert_eq!(code, Some(0), "{error}{text}");
    assert!(text.contains("nothing is missing") && text.contains("3 covered"), "{text}");
    assert!(error.contains("spoke roles: 3 of 3 tried"), "{error}");
    assert!(!state.exists(), "all was read");
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("=&lt;b&gt;") && !html.contains("<b>"), "{html}");
    for loaded in ["<script", "<link", "src=", "url(", "http"] {
        assert!(!html.contains(loaded), "{loaded}");
    }

    // Something is missing, and a Region cannot be read.
    served.organization.edit(|state| {
        state.iam(&member(0)).roles.remove(SPOKE_ROLE);
    });
    let denied = Effect::Error { status: 400, code: "AccessDeniedException".to_owned() };
    let fault = Fault::always("DescribeRule", denied);
    served.organization.inject(Fault { region: Some(OTHER.to_owned()), ..fault });
    let (code, text, error) = run(&["--resume", state_path, "--output", "json"]);
    assert_eq!(code, Some(1), "{error}");
    let matrix: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(matrix["complete"], false);
    assert_eq!(matrix["summary"]["without_spoke"], 1, "{text}");
    assert!(state.exists() && error.contains("not everything could be read"), "{error}");
    served.organization.clear_faults();
    let (code, csv, error) = run(&["--resume", state_path, "--format", "csv"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(!state.exists());
    assert_eq!(csv.lines().count(), 1 + 3 * 2, "{csv}");
    let row = csv.lines().find(|line| line.starts_with(&member(0))).unwrap();
    assert!(row.contains(",\"'=<b>\"\"shop\"\"</b>\",ACTIVE,r-fb01,gaps,"), "{row}");
    let (code, text, error) = run(&[]);
    assert_eq!(code, Some(1), "{error}");
    assert!(text.contains("1 account(s) without a spoke role"), "{text}");

    // Another question, and none that can be answered.
    std::fs::write(&state, "{}").unwrap();
    let (code, _, error) = run(&["--resume", state_path]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("help: remove the file to start again"), "{error}");
    let (code, _, error) = run(&["--actions", "nonsense"]);
    assert_eq!(code, Some(2), "{error}");
    std::fs::remove_file(&state).unwrap();
    std::fs::remove_file(&page).unwrap();
}
