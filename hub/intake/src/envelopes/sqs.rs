//! SQS: a batch of records, or one record, whose body is a message.

use serde_json::Value;

use super::Envelope;
use crate::fields::{elements, first_text, text};
use crate::part::{Findings, PartContext};
use crate::{read_text, read_value};

pub(super) const ENVELOPE: Envelope = Envelope { recognizes, open };

fn is_record(value: &Value) -> bool {
    let queue = text(value, &["eventSource"]).is_some_and(|source| source == "aws:sqs");
    queue || (value.get("body").is_some() && value.get("messageId").is_some())
}

fn recognizes(value: &Value) -> bool {
    is_record(value) || elements(value, &["Records"]).into_iter().any(is_record)
}

fn open(value: &Value, context: &PartContext, findings: &mut Findings) {
    if is_record(value) {
        return open_record(value, context, findings);
    }
    for (index, record) in elements(value, &["Records"]).into_iter().enumerate() {
        open_record(record, &context.inside(&format!("Records[{index}]"), None), findings);
    }
}

fn open_record(record: &Value, context: &PartContext, findings: &mut Findings) {
    let id = first_text(record, &[&["messageId"], &["MessageId"]]);
    let context = context.inside("body", id);
    match record.get("body").or(record.get("Body")) {
        Some(Value::String(body)) => read_text(body, &context, findings),
        Some(body @ (Value::Object(_) | Value::Array(_))) => read_value(body, &context, findings),
        _ => findings.reject(context.reject("the record has no body", None)),
    }
}
