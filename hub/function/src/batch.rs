//! Handles a batch of messages, and reports those that failed: the one way in for Lambda,
//! the command line and the tests.
//!
//! # Guarantees
//!
//! - A message is acknowledged only when every finding in it was handled to its end.
//! - A message that cannot be read, or whose handling failed, is reported as failed:
//!   the queue delivers it again and, after the last attempt, moves it to the
//!   dead-letter queue. No message is lost silently.
//! - A bad message does not keep the others in its batch from being handled.
//! - A transient failure is retried once after 15 s, and then after the queue's
//!   visibility timeout.
//! - Accounts take turns, so that many findings of one do not delay the others. Within an
//!   account the most severe finding comes first.
//! - The response is returned before the deadline. Messages that were not started or
//!   did not end by then are reported as failed; responses in progress are recovered
//!   from their records. Lambda never kills an invocation.

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use firebreak_aws::deadline::{HAND_BACK, NOTHING_NEW};
use firebreak_engine::{Engine, Run};
use firebreak_intake::Rejection;
use firebreak_model::finding::Finding;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use tokio::time::timeout_at;
use tracing::{Instrument, error, info, info_span, warn};

use crate::fair_queue::FairQueue;
use crate::message::{
    Handled, MessageError, NOT_ENDED, NOT_STARTED, Times, deduplicate, parse_body,
};
use crate::write_back::{outbox_keys, write_back};

/// How many messages of a batch are handled in parallel: enough to hide latency, few
/// enough for memory and connections.
const MAX_PARALLEL: usize = 32;

/// How many of them may be of one account, whose calls share its rate limits.
const MAX_PER_ACCOUNT: usize = 10;

/// How many errors of one message are logged one by one: a message can have hundreds, and
/// is delivered several times.
const MAX_LOGGED: usize = 10;

/// A message of a batch, parsed and not handled yet.
#[derive(Debug)]
struct PendingMessage {
    index: usize,
    id: String,
    /// SQS's handle of this delivery.
    receipt: Option<String>,
    parts: Vec<Result<Finding, Rejection>>,
}

/// Handles the text of one message, of any length.
pub async fn handle_message(engine: &Engine, body: &str, run: Run) -> Handled {
    let parts = firebreak_intake::read(body);
    let received = engine.now();
    let times = Times { received, started: Some(received), ..Times::default() };
    let mut handled = Handled::of(&parts, times, 1);
    handle_parts(engine, parts, run, &mut handled).await;
    handled
}

async fn handle_parts(
    engine: &Engine,
    parts: Vec<Result<Finding, Rejection>>,
    run: Run,
    handled: &mut Handled,
) {
    for part in parts {
        match part {
            Ok(_) if !may_start(engine) => handled.errors.push(NOT_STARTED),
            Ok(finding) => {
                // Boxed, because the engine's futures are deep.
                for result in engine.respond(&finding, run).boxed().await {
                    match result {
                        Ok(outcome) => handled.outcomes.push(outcome),
                        Err(error) => handled.errors.push(MessageError::Hub(error)),
                    }
                }
            }
            Err(rejection) => handled.errors.push(MessageError::Rejected(rejection)),
        }
    }
    handled.times.ended = Some(engine.now());
}

fn may_start(engine: &Engine) -> bool {
    engine.deadline.left().is_none_or(|left| left > NOTHING_NEW)
}

