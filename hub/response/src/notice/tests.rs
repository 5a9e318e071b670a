use firebreak_model::action::Phase;
use firebreak_model::resource::{AccountId, Region, ResourceKind};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::record::{FORMAT, Step, StepState};
use firebreak_policy::{Budget, CountedBy, Window};

fn step(action: &str, phase: Phase, state: StepState, detail: &str) -> Step {
    Step {
        action: action.to_owned(),
        phase,
        parameters: Value::Null,
        prior: crate::record::PriorState::NotCaptured,
        changes: Vec::new(),
        state,
        detail: detail.to_owned(),
        if_residual: false,
        residual: None,
    }
}

fn in_partition(partition: &str, region: &str) -> Response {
    let id = "5ac1a1b2c3d4e5f60718293a4b5c6d7e";
    let arn = format!("arn:{partition}:guardduty:{region}:222222222222:detector/d0/finding/{id}");
    let product = format!("arn:{partition}:securityhub:{region}::product/aws/guardduty");
    serde_json::from_value(json!({
        "format": FORMAT, "id": "r-0123456789abcdef", "revision": 3, "state": "contained",
        "reason": "verified: isolate-instance", "ou_path": "r-fb01/ou-fb01-prod1111",
        "rule": "r-fb01/isolate", "epoch": 1, "steps": [],
        "created": "2026-01-01T00:00:00Z", "updated": "2026-01-01T00:00:04Z",
        "lease_until": null,
        "resource": {"partition": partition, "account": "222222222222", "region": region,
            "type": "Instance", "instanceId": "i-0abc"},
        "finding": {"id": id, "type": "Backdoor:EC2/C&CActivity.B", "severity": 8.0,
            "title": "i-0abc talks to a\ncommand and control server", "product": "GuardDuty",
            "account": "222222222222", "region": region,
            "security_hub": {"id": arn, "product_arn": product}},
    }))
    .unwrap()
}

fn response(state: State) -> Response {
    let steps = match state {
        State::AwaitingApproval | State::Refused | State::Denied => vec![
            step("isolate-instance", Phase::Contain, StepState::Planned, ""),
            step("snapshot-volumes", Phase::Collect, StepState::Planned, ""),
        ],
        State::Undone | State::Expired => vec![
            step("isolate-instance", Phase::Contain, StepState::Undone, "the groups are back"),
            step("tag-resource", Phase::Collect, StepState::Drifted, "`team` was changed since"),
        ],
        State::Completed => {
            vec![step("tag-resource", Phase::Collect, StepState::Done, "tagged")]
        }
        State::PartiallyContained => vec![
            step("isolate-instance", Phase::Contain, StepState::Done, "eni-1 has only sg-9"),
            step(
                "snapshot-volumes",
                Phase::Collect,
                StepState::Failed,
                "denied ec2:CreateSnapshots\nhelp: redeploy",
            ),
            step("collect-evidence", Phase::Collect, StepState::Skipped, "no SSM agent"),
        ],
        State::Failed => {
            vec![step(
                "isolate-instance",
                Phase::Contain,
                StepState::Failed,
                "the instance is gone",
            )]
        }
        State::Observed | State::Running | State::Contained | State::Undoing => {
            vec![step("isolate-instance", Phase::Contain, StepState::Done, "eni-1 has only sg-9")]
        }
    };
    let reason = match state {
        State::AwaitingApproval => "rule `isolate` of r-fb01 is in mode approve: isolate-instance",
        State::Refused => "not confirmed: the finding's account is another",
        State::Completed => "executed: tag-resource",
        State::PartiallyContained => "verified: isolate-instance; failed: denied",
        State::Failed => "the instance is gone",
        State::Denied => "denied by alice: a test of ours",
        State::Undone => "tag-resource drifted",
        State::Expired => "expired after 72h: restored to its state before the response",
        State::Observed | State::Running | State::Contained | State::Undoing => {
            "verified: isolate-instance"
        }
    };
    let reason = reason.to_owned();
    Response { state, reason, steps, ..in_partition("aws", "eu-central-1") }
}

fn budget() -> BudgetRef {
    let per: Window = Window::parse("1h").unwrap();
    let budget = Budget { actions: 20, per, by: Some(CountedBy::Account) };
    BudgetRef { document: "r-fb01".to_owned(), budget }
}

fn render(notice: &Notice) -> String {
    let Notice { id, kind, subject, text, detail } = notice;
    let event = kind.event_type();
    format!("id: {id}\nevent: {event}\nsubject: {subject}\n\n{text}\n\n{detail:#}")
}

