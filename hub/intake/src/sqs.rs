//! SQS: a batch of records, or one record, whose body is a message.

use serde_json::Value;

use super::fields::{elements, first_text, text};
use super::{Findings, Outside, read_text, read_value};

fn is_record(value: &Value) -> bool {
    let queue = text(value, &["eventSource"]).is_some_and(|source| source == "aws:sqs");
    queue || (value.get("body").is_some() && value.get("messageId").is_some())
}

pub(super) fn recognizes(value: &Value) -> bool {
    is_record(value) || elements(value, &["Records"]).into_iter().any(is_record)
}

pub(super) fn read(value: &Value, outside: &Outside, findings: &mut Findings) {
    if is_record(value) {
        return read_record(value, outside, findings);
    }
    for (index, record) in elements(value, &["Records"]).into_iter().enumerate() {
        let outside = outside.inside(&format!("Records[{index}]"), None);
        read_record(record, &outside, findings);
    }
}

fn read_record(record: &Value, outside: &Outside, findings: &mut Findings) {
    let id = first_text(record, &[&["messageId"], &["MessageId"]]);
    let outside = outside.inside("body", id);
    match record.get("body").or(record.get("Body")) {
        Some(Value::String(body)) => read_text(body, &outside, findings),
        Some(body @ (Value::Object(_) | Value::Array(_))) => {
            read_value(body, &outside, findings);
        }
        _ => findings.push(Err(outside.reject("the record has no body", None))),
    }
}
