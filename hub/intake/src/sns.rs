//! SNS: records of a subscription to Lambda, or the notification that SQS gets.
//! The message is a text, or an object where somebody built it by hand.

use serde_json::Value;

use super::fields::{elements, text};
use super::{Findings, Outside, read_text, read_value};

fn is_notification(value: &Value) -> bool {
    value.get("Message").is_some()
        && (text(value, &["Type"]).is_some_and(|kind| kind == "Notification")
            || value.get("TopicArn").is_some()
            || value.get("MessageId").is_some())
}

fn is_record(value: &Value) -> bool {
    value.get("Sns").is_some()
}

pub(super) fn recognizes(value: &Value) -> bool {
    is_notification(value)
        || is_record(value)
        || elements(value, &["Records"]).into_iter().any(is_record)
}

pub(super) fn read(value: &Value, outside: &Outside, findings: &mut Findings) {
    if is_notification(value) {
        return read_notification(value, outside, findings);
    }
    if let Some(notification) = value.get("Sns") {
        return read_notification(notification, &outside.inside("Sns", None), findings);
    }
    for (index, record) in elements(value, &["Records"]).into_iter().enumerate() {
        let outside = outside.inside(&format!("Records[{index}].Sns"), None);
        match record.get("Sns") {
            Some(notification) => read_notification(notification, &outside, findings),
            None => findings.push(Err(outside.reject("the record has no Sns", None))),
        }
    }
}

fn read_notification(notification: &Value, outside: &Outside, findings: &mut Findings) {
    let outside = outside.inside("Message", text(notification, &["MessageId"]));
    match notification.get("Message") {
        Some(Value::String(message)) => read_text(message, &outside, findings),
        Some(message @ (Value::Object(_) | Value::Array(_))) => {
            read_value(message, &outside, findings);
        }
        _ => findings.push(Err(outside.reject("the notification has no message", None))),
    }
}
