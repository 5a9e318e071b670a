//! Samples: findings that GuardDuty or Security Hub generates for trying
//! things out. They must never be acted on.

use serde_json::Value;

use super::fields::{flag, text};

/// Ids of samples' resources (GuardDuty user guide, "Sample findings").
const SAMPLE_IDS: &[&str] = &["i-99999999", "eni-bfcffe88"];

/// Fields whose values AWS gives. Names and tags are not among them: whoever
/// names a user or tags an instance would make every finding on it a sample.
const GIVEN_BY_AWS: &[&str] =
    &["instanceid", "networkinterfaceid", "accesskeyid", "principalid", "id", "uid"];

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

/// Whether an id below a value is one that only samples have. `GeneratedFinding…`
/// stands where AWS has keys and principals of its own making.
pub(super) fn holds_sample_id(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.iter().any(holds_sample_id),
        Value::Object(object) => object.iter().any(|(key, value)| match value {
            Value::String(text) => {
                GIVEN_BY_AWS.contains(&key.to_ascii_lowercase().as_str()) && is_sample_id(text)
            }
            value => !key.eq_ignore_ascii_case("tags") && holds_sample_id(value),
        }),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_sample_id(text: &str) -> bool {
    let id = text.rsplit(['/', ':']).next().unwrap_or(text);
    SAMPLE_IDS.contains(&id)
        || ["GeneratedFindingAccessKeyId", "GeneratedFindingPrincipalId"].contains(&id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nobody_makes_a_finding_a_sample_by_a_name_or_a_tag() {
        for chosen in [
            json!({ "instanceDetails": { "instanceId": "i-0f1b0000000000001", "tags": [
                { "key": "x", "value": "GeneratedFindingPrincipalId" },
                { "key": "id", "value": "i-99999999" }, { "id": "i-99999999" },
            ]}}),
            json!({ "accessKeyDetails": { "userName": "GeneratedFindingUserName" } }),
            json!([{ "Type": "AwsEc2Instance", "Tags": { "id": "i-99999999" } }]),
            json!({ "instanceDetails": { "instanceId": "i-999999990" } }),
        ] {
            assert!(!holds_sample_id(&chosen), "{chosen}");
        }
        for given in [
            json!({ "instanceDetails": { "instanceId": "i-99999999" } }),
            json!([{ "Id": "arn:aws:ec2:eu-central-1:222222222222:instance/i-99999999" }]),
            json!({ "accessKeyDetails": { "principalId": "GeneratedFindingPrincipalId" } }),
        ] {
            assert!(holds_sample_id(&given), "{given}");
        }
    }
}
