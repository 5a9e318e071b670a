//! Intake: every form in which findings arrive becomes [`Finding`]s. Pure.
//!
//! One file a source, one line in the table below. Envelopes are taken off one
//! after another, to a limited depth, until a finding is left.
//!
//! Tolerant of what real data does: numbers as texts, epochs, nulls, tags in
//! three spellings, a list where an object is expected, missing sections.
//! Strict about what acting needs: without account, Region, id, type or
//! severity there is a [`Rejection`] that names the field and the message.

use firebreak_model::text::printable;
use serde_json::Value;

use firebreak_model::finding::Finding;

mod asff;
mod eventbridge;
mod fields;
mod guardduty;
mod guardduty_targets;
mod json;
mod keys;
mod list;
mod ocsf;
mod product;
mod sample;
mod sns;
mod sqs;
mod validate;

pub use self::product::GUARDDUTY;

/// The form in which a service writes a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// GuardDuty's own.
    GuardDuty,
    /// Security Hub's.
    Asff,
    /// The new Security Hub's.
    Ocsf,
}

/// The form of a finding's own text, without any envelope.
pub fn form(finding: &Value) -> Option<Form> {
    if asff::recognizes(finding) {
        Some(Form::Asff)
    } else if ocsf::recognizes(finding) {
        Some(Form::Ocsf)
    } else {
        guardduty::recognizes(finding).then_some(Form::GuardDuty)
    }
}

/// Why a message, or a part of it, is no finding that can be acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What is wrong, in a sentence.
    pub reason: String,
    /// The field that is missing or wrong, with its path.
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

/// What is known from the envelopes around a part of a message.
#[derive(Clone, Debug, Default)]
struct Outside {
    depth: usize,
    /// The path down to this part, for rejections.
    path: String,
    /// The envelopes' ids, joined.
    message_id: Option<String>,
    /// The Region of the bus that delivered it: a finding's own comes first.
    region: Option<String>,
}

/// How many rejections of one message are reported: what is wrong with it is clear
/// by then, and a megabyte of empty objects must not take hundreds to answer.
const TOLD: usize = 1_000;

/// What was read so far.
#[derive(Default)]
struct Findings {
    read: Vec<Result<Finding, Rejection>>,
    rejected: usize,
}

impl Findings {
    fn push(&mut self, read: Result<Finding, Rejection>) {
        if read.is_err() {
            self.rejected += 1;
            if self.rejected > TOLD {
                return;
            }
        }
        self.read.push(read);
    }
}

/// One form: whether a value has it, and how it is read.
struct Source {
    recognizes: fn(&Value) -> bool,
    read: fn(&Value, &Outside, &mut Findings),
}

/// Envelopes first, then findings. The first that recognizes a value reads it.
const SOURCES: &[Source] = &[
    Source { recognizes: list::recognizes, read: list::read },
    Source { recognizes: sqs::recognizes, read: sqs::read },
    Source { recognizes: sns::recognizes, read: sns::read },
    Source { recognizes: eventbridge::recognizes, read: eventbridge::read },
    Source { recognizes: asff::recognizes, read: asff::read },
    Source { recognizes: ocsf::recognizes, read: ocsf::read },
    Source { recognizes: guardduty::recognizes, read: guardduty::read },
];

/// EventBridge in SNS in SQS in a list takes six; more is no real message.
const DEEPEST: usize = 12;

/// Reads everything that one message holds: each finding, or why a part of it
/// was rejected. Never empty.
pub fn read(message: &str) -> Vec<Result<Finding, Rejection>> {
    let mut findings = Findings::default();
    let outside = Outside::default();
    read_text(message, &outside, &mut findings);
    let Findings { mut read, rejected } = findings;
    if rejected > TOLD {
        let reason = format!("{} more of its parts were rejected", rejected - TOLD);
        read.push(Err(outside.reject(reason, None)));
    }
    if read.is_empty() {
        read.push(Err(outside.reject("the message holds no finding", None)));
    }
    read
}

/// Reads a text: one JSON value, or one on each line.
fn read_text(text: &str, outside: &Outside, findings: &mut Findings) {
    let error = match json::read(text) {
        Ok(value) => return read_value(&value, outside, findings),
        Err(error) => error,
    };
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let whole = |line: &&str| json::read(line).is_ok_and(|it| it.is_object());
    if lines.len() < 2 || !lines.iter().any(whole) {
        return findings.push(Err(outside.reject(format!("invalid JSON: {error}"), None)));
    }
    for (index, line) in lines.iter().enumerate() {
        let outside = outside.inside(&format!("line {}", index + 1), None);
        match json::read(line) {
            Ok(value) => read_value(&value, &outside, findings),
            Err(error) => {
                findings.push(Err(outside.reject(format!("invalid JSON: {error}"), None)));
            }
        }
    }
}

fn read_value(value: &Value, outside: &Outside, findings: &mut Findings) {
    if outside.depth > DEEPEST {
        let reason = format!("envelopes are nested more than {DEEPEST} deep");
        return findings.push(Err(outside.reject(reason, None)));
    }
    match SOURCES.iter().find(|source| (source.recognizes)(value)) {
        Some(source) => (source.read)(value, outside, findings),
        None => findings.push(Err(outside.reject(unrecognized(value), None))),
    }
}

fn unrecognized(value: &Value) -> String {
    let form = "not a known finding format";
    match value {
        Value::Object(object) if object.is_empty() => format!("{form}: it is an empty object"),
        Value::Object(object) => {
            let keys: Vec<&str> = object.keys().take(6).map(String::as_str).collect();
            format!("{form}: its keys are {}", printable(&keys.join(", ")))
        }
        Value::Null => format!("{form}: it is null"),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => form.to_owned(),
    }
}

impl Outside {
    fn reject(&self, reason: impl Into<String>, field: Option<&str>) -> Rejection {
        let field = field.map(|field| match self.path.is_empty() {
            true => field.to_owned(),
            false => format!("{}.{field}", self.path),
        });
        let path = Some(self.path.clone()).filter(|path| !path.is_empty());
        Rejection {
            // A key's name or a number from outside may stand in it.
            reason: printable(&reason.into()),
            field: field.or(path),
            message_id: self.message_id.clone(),
        }
    }

    /// One envelope further in.
    fn inside(&self, step: &str, message_id: Option<String>) -> Self {
        let path = match self.path.is_empty() {
            true => step.to_owned(),
            false => format!("{}.{step}", self.path),
        };
        let message_id = message_id.map(|id| printable(&id));
        let ids: Vec<String> = self.message_id.iter().cloned().chain(message_id).collect();
        Self {
            depth: self.depth + 1,
            path,
            message_id: (!ids.is_empty()).then(|| ids.join("/")),
            region: self.region.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_finding_is_rejected_with_a_reason() {
        for message in
            ["", "not JSON", "null", "42", "\"text\"", "{}", "[]", "{\"a\":1}", "{\"Records\":[]}"]
        {
            let read = read(message);
            assert!(!read.is_empty(), "{message}");
            assert!(read.iter().all(Result::is_err), "{message}");
        }
    }

    #[test]
    fn envelopes_nested_without_end_are_rejected() {
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
