//! Intake on whole messages: own fixtures in every envelope, and other
//! people's findings where they are at hand.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test reports"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use firebreak_intake::read;
use firebreak_model::finding::Finding;
use firebreak_testkit::repository::{self, fixtures};
use proptest::prelude::*;
use serde_json::{Value, json};

fn fixture(name: &str) -> Value {
    serde_json::from_str(&repository::fixture(name)).unwrap()
}

fn one(message: &Value) -> Finding {
    let mut read = read(&message.to_string());
    assert_eq!(read.len(), 1, "{message}");
    read.pop().unwrap().unwrap_or_else(|rejection| panic!("{rejection}: {message}"))
}

fn arns(finding: &Finding) -> Vec<String> {
    finding.targets.iter().map(|target| target.resource.arn()).collect()
}

#[test]
fn each_resource_type_gives_the_targets_of_that_type() {
    let check = |name: &str, expected: &[&str]| {
        assert_eq!(arns(&one(&fixture(&format!("guardduty-{name}.json")))), expected, "{name}");
    };
    let instance = "arn:aws:ec2:eu-central-1:222222222222:instance/i-0f1b0000000000001";
    check("instance", &[instance]);
    // Filled sections of other types do not make targets.
    check("instance-with-filled-key-section", &[instance]);
    check("instance-without-id", &["arn:aws:other:eu-central-1:222222222222:Instance/unknown"]);
    check("access-key-user", &["arn:aws:iam::222222222222:access-key/AKIAFIREBREAK0000001"]);
    check("access-key-role", &["arn:aws:iam::222222222222:access-key/ASIAFIREBREAK0000002"]);
    check("access-key-root", &["arn:aws:iam::222222222222:principal/222222222222"]);
    let cluster = "arn:aws:eks:eu-central-1:222222222222:cluster/shop";
    check("eks-workload", &[&format!("{cluster}/pods/shop/web-7d9f")]);
    check("ecs-task", &["arn:aws:ecs:eu-central-1:222222222222:task/jobs/0123456789abcdef"]);
    check("rds-limitless", &["arn:aws:rds:eu-central-1:222222222222:cluster:orders"]);
    check(
        "attack-sequence-eks",
        &[
            "arn:aws:eks:eu-west-1:222222222222:cluster/shop",
            "arn:aws:eks:eu-west-1:222222222222:cluster/shop/pods/shop/web-7d9f",
            "arn:aws:ecs:eu-west-1:222222222222:task/jobs/0123456789abcdef",
            "arn:aws:s3:::reports",
            "arn:aws:ec2:eu-west-1:222222222222:instance/i-0f1b0000000000001",
            "arn:aws:other:eu-west-1:222222222222:CONTAINER/c-1",
        ],
    );
    check(
        "s3-two-buckets",
        &[
            "arn:aws:s3:::reports",
            "arn:aws:s3:::archive",
            "arn:aws:iam::222222222222:access-key/ASIAFIREBREAK0000002",
        ],
    );
    check("eks", &["arn:aws:eks:eu-central-1:222222222222:cluster/shop", instance]);
    check("ecs", &["arn:aws:ecs:eu-central-1:222222222222:cluster/jobs"]);
    check("container", &["arn:aws:other:eu-central-1:222222222222:Container/c0ffee", instance]);
    check("rds", &["arn:aws:rds:eu-central-1:222222222222:db:orders"]);
    check("lambda", &["arn:aws:lambda:eu-central-1:222222222222:function:resize"]);
    // Every resource with its own account and Region; the key only once.
    check(
        "attack-sequence",
        &[
            "arn:aws:s3:::reports",
            "arn:aws:ec2:us-west-2:444444444444:instance/i-0f1b0000000000002",
            "arn:aws:iam::222222222222:access-key/AKIAFIREBREAK0000001",
        ],
    );
    check("china", &["arn:aws-cn:ec2:cn-north-1:222222222222:instance/i-0f1b0000000000001"]);
}

#[test]
fn an_attack_sequence_s_bucket_keeps_the_account_that_owns_it() {
    let finding = one(&fixture("guardduty-attack-sequence.json"));
    assert_eq!(finding.targets[0].resource.account.as_str(), "333333333333");
    assert_eq!(finding.targets[0].resource.region.as_str(), "us-east-1");
}

