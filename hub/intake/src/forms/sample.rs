//! Sample findings, which GuardDuty and Security Hub generate on request. They must
//! never be acted on.

use serde_json::Value;

use crate::fields::{flag, text};

/// Ids of samples' resources (GuardDuty user guide, "Sample findings").
const SAMPLE_IDS: &[&str] = &["i-99999999", "eni-bfcffe88"];

/// Fields whose values AWS sets. Names and tags are not among them: otherwise an
/// attacker could name a user or tag an instance to turn its findings into samples.
const SET_BY_AWS: &[&str] =
    &["instanceid", "networkinterfaceid", "accesskeyid", "principalid", "id", "uid"];

/// Whether a GuardDuty finding, keys in camelCase, is a sample.
pub(super) fn is_guardduty_sample(finding: &Value) -> bool {
    let flagged = flag(finding, &["service", "additionalInfo", "sample"]);
    // GetFindings returns the same as a JSON string.
    let in_text = text(finding, &["service", "additionalInfo", "value"])
        .and_then(|text| serde_json::from_str::<Value>(&text).ok())
        .is_some_and(|value| flag(&value, &["sample"]));
    let title = text(finding, &["title"]).is_some_and(|title| title.starts_with("[SAMPLE]"));
    flagged || in_text || title || finding.get("resource").is_some_and(has_sample_id)
}

/// Whether a value holds an id that only samples have.
pub(super) fn has_sample_id(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.iter().any(has_sample_id),
        Value::Object(object) => object.iter().any(|(key, value)| match value {
            Value::String(text) => {
                SET_BY_AWS.contains(&key.to_ascii_lowercase().as_str()) && is_sample_id(text)
            }
            value => !key.eq_ignore_ascii_case("tags") && has_sample_id(value),
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
    fn a_name_or_a_tag_does_not_make_a_finding_a_sample() {
        for chosen in [
            json!({ "instanceDetails": { "instanceId": "i-0f1b0000000000001", "tags": [
                { "key": "x", "value": "GeneratedFindingPrincipalId" },
                { "key": "id", "value": "i-99999999" }, { "id": "i-99999999" },
            ]}}),
            json!({ "accessKeyDetails": { "userName": "GeneratedFindingUserName" } }),
            json!([{ "Type": "AwsEc2Instance", "Tags": { "id": "i-99999999" } }]),
            json!({ "instanceDetails": { "instanceId": "i-999999990" } }),
        ] {
            assert!(!has_sample_id(&chosen), "{chosen}");
        }
        for given in [
            json!({ "instanceDetails": { "instanceId": "i-99999999" } }),
            json!([{ "Id": "arn:aws:ec2:eu-central-1:222222222222:instance/i-99999999" }]),
            json!({ "accessKeyDetails": { "principalId": "GeneratedFindingPrincipalId" } }),
        ] {
            assert!(has_sample_id(&given), "{given}");
        }
    }
}