#[test]
fn every_kind_says_what_happened_and_what_to_do() {
    let mut all = Vec::new();
    for state in State::ALL {
        all.extend(Notice::of_response(&response(state)));
    }
    let more = step("snapshot-volumes", Phase::Collect, StepState::Planned, "");
    let mut contained = response(State::Running);
    contained.steps.push(more);
    contained.waiting = Some("snapshot-volumes is still under way".to_owned());
    all.extend(Notice::of_response(&contained));
    let waiting = response(State::AwaitingApproval);
    let ends = "2026-01-01T01:00:00Z".parse().unwrap();
    let key = "r-fb01/20 action(s) per 1h by account/222222222222";
    all.push(Notice::budget_spent(&budget(), key, ends, &waiting));
    all.push(Notice::approval_due(&waiting));
    let done = response(State::Contained);
    all.push(Notice::undelivered(&done, "Security Hub", "FindingNotFound for 30 minutes"));
    let kinds: Vec<NoticeKind> = all.iter().map(|notice| notice.kind).collect();
    for kind in NoticeKind::ALL {
        assert_eq!(kinds.iter().filter(|it| **it == kind).count(), 1, "{kind:?}");
    }
    let ids: std::collections::BTreeSet<&str> = all.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids.len(), all.len(), "no two are the same notice");
    let all: Vec<String> = all.iter().map(render).collect();
    insta::assert_snapshot!("kinds", all.join("\n\n================\n\n"));
}

/// An SMS or the subject of a mail has to say which instance it is about.
#[test]
fn a_subject_has_the_whole_id_of_an_instance_in_every_region() {
    for region in ["eu-central-1", "us-east-1", "ap-southeast-1", "us-gov-west-1"] {
        for state in State::ALL {
            let mut response = response(state);
            response.resource.region = region.parse().unwrap();
            response.resource.kind =
                ResourceKind::Instance { instance_id: "i-0123456789abcdef0".to_owned() };
            for drifted in [false, true] {
                if drifted {
                    response.steps.push(step("x", Phase::Contain, StepState::Drifted, ""));
                }
                let Some(notice) = Notice::of_response(&response) else { continue };
                let subject = notice.subject;
                assert!(subject.len() < 100, "{subject}");
                assert!(subject.contains("i-0123456789abcdef0 in 222222222222"), "{subject}");
            }
        }
    }
}

#[test]
fn a_response_in_progress_or_only_observed_sends_no_notice() {
    for state in [State::Observed, State::Running, State::Undoing] {
        assert_eq!(Notice::of_response(&response(state)), None, "{state}");
    }
}

#[test]
fn a_resent_notice_has_the_same_id_and_a_new_revision_another() {
    let response = response(State::Contained);
    let one = Notice::of_response(&response).unwrap();
    assert_eq!(Notice::of_response(&response).unwrap(), one);
    let later = Response { revision: 9, ..response };
    assert_ne!(Notice::of_response(&later).unwrap().id, one.id);
}

#[test]
fn a_spent_budget_is_one_notice_for_its_window_whichever_response_spent_it() {
    let ends: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
    let next: Timestamp = "2026-01-01T02:00:00Z".parse().unwrap();
    let one = Notice::budget_spent(&budget(), "k", ends, &response(State::AwaitingApproval));
    let mut other = response(State::AwaitingApproval);
    other.id = "r-fedcba9876543210".parse().unwrap();
    assert_eq!(Notice::budget_spent(&budget(), "k", ends, &other).id, one.id);
    assert_ne!(Notice::budget_spent(&budget(), "k", next, &other).id, one.id);
    assert_ne!(Notice::budget_spent(&budget(), "l", ends, &other).id, one.id);
}

#[test]
fn links_lead_to_the_partition_s_own_console() {
    let mut all = Vec::new();
    for (partition, region) in [
        ("aws", "eu-central-1"),
        ("aws-us-gov", "us-gov-west-1"),
        ("aws-cn", "cn-north-1"),
        ("aws-eusc", "eusc-de-east-1"),
        ("aws-iso", "us-iso-east-1"),
    ] {
        let notice = Notice::of_response(&in_partition(partition, region)).unwrap();
        all.push(format!("{partition}: {:#}", notice.detail["links"]));
    }
    insta::assert_snapshot!("links", all.join("\n"));
}