#[test]
fn samples_and_archived_findings_are_marked() {
    for name in ["guardduty-sample-by-flag", "guardduty-sample-by-text", "guardduty-sample-by-id"] {
        assert!(one(&fixture(&format!("{name}.json"))).sample, "{name}");
    }
    assert!(one(&fixture("asff-sample.json")).sample);
    assert!(one(&fixture("guardduty-archived.json")).archived);
    assert!(one(&fixture("asff-suppressed.json")).archived);
    let plain = one(&fixture("guardduty-instance.json"));
    assert!(!plain.sample && !plain.archived);
}

#[test]
fn numbers_as_texts_and_epochs_are_read() {
    let finding = one(&fixture("guardduty-instance-numbers-as-text.json"));
    assert!((finding.severity - 5.5).abs() < f64::EPSILON);
    assert_eq!(finding.created_at.unwrap().to_string(), "2026-01-02T03:04:05Z");
    assert_eq!(finding.updated_at.unwrap().to_string(), "2026-01-02T04:04:05Z");
}

#[test]
fn a_finding_s_remote_addresses_are_found_wherever_they_stand() {
    let addresses = |name: &str| one(&fixture(&format!("{name}.json"))).remote_addresses();
    assert_eq!(addresses("guardduty-attack-sequence-eks"), ["198.51.100.7"]);
    let mut finding = fixture("guardduty-instance.json");
    let probe = |address: &str| json!({ "remoteIpDetails": { "ipAddressV4": address } });
    finding["service"]["action"] = json!({
        "actionType": "PORT_PROBE",
        "portProbeAction": { "portProbeDetails": [probe("198.51.100.2"), probe("198.51.100.1")] },
    });
    assert_eq!(one(&finding).remote_addresses(), ["198.51.100.1", "198.51.100.2"]);
    finding["service"]["action"] = json!({
        "networkConnectionAction": { "remoteIpDetails": { "ipAddressV6": "2001:db8::1" } },
    });
    assert_eq!(one(&finding).remote_addresses(), ["2001:db8::1"]);
}

#[test]
fn by_security_hub_the_same_finding_has_the_same_identity() {
    for (guardduty, other) in [
        ("guardduty-instance", "asff-of-guardduty-instance"),
        ("guardduty-instance", "asff-custom-action"),
        ("guardduty-instance", "ocsf-of-guardduty-instance"),
        ("guardduty-access-key-role", "asff-of-guardduty-access-key-role"),
    ] {
        let one_way = one(&fixture(&format!("{guardduty}.json")));
        let other_way = one(&fixture(&format!("{other}.json")));
        assert_eq!(one_way.id, other_way.id, "{other}");
        assert_eq!(one_way.kind, other_way.kind, "{other}");
        assert_eq!(one_way.account, other_way.account, "{other}");
        assert_eq!(one_way.region, other_way.region, "{other}");
        assert_eq!(one_way.product, other_way.product, "{other}");
        assert_eq!(arns(&one_way), arns(&other_way), "{other}");
    }
}

#[test]
fn security_hub_s_own_resources_become_targets() {
    let finding = one(&fixture("asff-get-findings-other-resources.json"));
    let types: Vec<&str> =
        finding.targets.iter().map(|target| target.resource.type_name()).collect();
    assert_eq!(types, ["User", "Role", "S3Bucket", "Lambda"]);
    assert_eq!(arns(&finding)[1], "arn:aws:iam::222222222222:role/deploy");
}

