//! Rejects values that no AWS service emits: control characters, over-long ids,
//! out-of-range severity: refused here, so that nothing behind intake has to
//! think of it.

use firebreak_model::text::{is_plain, printable};
use serde_json::Value;

use super::{Outside, Rejection};
use firebreak_model::finding::{Finding, SecurityHubId};

/// How a source spells the fields that are checked, for the rejection.
pub(super) struct Names {
    pub(super) id: &'static str,
    pub(super) kind: &'static str,
    pub(super) severity: &'static str,
    pub(super) resources: &'static str,
}

/// Security Hub's ids have up to 512 characters, GuardDuty's fewer (ASFF syntax,
/// `Id`); types are shorter still.
const LONGEST: usize = 1_024;

/// ASFF names at most 32 resources, an attack sequence 400 and as many actors
/// (ASFF syntax, `Resources`; GuardDuty API reference, Sequence).
const MOST_TARGETS: usize = 1_000;

/// The finding, if it holds nothing that would lead what stands on it astray.
pub(super) fn validate(
    mut finding: Finding,
    outside: &Outside,
    names: &Names,
) -> Result<Finding, Rejection> {
    let security_hub = finding.security_hub.as_ref();
    for (text, field) in [
        (Some(finding.id.as_str()), names.id),
        (security_hub.map(SecurityHubId::id), names.id),
        (Some(finding.kind.as_str()), names.kind),
        (Some(finding.product.as_str()), names.id),
        (finding.workflow_status.as_deref(), names.id),
    ] {
        let Some(text) = text else { continue };
        if text.len() > LONGEST {
            let reason = format!("it has {} characters; {LONGEST} is the most", text.len());
            return Err(outside.reject(reason, Some(field)));
        }
        if !text.chars().all(is_plain) {
            let reason = format!("`{}` holds control characters", printable(text));
            return Err(outside.reject(reason, Some(field)));
        }
    }
    if !(0.0..=10.0).contains(&finding.severity) {
        let reason = format!("{} is not on the scale from 0 to 10", finding.severity);
        return Err(outside.reject(reason, Some(names.severity)));
    }
    if finding.targets.len() > MOST_TARGETS {
        let many = finding.targets.len();
        let reason = format!("it names {many} resources; {MOST_TARGETS} is the most");
        return Err(outside.reject(reason, Some(names.resources)));
    }
    for target in &finding.targets {
        let resource = serde_json::to_value(&target.resource).unwrap_or_default();
        if let Some(text) = first_control_char(&resource) {
            let reason = format!("`{}` holds control characters", printable(text));
            return Err(outside.reject(reason, Some(names.resources)));
        }
    }
    // A title is for people, and stands in messages to them.
    if !finding.title.chars().all(is_plain) {
        finding.title =
            finding.title.chars().map(|it| if is_plain(it) { it } else { ' ' }).collect();
    }
    Ok(finding)
}

/// The first text below a value that holds what ends a line or turns one round.
fn first_control_char(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => (!text.chars().all(is_plain)).then_some(text),
        Value::Array(elements) => elements.iter().find_map(first_control_char),
        Value::Object(object) => object.values().find_map(first_control_char),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}
