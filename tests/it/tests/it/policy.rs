//! Policy over findings as they arrive. Mistakes in documents and the laws of
//! decisions are tested beside the code, the commands in `command_line`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test reports")]

use firebreak_spoke::registry;

use firebreak_demo::example_policy;
use firebreak_intake::read;
use firebreak_model::finding::Finding;
use firebreak_model::organization::Place;
use firebreak_model::resource::{Principal, PrincipalType, ResourceKind};
use firebreak_policy::{
    Decision, FindingSource, Mode, Policy, PolicyOutcome, Tags, read_files, read_tests,
};
use firebreak_testkit::repository;
use serde_json::Value;

fn fixture(name: &str) -> Finding {
    read(&repository::fixture(name)).pop().unwrap().unwrap()
}

fn place(path: &str) -> Place {
    Place { account: "222222222222".parse().unwrap(), ou_path: path.parse().unwrap() }
}

fn files(texts: &[&str]) -> Vec<(String, String)> {
    texts.iter().enumerate().map(|(i, text)| (format!("{i}.yaml"), (*text).to_owned())).collect()
}

fn policy(texts: &[&str]) -> Policy {
    read_files(&files(texts), registry::catalog()).unwrap()
}

fn decide(policy: &Policy, finding: &str, path: &str, tags: &Tags) -> Decision {
    let finding = fixture(finding);
    policy.decide(&finding, &finding.targets[0], &place(path), tags)
}

