//! One message: its text, its findings and the result of handling it. Pure.

use std::collections::BTreeMap;

use aws_lambda_events::event::sqs::SqsMessage;
use firebreak_aws::error::HubError;
use firebreak_engine::{Delivery, TargetOutcome};
use firebreak_intake::Rejection;
use firebreak_model::finding::Finding;
use jiff::Timestamp;

/// "SQS message <= 1 MiB" (SQS developer guide, "Message quotas").
const MAX_BYTES: usize = 1_048_576;

/// Why a message, or a part of it, was not handled.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MessageError {
    #[error("{0}")]
    Rejected(Rejection),
    /// A finding in it could not be handled.
    #[error("{0}")]
    Hub(HubError),
    /// The invocation ran out of time; how far the message was.
    #[error("handed back, because the invocation ran out of time: {0}")]
    OutOfTime(&'static str),
}

impl MessageError {
    /// Whether the hub's call may succeed on a retry.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Hub(error) if error.is_transient())
    }
}

pub(crate) const NOT_STARTED: MessageError = MessageError::OutOfTime("it was not started");
pub(crate) const NOT_ENDED: MessageError =
    MessageError::OutOfTime("it was in progress, and is resumed from its record");

/// A finding in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedFinding {
    pub id: String,
    /// When its service last changed it.
    pub updated_at: Option<Timestamp>,
}

/// Timestamps of one delivery, by the hub's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// By SQS's clock.
    pub sent: Option<Timestamp>,
    pub received: Timestamp,
    /// `None` if it was not started in time.
    pub started: Option<Timestamp>,
    /// `None` if it did not end in time.
    pub ended: Option<Timestamp>,
}

/// The result of one message.
#[derive(Clone, Debug, Default)]
pub struct Handled {
    pub findings: Vec<ReceivedFinding>,
    /// For each target of each handled finding.
    pub outcomes: Vec<TargetOutcome>,
    /// If there are any, the message is delivered again.
    pub errors: Vec<MessageError>,
    pub times: Times,
    /// How often SQS has delivered it; 0 if unknown.
    pub deliveries: u32,
    /// For a message of the write-back queue.
    pub delivery: Option<Delivery>,
}

impl Handled {
    /// Whether this was its first delivery and all errors are transient.
    pub(crate) fn may_soon_succeed(&self) -> bool {
        self.deliveries == 1
            && !self.errors.is_empty()
            && self.errors.iter().all(MessageError::is_transient)
    }

    pub(crate) fn of(parts: &[Result<Finding, Rejection>], times: Times, deliveries: u32) -> Self {
        let received = |finding: &Finding| ReceivedFinding {
            id: finding.id.clone(),
            updated_at: finding.updated_at,
        };
        let findings = parts.iter().flatten().map(received).collect();
        Self { findings, times, deliveries, ..Self::default() }
    }
}

/// Parses a message's text; a rejection names the message.
pub(crate) fn parse_body(id: &str, body: &str) -> Vec<Result<Finding, Rejection>> {
    if body.len() > MAX_BYTES {
        let reason = format!("it has {} bytes; a message has at most {MAX_BYTES}", body.len());
        return vec![Err(Rejection { reason, field: None, message_id: Some(id.to_owned()) })];
    }
    let named = |rejection: Rejection| {
        let ids: Vec<String> =
            std::iter::once(id.to_owned()).chain(rejection.message_id.clone()).collect();
        Rejection { message_id: Some(ids.join("/")), ..rejection }
    };
    firebreak_intake::read(body).into_iter().map(|part| part.map_err(named)).collect()
}

/// SQS may put a message into a batch twice; it is handled once. Two bodies with the same
/// id are two messages, and fail together.
pub(crate) fn deduplicate(records: Vec<SqsMessage>) -> Vec<SqsMessage> {
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut is_new = |message: &SqsMessage| {
        let Some(id) = message.message_id.clone() else { return true };
        let body = message.body.clone().unwrap_or_default();
        let bodies = seen.entry(id).or_default();
        let is_first = !bodies.contains(&body);
        if is_first {
            bodies.push(body);
        }
        is_first
    };
    records.into_iter().filter(|message| is_new(message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, body: &str) -> SqsMessage {
        let record = serde_json::json!({ "messageId": id, "body": body });
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn a_duplicate_message_is_dropped_unless_its_body_differs() {
        let records =
            vec![message("a", "1"), message("b", "1"), message("a", "1"), message("a", "2")];
        let once: Vec<String> =
            deduplicate(records).into_iter().filter_map(|message| message.body).collect();
        assert_eq!(once, ["1", "1", "2"]);
    }

    #[test]
    fn a_rejection_names_its_message() {
        let rejection = parse_body("m-1", "not a finding").remove(0).unwrap_err();
        assert!(rejection.to_string().starts_with("message `m-1`: invalid JSON"), "{rejection}");
    }

    #[test]
    fn a_message_larger_than_sqs_allows_is_rejected_without_parsing() {
        let fits = format!("[{}]", " ".repeat(MAX_BYTES - 2));
        let too_long = format!("{fits} ");
        let reason = |body: &str| parse_body("m-1", body).remove(0).unwrap_err().reason;
        assert!(!reason(&fits).contains("bytes"));
        assert_eq!(reason(&too_long), "it has 1048577 bytes; a message has at most 1048576");
    }
}
