//! SNS: the records that a subscribed Lambda function gets, or the notification
//! that a subscribed queue gets. The message is a text, or an object where
//! a person built the notification by hand.

use serde_json::Value;

use super::Envelope;
use crate::fields::{elements, text};
use crate::part::{Findings, PartContext};
use crate::{read_text, read_value};

pub(super) const ENVELOPE: Envelope = Envelope { recognizes, open };

fn is_notification(value: &Value) -> bool {
    value.get("Message").is_some()
        && (text(value, &["Type"]).is_some_and(|kind| kind == "Notification")
            || value.get("TopicArn").is_some()
            || value.get("MessageId").is_some())
}

fn is_record(value: &Value) -> bool {
    value.get("Sns").is_some()
}

fn recognizes(value: &Value) -> bool {
    is_notification(value)
        || is_record(value)
        || elements(value, &["Records"]).into_iter().any(is_record)
}

fn open(value: &Value, context: &PartContext, findings: &mut Findings) {
    if is_notification(value) {
        return open_notification(value, context, findings);
    }
    if let Some(notification) = value.get("Sns") {
        return open_notification(notification, &context.inside("Sns", None), findings);
    }
    for (index, record) in elements(value, &["Records"]).into_iter().enumerate() {
        let context = context.inside(&format!("Records[{index}].Sns"), None);
        match record.get("Sns") {
            Some(notification) => open_notification(notification, &context, findings),
            None => findings.reject(context.reject("the record has no Sns", None)),
        }
    }
}

fn open_notification(notification: &Value, context: &PartContext, findings: &mut Findings) {
    let context = context.inside("Message", text(notification, &["MessageId"]));
    match notification.get("Message") {
        Some(Value::String(message)) => read_text(message, &context, findings),
        Some(message @ (Value::Object(_) | Value::Array(_))) => {
            read_value(message, &context, findings);
        }
        _ => findings.reject(context.reject("the notification has no message", None)),
    }
}
