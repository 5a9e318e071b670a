//! Rejects values that no AWS service emits: control characters, over-long ids, a
//! severity out of range. Later code does not have to expect them.

use firebreak_model::text::{is_plain, printable};
use serde_json::Value;

use crate::Rejection;
use crate::part::PartContext;
use firebreak_model::finding::{Finding, SecurityHubId};

/// What a form calls the validated fields, for the rejection.
pub(crate) struct FieldNames {
    pub(crate) id: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) severity: &'static str,
    pub(crate) resources: &'static str,
}

/// Security Hub's ids have up to 512 characters, GuardDuty's fewer (ASFF syntax,
/// `Id`); types are shorter still.
const MAX_BYTES: usize = 1_024;

/// ASFF names at most 32 resources, an attack sequence 400 and as many actors
/// (ASFF syntax, `Resources`; GuardDuty API reference, Sequence).
const MAX_TARGETS: usize = 1_000;

pub(crate) fn validate(
    mut finding: Finding,
    context: &PartContext,
    names: &FieldNames,
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
        if text.len() > MAX_BYTES {
            let reason = format!("it has {} bytes; the maximum is {MAX_BYTES}", text.len());
            return Err(context.reject(reason, Some(field)));
        }
        if !text.chars().all(is_plain) {
            let reason = format!("`{}` contains control characters", printable(text));
            return Err(context.reject(reason, Some(field)));
        }
    }
    if !(0.0..=10.0).contains(&finding.severity) {
        let reason = format!("{} is not on the scale from 0 to 10", finding.severity);
        return Err(context.reject(reason, Some(names.severity)));
    }
    if finding.targets.len() > MAX_TARGETS {
        let many = finding.targets.len();
        let reason = format!("it names {many} resources; the maximum is {MAX_TARGETS}");
        return Err(context.reject(reason, Some(names.resources)));
    }
    for target in &finding.targets {
        let resource = serde_json::to_value(&target.resource).unwrap_or_default();
        if let Some(text) = first_control_char(&resource) {
            let reason = format!("`{}` contains control characters", printable(text));
            return Err(context.reject(reason, Some(names.resources)));
        }
    }
    // The title is only shown to people: its control characters become blanks.
    if !finding.title.chars().all(is_plain) {
        finding.title =
            finding.title.chars().map(|it| if is_plain(it) { it } else { ' ' }).collect();
    }
    Ok(finding)
}

/// The first text in a value that has a control character or one that changes the
/// direction of writing.
fn first_control_char(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => (!text.chars().all(is_plain)).then_some(text),
        Value::Array(elements) => elements.iter().find_map(first_control_char),
        Value::Object(object) => object.values().find_map(first_control_char),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}