/// Handles a batch. The response names the failed messages for `ReportBatchItemFailures`.
/// The result of each message comes with it, in the batch's order, without duplicates.
pub async fn handle_batch(
    engine: &Engine,
    event: SqsEvent,
) -> (SqsBatchResponse, Vec<(String, Handled)>) {
    let received = engine.now();
    let mut queue = FairQueue::new(MAX_PARALLEL, MAX_PER_ACCOUNT);
    let mut handled: Vec<(String, Handled)> = Vec::new();
    let (write_backs, records) = deduplicate(event.records)
        .into_iter()
        .map(|message| (outbox_keys(&message), message))
        .partition::<Vec<_>, _>(|(keys, _)| keys.is_some());
    for (_, message) in records {
        let id = message.message_id.clone().unwrap_or_default();
        let parts = parse_body(&id, message.body.as_deref().unwrap_or(""));
        let attribute = |name: &str| message.attributes.get(name);
        let number = |name: &str| attribute(name)?.parse::<i64>().ok();
        let sent = number("SentTimestamp").and_then(|at| Timestamp::from_millisecond(at).ok());
        let times = Times { sent, received, ..Times::default() };
        let deliveries = number("ApproximateReceiveCount").and_then(|it| u32::try_from(it).ok());
        let unhandled = Handled::of(&parts, times, deliveries.unwrap_or(0));
        // The message's group is that of many accounts (stacksets/hub.yaml), so the account
        // of its first finding counts. A message without findings is a group of its own.
        let account = parts.iter().flatten().next().map(|finding| finding.account.to_string());
        let severities = parts.iter().flatten().map(|finding| finding.severity);
        let severity = severities.max_by(f64::total_cmp).unwrap_or_default();
        let index = handled.len();
        queue.push(
            &account.unwrap_or_else(|| format!("message {id}")),
            severity,
            PendingMessage { index, id: id.clone(), receipt: message.receipt_handle, parts },
        );
        handled.push((id, Handled { errors: vec![NOT_STARTED], ..unhandled }));
    }
    take_turns(engine, queue, &mut handled).await;
    let times = Times { received, started: Some(engine.now()), ..Times::default() };
    handled.extend(write_back(engine, write_backs, times).await);

    let mut failed: Vec<&str> = Vec::new();
    for (id, handled) in &handled {
        log(id, handled);
        if !handled.errors.is_empty() && !failed.contains(&id.as_str()) {
            failed.push(id);
        }
    }
    let batch_item_failures = failed.into_iter().map(|id| {
        let mut failure = BatchItemFailure::default();
        id.clone_into(&mut failure.item_identifier);
        failure
    });
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = batch_item_failures.collect();
    (response, handled)
}

/// Makes SQS deliver a message again soon. If that fails, SQS delivers it later.
async fn retry_soon(engine: &Engine, receipt: &str) {
    let Some(intake) = &engine.intake else { return };
    if let Err(error) = intake.bring_back_soon(receipt).await {
        warn!("this message is delivered again only after the visibility timeout: {error}");
    }
}

/// Starts messages while there is time, and waits for them until the response has to be
/// returned. `handled` has an error for each message that has not ended.
async fn take_turns(
    engine: &Engine,
    mut queue: FairQueue<PendingMessage>,
    handled: &mut [(String, Handled)],
) {
    let mut in_progress = FuturesUnordered::new();
    loop {
        while may_start(engine)
            && let Some((group, message)) = queue.start()
        {
            let PendingMessage { index, id, receipt, parts } = message;
            let Some((_, slot)) = handled.get_mut(index) else { continue };
            slot.times.started = Some(engine.now());
            slot.errors = vec![NOT_ENDED];
            let mut begun = Handled { errors: Vec::new(), ..slot.clone() };
            let span = info_span!("receive", message.id = %id, account.id = %group);
            let work = async move {
                handle_parts(engine, parts, Run::Act, &mut begun).await;
                if let Some(receipt) = receipt.filter(|_| begun.may_soon_succeed()) {
                    retry_soon(engine, &receipt).await;
                }
                (group, index, begun)
            };
            in_progress.push(work.instrument(span));
        }
        let ended = match engine.deadline.before(HAND_BACK) {
            Some(at) => timeout_at(at, in_progress.next()).await,
            None => Ok(in_progress.next().await),
        };
        // All have ended, or time is over: the others are dropped.
        let Ok(Some((group, index, ended))) = ended else { return };
        queue.end(&group);
        if let Some((_, slot)) = handled.get_mut(index) {
            *slot = ended;
        }
    }
}

fn log(id: &str, handled: &Handled) {
    for outcome in &handled.outcomes {
        info!(
            message.id = id, finding.id = %outcome.finding.id, account.id = %outcome.finding.account,
            disposition = ?outcome.disposition,
            "finding `{}`: {}", outcome.finding.id, outcome.reason
        );
    }
    if handled.errors.len() > MAX_LOGGED {
        let more = handled.errors.len() - MAX_LOGGED;
        error!(message.id = id, "message `{id}`: {more} more of its parts failed or were rejected");
    }
    for failure in handled.errors.iter().take(MAX_LOGGED) {
        match failure {
            MessageError::Hub(error) if error.is_transient() => {
                warn!(message.id = id, "message `{id}` will be delivered again: {error}");
            }
            MessageError::OutOfTime(_) => {
                warn!(message.id = id, "message `{id}` will be delivered again: {failure}");
            }
            MessageError::Hub(error) => {
                error!(message.id = id, "message `{id}` failed: {error}");
            }
            MessageError::Rejected(rejection) => {
                error!(message.id = id, "rejected: {rejection}");
            }
        }
    }
}
