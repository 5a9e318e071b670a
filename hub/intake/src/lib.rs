//! Intake: turns every message in which findings arrive into [`Finding`]s. Pure.
//!
//! [`envelopes`] are opened one after another, to a limited depth, until a value
//! has one of the [`forms`] of a finding.
//!
//! Tolerant of what real data has: numbers as strings, epochs, nulls, tags in
//! three spellings, a list where an object is expected, missing sections.
//! Strict about what an action needs: without account, Region, id, type or
//! severity there is a [`Rejection`] that names the field and the message.

mod envelopes;
mod fields;
mod forms;
mod json;
mod part;
mod validate;

use firebreak_model::finding::Finding;
use firebreak_model::text::printable;
use serde_json::Value;

use self::part::{Findings, PartContext};

pub use self::forms::{Form, GUARDDUTY, form};

/// Why a message, or a part of it, has no finding that can be acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub reason: String,
    /// The path of the field that is missing or wrong.
    pub field: Option<String>,
    /// The ids of the message's envelopes and of the finding, as far as known.
    pub message_id: Option<String>,
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(id) = &self.message_id {
            write!(formatter, "message `{id}`: ")?;
        }
        if let Some(field) = &self.field {
            write!(formatter, "field `{field}`: ")?;
        }
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for Rejection {}

/// EventBridge in SNS in SQS in a list takes six.
const MAX_DEPTH: usize = 12;

/// Reads everything that one message holds: each finding, or why a part of it
/// was rejected. Never empty.
pub fn read(message: &str) -> Vec<Result<Finding, Rejection>> {
    let mut findings = Findings::default();
    let context = PartContext::default();
    read_text(message, &context, &mut findings);
    findings.finish(&context)
}

/// Reads a text: one JSON value, or one on each line.
fn read_text(text: &str, context: &PartContext, findings: &mut Findings) {
    let error = match json::parse(text) {
        Ok(value) => return read_value(&value, context, findings),
        Err(error) => error,
    };
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let is_object = |line: &&str| json::parse(line).is_ok_and(|it| it.is_object());
    if lines.len() < 2 || !lines.iter().any(is_object) {
        return findings.reject(context.reject(format!("invalid JSON: {error}"), None));
    }
    for (index, line) in lines.iter().enumerate() {
        let context = context.inside(&format!("line {}", index + 1), None);
        match json::parse(line) {
            Ok(value) => read_value(&value, &context, findings),
            Err(error) => {
                findings.reject(context.reject(format!("invalid JSON: {error}"), None));
            }
        }
    }
}

fn read_value(value: &Value, context: &PartContext, findings: &mut Findings) {
    if context.depth > MAX_DEPTH {
        let reason = format!("envelopes are nested more than {MAX_DEPTH} deep");
        return findings.reject(context.reject(reason, None));
    }
    if let Some(envelope) = envelopes::recognize(value) {
        (envelope.open)(value, context, findings);
    } else if let Some(form) = forms::recognize(value) {
        findings.push((form.to_finding)(value, context));
    } else {
        findings.reject(context.reject(unrecognized(value), None));
    }
}

fn unrecognized(value: &Value) -> String {
    let problem = "not a known finding format";
    match value {
        Value::Object(object) if object.is_empty() => format!("{problem}: an empty object"),
        Value::Object(object) => {
            let keys: Vec<&str> = object.keys().take(6).map(String::as_str).collect();
            format!("{problem} (top-level keys: {})", printable(&keys.join(", ")))
        }
        Value::Null => format!("{problem}: null"),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            problem.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_without_a_finding_is_rejected_with_a_reason() {
        for message in
            ["", "not JSON", "null", "42", "\"text\"", "{}", "[]", "{\"a\":1}", "{\"Records\":[]}"]
        {
            let read = read(message);
            assert!(!read.is_empty(), "{message}");
            assert!(read.iter().all(Result::is_err), "{message}");
        }
    }

    #[test]
    fn envelopes_nested_too_deep_are_rejected() {
        let mut message = "{}".to_owned();
        for _ in 0..30 {
            let inner = serde_json::to_string(&message).unwrap();
            message = format!("{{\"Type\":\"Notification\",\"Message\":{inner}}}");
            if message.len() > 1_000_000 {
                break;
            }
        }
        let read = read(&message);
        assert!(read[0].as_ref().unwrap_err().reason.contains("deep"), "{read:?}");
    }

    #[test]
    fn a_rejection_names_the_message_and_the_field() {
        let message = serde_json::json!({ "Records": [{
            "messageId": "m-1", "eventSource": "aws:sqs",
            "body": r#"{"id":"e-1","detail-type":"GuardDuty Finding","source":"aws.guardduty","region":"eu-central-1","detail":{"id":"f-1","type":"Recon:EC2/x","severity":5,"service":{}}}"#,
        }]});
        let read = read(&message.to_string());
        let error = read[0].as_ref().unwrap_err();
        assert_eq!(error.message_id.as_deref(), Some("m-1/e-1/f-1"));
        assert_eq!(error.field.as_deref(), Some("Records[0].body.detail.accountId"));
    }
}
