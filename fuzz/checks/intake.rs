//! What holds of every text that arrives, whoever wrote it: used by the fuzz
//! target and by the tests of hostile input.

use firebreak_model::finding::Finding;
use firebreak_model::organization::Place;
use firebreak_model::resource::{Resource, ResourceKind};
use firebreak_model::text::is_plain;
use firebreak_policy::{Policy, Tags};
use serde_json::Value;

/// Reads a message and checks each finding, decides it by a policy, and checks each
/// rejection; gives back how many of each there are.
pub(crate) fn check(message: &str, policy: &Policy) -> (usize, usize) {
    let read = firebreak_intake::read(message);
    assert!(!read.is_empty(), "nothing was said of a message");
    let (mut findings, mut rejections) = (0, 0);
    for read in &read {
        match read {
            Ok(finding) => {
                findings += 1;
                check_finding(finding, policy);
            }
            Err(rejection) => {
                rejections += 1;
                let described = rejection.to_string();
                assert!(!rejection.reason.is_empty(), "a rejection without a reason");
                assert!(described.chars().all(is_plain), "it forges lines of a log: {described:?}");
                assert!(described.len() < 20_000, "{} bytes of rejection", described.len());
            }
        }
    }
    (findings, rejections)
}

fn check_finding(finding: &Finding, policy: &Policy) {
    assert!((0.0..=10.0).contains(&finding.severity), "{}", finding.severity);
    for text in [&finding.id, &finding.kind, &finding.product, &finding.title] {
        assert!(text.chars().all(is_plain), "it forges lines of a log: {text:?}");
    }
    assert!(finding.targets.len() <= 1_000, "{} targets", finding.targets.len());
    let mut texts = Vec::new();
    collect(&finding.detail, &mut texts);
    // A path of every sort: the decision must not fail on any.
    for target in finding.targets.iter().take(20) {
        let resource = &target.resource;
        assert!(resource.arn().chars().all(is_plain), "{:?}", resource.arn());
        if resource.check_form().is_ok() {
            check_resource(resource, &texts);
        }
        for path in ["r-fb01/ou-fb01-sandbox1", "r-fb01/ou-fb01-prod1111", "r-zz99"] {
            let Ok(ou_path) = path.parse() else { continue };
            let place = Place { account: resource.account.clone(), ou_path };
            let unknown = Tags::Unknown { reason: "not read".to_owned() };
            for tags in [Tags::Known(target.tags.clone()), Tags::None, unknown] {
                let decision = policy.decide(finding, target, &place, &tags);
                assert!(!decision.reason().is_empty(), "a decision without a reason");
                let explained = policy.explain(finding, target, &place, &tags).to_string();
                assert!(!explained.is_empty(), "a decision that cannot be explained");
            }
        }
    }
}

/// A resource that will be acted on is one that the finding itself names, and
/// the record of it can be read back.
fn check_resource(resource: &Resource, texts: &[String]) {
    let named = |id: &str| texts.iter().any(|text| text.contains(id));
    let default =
        matches!(&resource.kind, ResourceKind::EcsCluster { cluster, .. } if cluster == "default");
    if let Some(id) = resource.id().filter(|_| !default) {
        assert!(named(id), "the finding does not name `{id}`");
    }
    assert!(named(resource.account.as_str()), "the finding does not name {}", resource.account);
    let written = serde_json::to_value(resource).unwrap_or_default();
    let read: Option<Resource> = serde_json::from_value(written).ok();
    assert_eq!(read.as_ref(), Some(resource), "its record cannot be read back");
}

fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Number(number) => texts.push(number.to_string()),
        Value::Array(elements) => elements.iter().for_each(|it| collect(it, texts)),
        Value::Object(object) => object.values().for_each(|it| collect(it, texts)),
        Value::Null | Value::Bool(_) => {}
    }
}
