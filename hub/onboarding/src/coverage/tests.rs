//! Tests: surveys, and the matrix of each.

use firebreak_spoke::registry;
use std::collections::{BTreeMap, BTreeSet};

use firebreak_model::resource::{AccountId, Region};
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::setup::Reading;
use firebreak_policy::{Policy, StoredDocument};

const HOME: &str = "eu-central-1";

fn account(number: u64) -> AccountId {
    format!("{number:012}").parse().unwrap()
}

fn region(name: &str) -> Region {
    name.parse().unwrap()
}

fn question() -> Question {
    Question {
        management: account(1),
        administrator: account(2),
        home: region(HOME),
        regions: vec![region(HOME), region("us-east-1")],
        spoke_role: "FirebreakSpoke".to_owned(),
        digest: "current".to_owned(),
        security_hub: SecurityHubUse::Wanted,
    }
}

fn seen(home: bool) -> RegionSurvey {
    let members = [1, 3].map(|id| (account(id), "Enabled".to_owned())).into();
    let members = Members { own: true, members };
    let rule = |wanted: &RuleWanted| {
        let (source, detail_type) = if wanted.name == "firebreak-guardduty" {
            ("aws.guardduty", "GuardDuty Finding")
        } else if wanted.name == "firebreak-security-hub" {
            ("aws.securityhub", "Security Hub Findings - Imported")
        } else {
            ("aws.securityhub", "Security Hub Findings - Custom Action")
        };
        Rule::Present {
            state: "ENABLED".to_owned(),
            pattern: format!(r#"{{"source":["{source}"],"detail-type":["{detail_type}"]}}"#),
            targets: vec![format!("arn:aws:events:{HOME}:{}:event-bus/firebreak", account(2))],
        }
    };
    let rules = RULES.iter().map(|wanted| {
        let there = home || wanted.name == "firebreak-guardduty";
        let rule = if there { rule(wanted) } else { Rule::Missing };
        (wanted.name.to_owned(), Reading::Read(rule))
    });
    RegionSurvey {
        guardduty: Reading::Read(members.clone()),
        security_hub: Reading::Read(members),
        aggregates_in: home.then(|| region(HOME)),
        rules: rules.collect(),
    }
}

/// The management account 1, the administrator 2, the member 3; all is there.
fn complete() -> Survey {
    let mut survey = Survey::new(question(), Timestamp::UNIX_EPOCH);
    survey.accounts = [1, 2, 3]
        .map(|id| SurveyedAccount {
            id: account(id),
            name: format!("account-{id}"),
            state: "ACTIVE".to_owned(),
            ou_path: "r-fb01".parse().ok(),
        })
        .into();
    survey.regions = [(region(HOME), seen(true)), (region("us-east-1"), seen(false))].into();
    let spoke = Spoke::Assumed { digest: Some("current".to_owned()) };
    survey.spokes = [1, 2, 3].map(|id| (account(id), spoke.clone())).into();
    survey
}

fn policy() -> Policy {
    Policy::from_stored(vec![StoredDocument {
        attach: "r-fb01".to_owned(),
        file: "root.yaml".to_owned(),
        text: "attach: r-fb01\nrules:\n  - name: all\n    mode: observe\n    then: [isolate-instance]\n".to_owned(),
    }], registry::catalog())
}

fn matrix_of(survey: &Survey) -> Matrix {
    let policy = policy();
    matrix(
        survey,
        &SurveyContext {
            policy: Ok(&policy),
            last: Ok(BTreeMap::from([(account(3), jiff::civil::date(2026, 11, 20))])),
            except: BTreeSet::new(),
            skipped: BTreeMap::new(),
        },
    )
}

#[test]
fn a_complete_survey_has_no_gap() {
    let matrix = matrix_of(&complete());
    assert!(matrix.complete, "{matrix:#?}");
    let Summary { accounts, covered, gaps, modes, .. } = &matrix.summary;
    assert_eq!((*accounts, *covered, *gaps), (3, 3, 0));
    assert_eq!(modes["EC2"], BTreeMap::from([("observe".to_owned(), 3)]));
    assert_eq!(matrix.accounts[2].last_finding.as_deref(), Some("2026-11-20"));
    assert_eq!(matrix.accounts[0].modes["EC2"].to_string(), "observe");
}

#[test]
fn an_unread_part_counts_as_missing() {
    let changes: [fn(&mut Survey); 6] = [
        |survey| drop(survey.regions.remove(&region("us-east-1"))),
        |survey| drop(survey.spokes.remove(&account(3))),
        |survey| survey.accounts[2].ou_path = None,
        |survey| survey.accounts.clear(),
        |survey| {
            let home = survey.regions.get_mut(&region(HOME)).unwrap();
            home.guardduty = Reading::Unread("throttled".to_owned());
        },
        |survey| {
            survey.spokes.insert(account(1), Spoke::Unread("throttled".to_owned()));
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut survey = complete();
        change(&mut survey);
        assert!(!matrix_of(&survey).complete, "{number}");
    }
}

#[test]
fn a_service_that_a_region_does_not_have_is_not_needed() {
    let mut survey = complete();
    let other = survey.regions.get_mut(&region("us-east-1")).unwrap();
    other.security_hub = Reading::Absent("the Region has no endpoint of securityhub".to_owned());
    let matrix = matrix_of(&survey);
    assert!(matrix.complete);
    let row = &matrix.accounts[2];
    assert_eq!(row.security_hub[&region("us-east-1")].status, CoverageStatus::NotNeeded);
}

#[test]
fn without_an_aggregator_each_region_forwards_security_hub_s_findings() {
    let mut survey = complete();
    survey.regions.get_mut(&region(HOME)).unwrap().aggregates_in = None;
    let matrix = matrix_of(&survey);
    assert!(!matrix.complete);
    let forwarding = &matrix.regions[1].forwarding;
    assert_eq!(
        forwarding.detail,
        "there is no rule `firebreak-security-hub`, there is no rule `firebreak-security-hub-other`"
    );
    survey.question.security_hub = SecurityHubUse::Unused;
    assert!(matrix_of(&survey).complete);
}

#[test]
fn the_same_gap_in_several_regions_is_reported_once() {
    let mut survey = complete();
    for seen in survey.regions.values_mut() {
        let Reading::Read(members) = &mut seen.guardduty else { continue };
        members.members.remove(&account(3));
    }
    let gaps = &matrix_of(&survey).accounts[2].gaps;
    assert_eq!(gaps, &["GuardDuty in eu-central-1, us-east-1: not a member"]);
}

#[test]
fn a_survey_resumes_with_the_missing_parts() {
    let mut survey = complete();
    survey.spokes.insert(account(1), Spoke::Unread("throttled".to_owned()));
    survey.spokes.insert(account(3), Spoke::Unusable("denied".to_owned()));
    let other = survey.regions.get_mut(&region("us-east-1")).unwrap();
    other.rules.insert("firebreak-guardduty".to_owned(), Reading::Unread("denied".to_owned()));
    survey.accounts[1].state = "SUSPENDED".to_owned();
    survey.spokes.remove(&account(2));
    assert!(!survey.is_read());
    let text = serde_json::to_string(&survey).unwrap();
    let read: Survey = serde_json::from_str(&text).unwrap();
    assert_eq!(read, survey);
    let resumed = read.resume(&question(), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(resumed.regions_left(), [region("us-east-1")]);
    assert_eq!(resumed.spokes_left(&BTreeSet::new()), [account(1)]);
    assert!(resumed.spokes_left(&BTreeSet::from([account(1)])).is_empty());
    let late = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(25);
    assert!(survey.clone().resume(&question(), late).is_err());
    assert!(Survey { format: 2, ..survey }.resume(&question(), late).is_err());
}

#[test]
fn a_page_shows_what_is_missing_and_keeps_names_as_text() {
    let mut survey = complete();
    survey.accounts[2].name = "<script>alert(1)</script>".to_owned();
    survey.spokes.insert(account(3), Spoke::Unusable("not \"admitted\"".to_owned()));
    let matrix = matrix_of(&survey);
    let page = page(&matrix).into_string();
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("title=\"spoke role: not &quot;admitted&quot;\""), "{page}");
    let csv = String::from_utf8(csv(&matrix).unwrap()).unwrap();
    assert_eq!(csv.lines().count(), 1 + 3 * 2);
}
