//! EventBridge: GuardDuty's and Security Hub's events. The envelope's account
//! is the bus's owner, never the member that the finding is about.

use serde_json::Value;

use super::fields::{elements, text};
use super::{Findings, Outside, asff, guardduty, ocsf};

pub(super) fn recognizes(value: &Value) -> bool {
    value.get("detail-type").is_some()
        || (value.get("detail").is_some() && value.get("source").is_some())
}

pub(super) fn read(event: &Value, outside: &Outside, findings: &mut Findings) {
    let mut inside = outside.inside("detail", text(event, &["id"]));
    inside.region = text(event, &["region"]);
    let kind = text(event, &["detail-type"]).unwrap_or_default();
    // Custom events cannot have a source that begins with `aws.`: another one
    // was put on the bus by somebody (EventBridge user guide, PutEvents). And
    // each service sends findings of its own only.
    let expected = source_of(&kind);
    let source = text(event, &["source"]);
    let fits = source.as_deref().is_some_and(|source| match expected {
        Some(expected) => source == expected,
        None => source.starts_with("aws."),
    });
    if !fits {
        let from = source.map_or("nobody".to_owned(), |source| format!("`{source}`"));
        let whom = expected.map_or("an AWS service".to_owned(), |it| format!("`{it}`"));
        let reason = format!("an event of type `{kind}` comes from {from}, not from {whom}");
        return findings.push(Err(outside.reject(reason, Some("source"))));
    }
    let Some(detail) = event.get("detail").filter(|detail| detail.is_object()) else {
        return findings.push(Err(outside.reject("the event has no detail", Some("detail"))));
    };
    match kind.as_str() {
        "GuardDuty Finding" => guardduty::read(detail, &inside, findings),
        // `… - Imported`, `… - Custom Action`, and without either from older exports.
        security_hub if security_hub.starts_with("Security Hub Findings") => {
            each(detail, &inside, findings, asff::read);
        }
        "Findings Imported V2" => each(detail, &inside, findings, ocsf::read),
        other => {
            let reason = format!("an event of type `{other}` is no finding");
            findings.push(Err(outside.reject(reason, Some("detail-type"))));
        }
    }
}

/// The service whose events have this detail type (EventBridge events reference,
/// "Amazon GuardDuty events", "AWS Security Hub events").
fn source_of(kind: &str) -> Option<&'static str> {
    match kind {
        "GuardDuty Finding" => Some("aws.guardduty"),
        "Findings Imported V2" => Some("aws.securityhub"),
        other => other.starts_with("Security Hub Findings").then_some("aws.securityhub"),
    }
}

fn each(
    detail: &Value,
    outside: &Outside,
    findings: &mut Findings,
    read: fn(&Value, &Outside, &mut Findings),
) {
    let list = elements(detail, &["findings"]);
    if list.is_empty() {
        findings.push(Err(outside.reject("the event holds no finding", Some("findings"))));
    }
    for (index, finding) in list.into_iter().enumerate() {
        read(finding, &outside.inside(&format!("findings[{index}]"), None), findings);
    }
}