/// Every envelope that a GuardDuty finding may come in.
fn envelopes(finding: &Value) -> Vec<(&'static str, String)> {
    let event = json!({
        "version": "0", "id": "e-1", "detail-type": "GuardDuty Finding",
        "source": "aws.guardduty", "account": "111111111111", "region": finding["region"],
        "time": "1970-01-01T00:00:00Z", "resources": [], "detail": finding,
    });
    let sns = json!({ "Type": "Notification", "MessageId": "n-1", "Message": event.to_string() });
    let sqs = |body: &Value| {
        json!({ "Records": [{
            "messageId": "m-1", "eventSource": "aws:sqs", "body": body.to_string(),
        }]})
    };
    vec![
        ("bare", finding.to_string()),
        ("EventBridge", event.to_string()),
        ("SNS", json!({ "Records": [{ "EventSource": "aws:sns", "Sns": sns }] }).to_string()),
        (
            "SNS with an object",
            json!({ "Records": [{ "Sns": { "MessageId": "n-1", "Message": event } }] }).to_string(),
        ),
        ("SQS", sqs(&event).to_string()),
        ("SNS in SQS", sqs(&sns).to_string()),
        ("list", json!([finding]).to_string()),
        ("GetFindings", json!({ "Findings": [pascal_case(finding)] }).to_string()),
        ("PascalCase in EventBridge", {
            let mut event = event.clone();
            event["detail"] = pascal_case(finding);
            event.to_string()
        }),
    ]
}

fn pascal_case(value: &Value) -> Value {
    match value {
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| {
                let mut chars = key.chars();
                let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
                (first + chars.as_str(), pascal_case(value))
            })
            .collect(),
        Value::Array(elements) => elements.iter().map(pascal_case).collect(),
        other => other.clone(),
    }
}

#[test]
fn the_envelope_changes_nothing() {
    let mut tried = 0;
    for entry in fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("guardduty-")
            || name.contains("get-findings")
            || !name.ends_with("json")
            || name.ends_with("ndjson")
        {
            continue;
        }
        let finding: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let bare = one(&finding);
        for (envelope, message) in envelopes(&finding) {
            let read = read(&message);
            assert_eq!(read, vec![Ok(bare.clone())], "{name} in {envelope}");
            tried += 1;
        }
    }
    assert!(tried >= 18 * 9, "{tried}");
}

#[test]
fn every_record_of_a_message_is_read_not_only_the_first() {
    let both = fs::read_to_string(fixtures().join("guardduty-export.ndjson")).unwrap();
    assert_eq!(read(&both).iter().filter(|it| it.is_ok()).count(), 2);
    assert_eq!(read(&fixture("guardduty-get-findings.json").to_string()).len(), 2);
    let broken = both.replace("\"AccessKey\"", "\"AccessKey");
    let read = read(&broken);
    assert_eq!((read.len(), read.iter().filter(|it| it.is_err()).count()), (2, 1));
}

#[test]
fn a_field_that_an_action_needs_is_named_when_it_is_missing() {
    for field in ["id", "type", "accountId", "severity", "resource"] {
        let mut finding = fixture("guardduty-instance.json");
        finding.as_object_mut().unwrap().remove(field);
        let error = read(&finding.to_string()).pop().unwrap().unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{error}");
    }
}

#[test]
fn an_event_of_another_source_is_refused() {
    let event = json!({
        "id": "e-1", "source": "my.app", "detail-type": "GuardDuty Finding",
        "detail": fixture("guardduty-instance.json"),
    });
    let error = read(&event.to_string()).pop().unwrap().unwrap_err();
    assert_eq!(error.field.as_deref(), Some("source"));
}

/// Every place in a value, as a list of steps.
fn places(value: &Value, at: &mut Vec<String>, places: &mut Vec<Vec<String>>) {
    places.push(at.clone());
    let children: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        _ => Vec::new(),
    };
    for (step, child) in children {
        at.push(step);
        self::places(child, at, places);
        at.pop();
    }
}

proptest! {
    #[test]
    fn whatever_is_changed_in_a_finding_nothing_panics(
        which in 0_usize..1_000, place in 0_usize..10_000, change in 0_usize..8,
    ) {
        let mut files: Vec<PathBuf> =
            fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|it| it == "json"));
        files.sort();
        let text = fs::read_to_string(&files[which % files.len()]).unwrap();
        let mut value: Value = serde_json::from_str(&text).unwrap();
        let mut all = Vec::new();
        places(&value, &mut Vec::new(), &mut all);
        let pointer: String = all[place % all.len()].iter().map(|step| {
            format!("/{}", step.replace('~', "~0").replace('/', "~1"))
        }).collect();
        let changed = [
            Value::Null, json!(true), json!(-1.5e300), json!(""), json!([]), json!({}),
            json!([[{ "a": null }]]), json!("é\u{0}"),
        ];
        *value.pointer_mut(&pointer).unwrap() = changed[change].clone();
        prop_assert!(!read(&value.to_string()).is_empty());
    }
}

