use std::time::Duration;

use firebreak_model::action::ActionCatalog;
use firebreak_model::resource::{Resource, ResourceKind};

use firebreak_aws::error::HubError;

use super::*;
use crate::{ReceivedFinding, Times};
use firebreak_engine::Delivery;
use firebreak_intake::Rejection;
use firebreak_policy::StoredDocument;
use firebreak_response::record::FindingSummary;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

/// A message of one finding that was sent after one second, received after two,
/// started after three and ended after ten.
fn message(finding: &str, outcomes: Vec<TargetOutcome>, errors: Vec<MessageError>) -> Handled {
    Handled {
        findings: vec![ReceivedFinding { id: finding.to_owned(), updated_at: Some(at(0)) }],
        outcomes,
        errors,
        times: Times {
            sent: Some(at(1_000)),
            received: at(2_000),
            started: Some(at(3_000)),
            ended: Some(at(10_000)),
        },
        deliveries: 1,
        delivery: None,
    }
}

fn outcome(finding: &str, account: &str, disposition: Disposition, reason: &str) -> TargetOutcome {
    let resource = Resource {
        partition: "aws".parse().unwrap(),
        account: account.parse().unwrap(),
        region: "eu-central-1".parse().unwrap(),
        kind: ResourceKind::Instance { instance_id: "i-0abc".to_owned() },
    };
    TargetOutcome {
        finding: FindingSummary {
            id: finding.to_owned(),
            kind: "Recon:EC2/x".to_owned(),
            severity: 5.0,
            title: String::new(),
            product: "GuardDuty".to_owned(),
            account: resource.account.clone(),
            region: resource.region.clone(),
            security_hub: None,
            remote_addresses: Vec::new(),
        },
        resource: Some(resource),
        ou_path: None,
        disposition,
        reason: reason.to_owned(),
        decision: None,
        response: None,
        budgets: Vec::new(),
        contained_after: None,
        written_back: None,
        undelivered: None,
    }
}

const A: &str = "111111111111";
const B: &str = "222222222222";

/// The sum of a metric over all lines that have it under these dimensions.
fn total(lines: &[Value], metric: &str, dimension: Option<(&str, &str)>) -> u64 {
    lines
        .iter()
        .filter(|line| dimension.is_none_or(|(name, value)| line[name] == value))
        .filter_map(|line| line[metric].as_u64())
        .sum()
}

fn values(lines: &[Value], metric: &str) -> Vec<i64> {
    let lists = lines.iter().filter_map(|line| line[metric].as_array());
    lists.flatten().filter_map(Value::as_i64).collect()
}

/// Checks a line against the specification.
fn assert_valid(line: &Value) {
    assert!(line.to_string().len() < 1_000_000, "a log event has 1 MB at most");
    assert!(line["_aws"]["Timestamp"].is_i64());
    for definition in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
        assert_eq!(definition["Namespace"], NAMESPACE);
        for set in definition["Dimensions"].as_array().unwrap() {
            let names = set.as_array().unwrap();
            assert!(names.len() <= 30);
            for name in names {
                let value = line[name.as_str().unwrap()].as_str().unwrap();
                assert!(!value.is_empty() && value.len() <= 1_024, "{line}");
            }
        }
        let metrics = definition["Metrics"].as_array().unwrap();
        assert!(metrics.len() <= 100 && !metrics.is_empty(), "{line}");
        for metric in metrics {
            let value = &line[metric["Name"].as_str().unwrap()];
            let list = value.as_array();
            assert!(value.is_number() || list.is_some(), "{metric} has no value: {line}");
            assert!(list.is_none_or(|list| (1..=MAX_VALUES).contains(&list.len())));
            let unit = metric["Unit"].as_str().unwrap();
            assert_eq!(unit == "Milliseconds", list.is_some(), "{metric}");
        }
    }
}