#[test]
fn every_kind_of_resource_has_its_own_link_or_none() {
    let principal = |kind: &str| json!({ "type": kind, "name": "de/ploy", "id": "AROA1:x" });
    let mut all = Vec::new();
    for kind in [
        json!({ "type": "AccessKey", "accessKeyId": "AKIA1", "principal": principal("IAMUser") }),
        json!({ "type": "AccessKey", "accessKeyId": "ASIA1", "principal": principal("AssumedRole") }),
        json!({ "type": "AccessKey", "accessKeyId": "AKIA1", "principal": principal("Root") }),
        json!({ "type": "User", "name": "ann" }),
        json!({ "type": "Role", "name": "web" }),
        json!({ "type": "Bucket", "name": "logs" }),
        json!({ "type": "DbInstance", "identifier": "db-1" }),
        json!({ "type": "DbCluster", "identifier": "aurora" }),
        json!({ "type": "Function", "name": "worker" }),
        json!({ "type": "EcsCluster", "cluster": "web", "task": null, "service": null }),
        json!({ "type": "EksCluster", "name": "prod", "workload": null, "username": null }),
        json!({ "type": "Other", "name": "Volume", "id": "vol-1" }),
    ] {
        let mut resource = kind.clone();
        for (name, value) in
            [("partition", "aws"), ("account", "222222222222"), ("region", "eu-central-1")]
        {
            resource[name] = value.into();
        }
        let resource = serde_json::from_value(resource).unwrap();
        let response = Response { resource, ..response(State::Contained) };
        let notice = Notice::of_response(&response).unwrap();
        all.push(format!("{}\n  {}", notice.subject, notice.detail["links"]["resource"]));
    }
    insta::assert_snapshot!("resources", all.join("\n"));
}

#[test]
fn a_notice_of_many_long_steps_stays_within_its_limits() {
    let mut response = response(State::PartiallyContained);
    response.steps = (0..60)
        .map(|_| step("collect-evidence", Phase::Collect, StepState::Failed, &"\"é\n".repeat(999)))
        .collect();
    response.reason = "x".repeat(9_999);
    let notice = Notice::of_response(&response).unwrap();
    assert!(notice.text.lines().count() <= 45, "{}", notice.text.lines().count());
    assert_eq!(notice.detail["response"]["steps"].as_array().unwrap().len(), 40);
    assert_eq!(notice.detail["response"]["stepCount"], 60);
    // Ten of them fit in one call, and all texts of one in an SNS message.
    assert!(notice.detail.to_string().len() < 60_000, "{}", notice.detail.to_string().len());
}

#[test]
fn the_verb_and_the_account_are_never_cut() {
    let mut response = response(State::Contained);
    let named = |name: &str| {
        serde_json::from_value(json!({
            "partition": "aws", "account": "222222222222", "region": "ap-southeast-1",
            "type": "Bucket", "name": name,
        }))
    };
    response.resource = named(&"b".repeat(63)).unwrap();
    response.finding.kind = "Policy:S3/BucketAnonymousAccessGranted".to_owned();
    let subject = Notice::of_response(&response).unwrap().subject;
    assert!(subject.starts_with("Firebreak contained bbb"), "{subject}");
    assert!(subject.contains("... in 222222222222 ap-southeast-1: Policy:S3/"), "{subject}");
    for state in State::ALL {
        let Some(notice) = Notice::of_response(&Response { state, ..response.clone() }) else {
            continue;
        };
        assert!(notice.subject.contains(" in 222222222222 ap-southeast-1"), "{}", notice.subject);
    }
}

proptest! {
    #[test]
    fn any_response_has_a_legal_subject(
        name in ".{0,80}",
        kind in ".{0,80}",
        account in "[A-Za-z0-9_-]{1,64}",
        region in "[A-Za-z0-9_-]{1,64}",
        state in proptest::sample::select(&State::ALL[..]),
    ) {
        let mut response = response(state);
        response.resource.account = AccountId::as_written(&account).unwrap();
        response.resource.region = Region::as_written(&region).unwrap();
        response.resource.kind = firebreak_model::resource::ResourceKind::Bucket { name };
        response.finding.kind = kind;
        let ends = response.updated;
        let mut notices = vec![
            Notice::approval_due(&response),
            Notice::undelivered(&response, "Security Hub", "why"),
            Notice::budget_spent(&budget(), "k", ends, &response),
        ];
        notices.extend(Notice::of_response(&response));
        for Notice { subject, .. } in notices {
            // SNS API reference, Publish.
            prop_assert!((1..100).contains(&subject.len()), "{subject}");
            prop_assert!(subject.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{subject}");
            prop_assert!(subject.starts_with("Firebreak "), "{subject}");
        }
    }
}