#[test]
fn the_command_prints_a_line_for_each_input() {
    let output = Command::new(cargo_bin("firebreak"))
        .args(["findings", "parse"])
        .arg(fixtures())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), fs::read_dir(fixtures()).unwrap().count());
    assert!(lines.iter().all(|line| line["findings"].is_array()), "{lines:?}");
}

/// Other people's findings, read in place; `None` where they are not at hand.
fn corpus() -> Option<PathBuf> {
    repository::shared("findings")
}

/// The rows of the corpus's manifest: file, kind, finding type, source, flags.
fn manifest(corpus: &Path) -> Vec<[String; 5]> {
    let text = fs::read_to_string(corpus.join("MANIFEST.tsv")).unwrap();
    let rows = text.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    rows.map(|row| {
        [row[0], row[1], row[2], row[4], row.get(6).copied().unwrap_or("")].map(str::to_owned)
    })
    .collect()
}

#[test]
fn other_people_s_findings_parse_or_are_rejected_with_a_reason() {
    let Some(corpus) = corpus() else { return };
    let (mut parsed, mut rejected) = (0, 0);
    for [file, kind, _, _, flags] in manifest(&corpus) {
        let text = fs::read_to_string(corpus.join(&file)).unwrap();
        let read = read(&text);
        assert!(!read.is_empty(), "{file}");
        let well_formed =
            !matches!(kind.as_str(), "eb-pattern" | "malformed") && !flags.contains("non-finding");
        for result in read {
            match result {
                Ok(_) => parsed += 1,
                Err(rejection) => {
                    rejected += 1;
                    assert!(!rejection.reason.is_empty(), "{file}");
                    assert!(!well_formed, "{file}: {rejection}");
                }
            }
        }
    }
    println!("corpus: {parsed} findings, {rejected} rejected with a reason");
    assert!(parsed > 150, "{parsed}");
}

/// The paths at which two values differ.
fn differences(path: &str, one: &Value, other: &Value) -> Vec<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => one
            .keys()
            .chain(other.keys().filter(|key| !one.contains_key(*key)))
            .flat_map(|key| {
                let of = |object: &serde_json::Map<String, Value>| {
                    object.get(key).cloned().unwrap_or(Value::Null)
                };
                differences(&format!("{path}.{key}"), &of(one), &of(other))
            })
            .collect(),
        (one, other) if one == other => Vec::new(),
        (one, other) => vec![format!("{path}: {one:.60} and {other:.60}")],
    }
}

#[test]
fn other_people_s_findings_are_the_same_in_every_envelope() {
    let Some(corpus) = corpus() else { return };
    let mut groups: std::collections::BTreeMap<(String, String), Vec<(String, Finding)>> =
        std::collections::BTreeMap::new();
    for [file, kind, _, source, _] in manifest(&corpus) {
        if !kind.starts_with("guardduty-") {
            continue;
        }
        let text = fs::read_to_string(corpus.join(&file)).unwrap();
        for finding in read(&text).into_iter().flatten() {
            // Some sources use one id for several findings; the text differs.
            let text = finding.detail["description"].as_str().unwrap_or_default();
            let key = (source.clone(), format!("{} {} {text}", finding.id, finding.kind));
            groups.entry(key).or_default().push((file.clone(), finding));
        }
    }
    let mut compared = 0;
    for ((source, _), findings) in &groups {
        let (first_file, first) = &findings[0];
        for (file, other) in &findings[1..] {
            // A partition that was rewritten makes another finding of it.
            if other.partition == first.partition {
                let mut differ = differences("", &json!(first), &json!(other));
                // Whoever derived these events lowered the keys of a map as well.
                differ.retain(|path| !path.contains(".affectedResources."));
                assert!(differ.is_empty(), "{source}: {first_file} and {file}: {differ:?}");
                compared += 1;
            }
        }
    }
    println!("corpus: {compared} pairs of the same finding in different envelopes");
    assert!(compared > 10, "{compared}");
}