#[test]
fn every_metric_has_its_value_and_its_unit() {
    let no_session = format!("refused: {NO_SESSION} `arn:aws:iam::{B}:role/FirebreakSpoke`");
    let contained = TargetOutcome {
        contained_after: Some(Duration::from_millis(1_500)),
        written_back: Some("RESOLVED".to_owned()),
        ..outcome("f-1", A, Disposition::Nothing, "a sample")
    };
    let refused = |finding| outcome(finding, B, Disposition::ExistingResponse, &no_session);
    let rejection = Rejection { reason: "no".to_owned(), field: None, message_id: None };
    let mut redelivered = message("f-3", vec![refused("f-3")], Vec::new());
    redelivered.deliveries = 2;
    let handled = [
        message("f-1", vec![contained], Vec::new()),
        message("f-2", vec![refused("f-2")], vec![MessageError::Rejected(rejection)]),
        redelivered,
        message("f-4", Vec::new(), vec![MessageError::Hub(HubError::transient("x"))]),
        message("f-5", Vec::new(), vec![MessageError::Hub(HubError::failed("x"))]),
        message("f-6", Vec::new(), vec![MessageError::OutOfTime("x")]),
    ];
    let handled = handled.map(|handled| ("m".to_owned(), handled));
    let calls = BTreeMap::from([
        ("ec2".to_owned(), Count { calls: 7, throttles: 2 }),
        ("sts".to_owned(), Count { calls: 3, throttles: 0 }),
    ]);
    let lines = invocation(&handled, &calls, at(12_000));
    lines.iter().for_each(assert_valid);
    for (metric, expected) in [
        ("Received", 6),
        ("Messages", 6),
        ("Contained", 0),
        ("Failed", 1),
        ("Retried", 1),
        ("HandedBack", 1),
        ("Rejected", 1),
        ("Redelivered", 1),
        ("UncoveredAccounts", 1),
        ("Calls", 10),
        ("Throttles", 2),
    ] {
        assert!(lines[0][metric].is_u64(), "{metric} is in the first line");
        assert_eq!(total(&lines, metric, None), expected, "{metric}");
    }
    assert_eq!(total(&lines, "Decided", Some(("Outcome", "nothing"))), 1);
    assert_eq!(total(&lines, "Decided", Some(("Outcome", "existing-response"))), 2);
    assert_eq!(total(&lines, "ServiceThrottles", Some(("Service", "ec2"))), 2);
    assert_eq!(total(&lines, "ServiceThrottles", Some(("Service", "sts"))), 0);
    assert_eq!(values(&lines, "QueueAge"), [1_000; 6]);
    assert_eq!(values(&lines, "FindingToReceipt"), [2_000; 6]);
    assert_eq!(values(&lines, "ReceiptToContained"), [2_500], "with its wait in the batch");
    assert_eq!(values(&lines, "FindingToContained"), [4_500]);
    assert_eq!(values(&lines, "ReceiptToWrittenBack"), [8_000]);
}

#[test]
fn an_invocation_without_messages_counts_zero_and_measures_nothing() {
    let lines = invocation(&[], &BTreeMap::new(), at(0));
    assert_eq!(lines.len(), 1);
    assert_valid(&lines[0]);
    assert_eq!(lines[0]["Received"], 0, "an alarm on zero needs the zero");
    assert_eq!(lines[0].get("QueueAge"), None, "no time is not a time of zero");
}

#[test]
fn more_than_a_hundred_values_take_several_lines_and_none_is_lost() {
    let handled: Vec<(String, Handled)> = (0..250)
        .map(|index| {
            let mut handled = message(&format!("f-{index}"), Vec::new(), Vec::new());
            handled.times.sent = Some(at(1_000 - index));
            (format!("m-{index}"), handled)
        })
        .collect();
    let lines = invocation(&handled, &BTreeMap::new(), at(0));
    lines.iter().for_each(assert_valid);
    assert_eq!(lines.len(), 3);
    let ages = values(&lines, "QueueAge");
    assert_eq!(ages, (1_000..1_250).collect::<Vec<i64>>());
    assert_eq!(total(&lines, "Received", None), 250, "counted in one line only");
}

#[test]
fn a_clock_that_runs_ahead_gives_no_negative_time() {
    let mut early = message("f-1", Vec::new(), Vec::new());
    early.times.sent = Some(at(60_000));
    let lines = invocation(&[("m".to_owned(), early)], &BTreeMap::new(), at(0));
    assert_eq!(values(&lines, "QueueAge"), [0]);
}

#[test]
fn a_pending_notification_is_measured_from_its_receipt() {
    let mut delivered = message("f-1", Vec::new(), Vec::new());
    delivered.times.ended = Some(at(1_000));
    delivered.delivery =
        Some(Delivery { written: (0..101).map(at).collect(), ..Delivery::default() });
    let lines = invocation(&[("m".to_owned(), delivered)], &BTreeMap::new(), at(1_000));
    lines.iter().for_each(assert_valid);
    assert_eq!(values(&lines, "ReceiptToWrittenBack").len(), 101);
}

#[test]
fn a_budget_has_its_document_and_itself_as_dimensions() {
    let line = budget_left("ou-ab12-prod1111", "20 per 1h", 3, at(0));
    assert_valid(&line);
    assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["Document", "Budget"]]));
    assert_eq!(line["BudgetLeft"], 3);
}

#[test]
fn broken_documents_are_counted_and_named() {
    let stored = |attach: &str, text: &str| StoredDocument {
        attach: attach.to_owned(),
        file: "f.yaml".to_owned(),
        text: text.to_owned(),
    };
    let policy = Policy::from_stored(
        vec![
            stored("r-ab12", "attach: r-ab12\n"),
            stored("ou-ab12-prod1111", "attach: ou-ab12-prod1111\nceilin: off\n"),
        ],
        ActionCatalog::new(&[]),
    );
    let metric = broken_documents(&policy, Timestamp::UNIX_EPOCH);
    assert_valid(&metric);
    assert_eq!(metric["BrokenPolicyDocuments"], 1);
    assert_eq!(metric["documents"][0]["attach"], "ou-ab12-prod1111");
    let none = broken_documents(&Policy::default(), Timestamp::UNIX_EPOCH);
    assert_eq!(none["BrokenPolicyDocuments"], 0, "the alarm ends when it is mended");
}
