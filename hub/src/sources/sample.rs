//! Samples: findings that GuardDuty or Security Hub generates for trying
//! things out. They must never be acted on.

use serde_json::Value;

use super::fields::{flag, text};

/// Resource ids that only samples have (GuardDuty user guide, "Sample findings").
const SAMPLE_IDS: &[&str] = &["i-99999999", "eni-bfcffe88", "GeneratedFinding"];

/// Whether a GuardDuty finding, keys in camelCase, is a sample.
pub(super) fn is_guardduty_sample(finding: &Value) -> bool {
    let said = flag(finding, &["service", "additionalInfo", "sample"]);
    // Beside the flag, the same stands as JSON in a text.
    let in_text = text(finding, &["service", "additionalInfo", "value"])
        .and_then(|text| serde_json::from_str::<Value>(&text).ok())
        .is_some_and(|value| flag(&value, &["sample"]));
    let title = text(finding, &["title"]).is_some_and(|title| title.starts_with("[SAMPLE]"));
    said || in_text || title || finding.get("resource").is_some_and(holds_sample_id)
}

/// Whether any text below a value is an id that only samples have.
pub(super) fn holds_sample_id(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            SAMPLE_IDS.iter().any(|id| text.starts_with(id) || text.ends_with(id))
        }
        Value::Array(elements) => elements.iter().any(holds_sample_id),
        Value::Object(object) => object.values().any(holds_sample_id),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
