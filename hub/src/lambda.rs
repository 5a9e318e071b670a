//! A batch in, partial failures out: the one way in for Lambda, the command
//! line and the tests.
//!
//! # Guarantees
//!
//! - A message is acknowledged only when every finding in it came to an end.
//! - One that cannot be read, or whose handling failed, is reported as failed:
//!   the queue delivers it again and, after its last try, moves it to the
//!   dead-letter queue. Nothing is lost and nothing vanishes silently.
//! - A bad message keeps none of the others in its batch from being handled.

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures::StreamExt;
use serde_json::Value;
use tracing::{error, info, warn};

use crate::aws::error::HubError;
use crate::record::State;
use crate::respond::{Outcome, Responder, Run};
use crate::sources::{self, Rejection};

/// How many messages of a batch are handled side by side: enough to hide
/// latency, few enough to leave memory and connections to each.
const SIDE_BY_SIDE: usize = 16;

/// How many errors of one message are logged one by one. A message can hold
/// hundreds, and comes back several times.
const LOGGED: usize = 10;

/// Why a message was not handled as a whole.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MessageError {
    /// It, or a part of it, is no finding that can be acted on.
    #[error("{0}")]
    Rejected(Rejection),
    /// The hub failed at one of its findings.
    #[error("{0}")]
    Hub(HubError),
}

/// What became of one message.
#[derive(Clone, Debug, Default)]
pub struct Handled {
    /// What became of each target of each finding that was handled.
    pub outcomes: Vec<Outcome>,
    /// Why the message has to be delivered again, if it has to.
    pub errors: Vec<MessageError>,
}

/// Handles one message's text.
pub async fn handle_message(responder: &Responder, body: &str, run: Run) -> Handled {
    let mut handled = Handled::default();
    for read in sources::read(body) {
        match read {
            Ok(finding) => {
                for result in responder.respond(&finding, run).await {
                    match result {
                        Ok(outcome) => handled.outcomes.push(outcome),
                        Err(error) => handled.errors.push(MessageError::Hub(error)),
                    }
                }
            }
            Err(rejection) => handled.errors.push(MessageError::Rejected(rejection)),
        }
    }
    handled
}

/// Handles a batch. The response names the messages that were not handled, as
/// `ReportBatchItemFailures` wants it; what became of the rest is beside it.
pub async fn handle_batch(
    responder: &Responder,
    event: SqsEvent,
) -> (SqsBatchResponse, Vec<(String, Handled)>) {
    let handled: Vec<(String, Handled)> = futures::stream::iter(event.records)
        .map(|message| async move {
            let SqsMessage { message_id, body, .. } = message;
            let id = message_id.unwrap_or_default();
            let handled = handle_message(responder, body.as_deref().unwrap_or(""), Run::Act).await;
            log(&id, &handled);
            (id, handled)
        })
        .buffered(SIDE_BY_SIDE)
        .collect()
        .await;
    let batch_item_failures = handled
        .iter()
        .filter(|(_, handled)| !handled.errors.is_empty())
        .map(|(id, _)| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier.clone_from(id);
            failure
        })
        .collect();
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = batch_item_failures;
    (response, handled)
}

/// Whether an event is a tick of the function's schedule: of an EventBridge
/// rule (`Scheduled Event`) or of EventBridge Scheduler with that detail type.
pub fn is_schedule(event: &Value) -> bool {
    event.get("detail-type").and_then(Value::as_str) == Some("Scheduled Event")
        && event.get("Records").is_none()
}

/// Undoes what policy lets stand no longer. The error names what is tried again
/// by the next tick.
pub async fn sweep(responder: &Responder) -> Result<(), HubError> {
    let mut failed = Vec::new();
    for ended in responder.sweep().await? {
        match ended {
            Ok(response) if response.state == State::Undone => {}
            Ok(response) => failed.push(format!("{}: {}", response.id, response.reason)),
            Err(error) => failed.push(error.to_string()),
        }
    }
    for failure in &failed {
        error!("sweep: {failure}");
    }
    if failed.is_empty() { Ok(()) } else { Err(HubError::Failed(failed.join("; "))) }
}

fn log(id: &str, handled: &Handled) {
    for outcome in &handled.outcomes {
        info!(
            message.id = id, finding.id = %outcome.finding.id, account.id = %outcome.finding.account,
            disposition = ?outcome.disposition,
            "finding `{}`: {}", outcome.finding.id, outcome.reason
        );
    }
    if handled.errors.len() > LOGGED {
        let more = handled.errors.len() - LOGGED;
        error!(message.id = id, "message `{id}`: {more} more of its parts failed or were rejected");
    }
    for failure in handled.errors.iter().take(LOGGED) {
        match failure {
            MessageError::Hub(HubError::Transient(why)) => {
                warn!(message.id = id, "message `{id}` will be delivered again: {why}");
            }
            MessageError::Hub(HubError::Failed(why)) => {
                error!(message.id = id, "message `{id}` failed: {why}");
            }
            MessageError::Rejected(rejection) => {
                error!(message.id = id, "message `{id}` was rejected: {rejection}");
            }
        }
    }
}