fn known(tags: &[(&str, &str)]) -> Tags {
    Tags::Known(tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

#[test]
fn the_nearest_matching_rule_decides_and_order_counts_within_a_document() {
    let policy = policy(&[
        "attach: r-fb01\nrules:\n  - { name: root, mode: observe }\n",
        "attach: ou-fb01-prod1111\nrules:\n  - { name: high, when: { severity: [{ numeric: [\">=\", 9] }] }, mode: observe }\n  - { name: first, when: { severity: [{ numeric: [\">=\", 1] }] }, mode: approve, then: [isolate-instance] }\n  - { name: second, mode: observe }\n",
    ]);
    let rule = |path: &str| {
        let decision = decide(&policy, "guardduty-instance.json", path, &known(&[]));
        decision.rule.map(|rule| rule.rule.clone())
    };
    assert_eq!(rule("r-fb01/ou-fb01-prod1111").as_deref(), Some("first"));
    assert_eq!(rule("r-fb01/ou-fb01-prod1111/ou-fb01-team1111").as_deref(), Some("first"));
    assert_eq!(rule("r-fb01/ou-fb01-other111").as_deref(), Some("root"));
    assert_eq!(rule("r-none"), None);
}

#[test]
fn actions_that_do_not_fit_the_target_are_left_out_and_named() {
    let policy = policy(&[
        "attach: r-fb01\nrules:\n  - { name: a, mode: auto, then: [isolate-instance, revoke-sessions] }\n",
    ]);
    let decision = decide(&policy, "guardduty-instance.json", "r-fb01", &known(&[]));
    assert_eq!(decision.actions.len(), 1);
    assert_eq!(decision.left_out[0].action, "revoke-sessions");
    let bucket = decide(&policy, "guardduty-s3-two-buckets.json", "r-fb01", &known(&[]));
    assert_eq!(bucket.outcome, PolicyOutcome::NoAction, "{bucket:?}");
}

#[test]
fn tags_that_are_not_known_refuse_whatever_depends_on_them() {
    let unknown = Tags::Unknown { reason: "denied".to_owned() };
    let by_protection = policy(&[
        "attach: r-fb01\nprotect: { tags: [{ firebreak: exempt }] }\nrules:\n  - { name: a, mode: auto, then: [isolate-instance] }\n",
    ]);
    let by_rule = policy(&[
        "attach: r-fb01\nrules:\n  - { name: a, when: { tags: { env: [prod] } }, mode: observe }\n  - { name: b, mode: auto, then: [isolate-instance] }\n",
    ]);
    for policy in [&by_protection, &by_rule] {
        let decision = decide(policy, "guardduty-instance.json", "r-fb01", &unknown);
        assert!(decision.is_refused() && decision.depends_on_tags(), "{decision:?}");
        let decision = decide(policy, "guardduty-instance.json", "r-fb01", &known(&[]));
        assert!(decision.acts(), "{decision:?}");
    }
    let exempt = known(&[("firebreak", "exempt")]);
    assert!(decide(&by_protection, "guardduty-instance.json", "r-fb01", &exempt).is_refused());
}

#[test]
fn a_principal_without_a_name_is_refused_where_principals_are_protected() {
    let policy = policy(&[
        "attach: r-fb01\nprotect: { principals: [\"arn:*:iam::*:role/BreakGlass*\"] }\nrules:\n  - { name: a, mode: auto, then: [revoke-sessions] }\n",
    ]);
    let named = decide(&policy, "guardduty-access-key-role.json", "r-fb01", &known(&[]));
    assert!(named.acts(), "{named:?}");
    let mut finding = fixture("guardduty-access-key-role.json");
    finding.detail["resource"]["accessKeyDetails"]["userName"] = Value::Null;
    let finding = read(&finding.detail.to_string()).pop().unwrap().unwrap();
    let unnamed = policy.decide(&finding, &finding.targets[0], &place("r-fb01"), &known(&[]));
    assert!(unnamed.is_refused(), "{unnamed:?}");
}

#[test]
fn the_explanation_is_a_walk_from_the_account_up() {
    let finding = fixture("guardduty-instance.json");
    let explanation = example_policy().unwrap().explain(
        &finding,
        &finding.targets[0],
        &place("r-fb01/ou-fb01-observe1"),
        &known(&[]),
    );
    let text = explanation.to_string();
    for line in ["222222222222 (no document)", "ou-fb01-observe1", "✓ would-contain", "= observe:"]
    {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn the_documentation_s_example_is_sound_and_passes_its_own_test() {
    let docs = repository::text("docs/policy.md");
    let block = |start: &str| {
        let mut blocks = docs.split("```yaml\n").skip(1);
        let found = blocks.find(|block| block.starts_with(start)).unwrap();
        ("docs".to_owned(), found.split("```").next().unwrap().to_owned())
    };
    let policy = read_files(&[block("version: 1")], registry::catalog()).unwrap();
    let cases = read_tests(&[block("tests:")], registry::catalog()).unwrap();
    assert!(!cases.is_empty());
    for case in &cases {
        let FindingSource::Fields(finding) = &case.finding else { unreachable!("{case:?}") };
        let result = case.run(&policy, finding);
        assert!(result.passed, "{result:#?}");
    }
}

/// A resource of a type as findings name it.
fn resource_of(kind: &str) -> ResourceKind {
    let name = "x".to_owned();
    match kind {
        "Instance" => ResourceKind::Instance { instance_id: "i-0f1b0000000000001".to_owned() },
        "AccessKey" => {
            let principal = Principal { kind: PrincipalType::IamUser, name: Some(name), id: None };
            ResourceKind::AccessKey { access_key_id: Some("AKIAX".to_owned()), principal }
        }
        "S3Bucket" => ResourceKind::Bucket { name },
        "RDSDBInstance" => ResourceKind::DbInstance { identifier: name },
        "RDSDBCluster" => ResourceKind::DbCluster { identifier: name },
        "Lambda" => ResourceKind::Function { name },
        "ECSCluster" => ResourceKind::EcsCluster { cluster: name, task: None, service: None },
        "EKSCluster" => ResourceKind::EksCluster { name, workload: None, username: None },
        other => ResourceKind::Other { name: other.to_owned(), id: None },
    }
}

/// Every type of the catalogue, on each of its resources, at each of its
/// severities, is on record everywhere; where a severity is serious and an
/// action acts on the resource, sandboxes and production have a playbook.
#[test]
fn the_example_policies_have_a_rule_for_every_finding_type() {
    let policy = example_policy().unwrap();
    let template = fixture("guardduty-instance.json");
    let acted_on: Vec<String> = registry::all()
        .iter()
        .filter(|facts| facts.spec.name != "run-automation" && facts.spec.name != "tag-resource")
        .flat_map(|facts| facts.spec.resource_types)
        .map(|kind| (*kind).to_owned())
        .collect();
    let (mut answered, mut played) = (0, 0);
    for finding_type in firebreak_model::finding_types::all() {
        for (kind, severity) in finding_type
            .resource_types
            .iter()
            .flat_map(|kind| finding_type.severities.iter().map(move |it| (*kind, *it)))
        {
            let mut finding = template.clone();
            finding.kind = finding_type.name.to_owned();
            finding.severity = severity;
            finding.targets[0].resource.kind = resource_of(kind);
            for ou in ["sandbox1", "prod1111", "suspend1", "observe1", "security"] {
                let place = place(&format!("r-fb01/ou-fb01-{ou}"));
                let decision = policy.decide(&finding, &finding.targets[0], &place, &known(&[]));
                let case = format!("{} on {kind}, {severity}, in {ou}", finding_type.name);
                let (mode, refused) = (decision.mode, decision.is_refused());
                assert!(refused || (mode != Mode::Off && decision.rule.is_some()), "{case}");
                answered += 1;
                // How a cluster is set up is for its owner to mend.
                let setting = finding_type.name.starts_with("Policy:Kubernetes/");
                let playbook = matches!(ou, "sandbox1" | "prod1111")
                    && !setting
                    && severity >= 7.0
                    && acted_on.iter().any(|acted_on| acted_on == kind);
                if playbook {
                    assert!(mode >= Mode::Approve && !decision.actions.is_empty(), "{case}");
                    played += 1;
                }
            }
        }
    }
    println!("answered={answered} with-playbook={played}");
    assert!(played > 200, "{played}");
}
