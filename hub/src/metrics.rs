//! Metrics of the function, written as lines of its log that CloudWatch reads
//! (CloudWatch user guide, "Embedded metric format specification").

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::policy::Policy;

/// The namespace of every metric.
pub const NAMESPACE: &str = "Firebreak";

/// How many documents of the policy in force cannot be read: what they govern
/// is refused, and somebody has to be woken. The points and the reasons stand
/// beside it.
pub fn broken_documents(policy: &Policy, now: Timestamp) -> Value {
    let broken = policy.broken();
    let documents: Vec<Value> =
        broken.iter().map(|(point, why)| json!({ "attach": point, "why": why })).collect();
    json!({
        "_aws": {
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [[]],
                "Metrics": [{ "Name": "BrokenPolicyDocuments", "Unit": "Count" }],
            }],
        },
        "BrokenPolicyDocuments": broken.len(),
        "documents": documents,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::StoredDocument;

    #[test]
    fn broken_documents_are_counted_and_named() {
        let stored = |attach: &str, text: &str| StoredDocument {
            attach: attach.to_owned(),
            file: "f.yaml".to_owned(),
            text: text.to_owned(),
        };
        let policy = Policy::from_stored(vec![
            stored("r-ab12", "attach: r-ab12\n"),
            stored("ou-ab12-prod1111", "attach: ou-ab12-prod1111\nceilin: off\n"),
        ]);
        let metric = broken_documents(&policy, Timestamp::UNIX_EPOCH);
        assert_eq!(metric["BrokenPolicyDocuments"], 1);
        assert_eq!(metric["documents"][0]["attach"], "ou-ab12-prod1111");
        let definition = &metric["_aws"]["CloudWatchMetrics"][0];
        let name = definition["Metrics"][0]["Name"].as_str().unwrap();
        assert!(metric[name].is_number(), "a metric without its value is not counted");
        let none = broken_documents(&Policy::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(none["BrokenPolicyDocuments"], 0, "the alarm ends when it is mended");
    }
}
