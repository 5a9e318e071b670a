//! EventBridge: GuardDuty's and Security Hub's events. The event's account is the
//! owner of the bus, never the member account that the finding is about.

use serde_json::Value;

use super::Envelope;
use crate::fields::{elements, text};
use crate::forms::{EventDetail, of_detail_type};
use crate::part::{Findings, PartContext};

pub(super) const ENVELOPE: Envelope = Envelope { recognizes, open };

fn recognizes(value: &Value) -> bool {
    value.get("detail-type").is_some()
        || (value.get("detail").is_some() && value.get("source").is_some())
}

fn open(event: &Value, context: &PartContext, findings: &mut Findings) {
    let mut inside = context.inside("detail", text(event, &["id"]));
    inside.bus_region = text(event, &["region"]);
    let detail_type = text(event, &["detail-type"]).unwrap_or_default();
    let form = of_detail_type(&detail_type);
    // A custom event cannot have a source that begins with `aws.` (EventBridge user
    // guide, PutEvents), and each service sends only its own findings: an event with
    // another source is forged.
    let source = text(event, &["source"]);
    let is_genuine = source.as_deref().is_some_and(|source| match form {
        Some(form) => source == form.event_source,
        None => source.starts_with("aws."),
    });
    if !is_genuine {
        let source = source.map_or("no source".to_owned(), |source| format!("`{source}`"));
        let expected =
            form.map_or("an AWS service".to_owned(), |it| format!("`{}`", it.event_source));
        let reason =
            format!("an event of type `{detail_type}` comes from {source}, not from {expected}");
        return findings.reject(context.reject(reason, Some("source")));
    }
    let Some(detail) = event.get("detail").filter(|detail| detail.is_object()) else {
        return findings.reject(context.reject("the event has no detail", Some("detail")));
    };
    let Some(form) = form else {
        let reason = format!("an event of type `{detail_type}` is not a finding");
        return findings.reject(context.reject(reason, Some("detail-type")));
    };
    match form.detail {
        EventDetail::Finding => findings.push((form.to_finding)(detail, &inside)),
        EventDetail::Findings => {
            let list = elements(detail, &["findings"]);
            if list.is_empty() {
                findings.reject(inside.reject("the event holds no finding", Some("findings")));
            }
            for (index, finding) in list.into_iter().enumerate() {
                let inside = inside.inside(&format!("findings[{index}]"), None);
                findings.push((form.to_finding)(finding, &inside));
            }
        }
    }
}
