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
//! - A transient failure is retried once after 15 s, and then after the queue's
//!   visibility timeout.
//! - Accounts are taken in turn: the storm of one does not delay the others.
//! - The answer is given before the deadline. What was not started, or not
//!   ended, by then is reported as failed; what was begun is resumed from its
//!   record. Lambda kills nothing.

use std::collections::BTreeMap;

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::timeout_at;
use tracing::{Instrument, error, info, info_span, warn};

use crate::fair_queue::FairQueue;
use firebreak_aws::deadline::{HAND_BACK, NOTHING_NEW};
use firebreak_aws::error::HubError;
use firebreak_aws::queue::OutboxMessage;
use firebreak_engine::{Delivery, Engine, Run, TargetOutcome};
use firebreak_intake::Rejection;
use firebreak_model::finding::Finding;
use firebreak_response::outbox::OutboxKey;

/// How many messages of a batch are handled side by side: enough to hide
/// latency, few enough to leave memory and connections to each.
const AT_ONCE: usize = 32;

/// How many of them may be of one account, whose calls wait for its pace.
const OF_ONE_ACCOUNT: usize = 4;

/// "SQS message <= 1 MiB" (SQS developer guide, "Message quotas").
const LONGEST: usize = 1_048_576;

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
    /// The invocation's time was over; this says how far it came.
    #[error("handed back, because the invocation ran out of time: {0}")]
    OutOfTime(&'static str),
}

const NOT_STARTED: MessageError = MessageError::OutOfTime("it was not started");
const NOT_ENDED: MessageError =
    MessageError::OutOfTime("it was under way, and is resumed from its record");

/// A finding that a message brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its id.
    pub id: String,
    /// When it last changed at its source, where it says so.
    pub updated_at: Option<Timestamp>,
}

/// Timestamps of one delivery, by the hub's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Put into the queue, as SQS says.
    pub sent: Option<Timestamp>,
    /// Handed to the function.
    pub received: Timestamp,
    /// Begun; `None` when it was handed back before.
    pub started: Option<Timestamp>,
    /// Ended; `None` when it was handed back before.
    pub ended: Option<Timestamp>,
}

/// What became of one message.
#[derive(Clone, Debug, Default)]
pub struct Handled {
    /// The findings that it brought.
    pub findings: Vec<Arrived>,
    /// What became of each target of each finding that was handled.
    pub outcomes: Vec<TargetOutcome>,
    /// Why the message has to be delivered again, if it has to.
    pub errors: Vec<MessageError>,
    /// When it was where.
    pub times: Times,
    /// How often SQS has delivered it, where it says so.
    pub deliveries: u32,
    /// The result of its delivery: for messages of the write-back queue.
    pub delivery: Option<Delivery>,
}

impl Handled {
    /// Whether it failed the first time, and in passing: it may well succeed soon.
    fn may_soon_succeed(&self) -> bool {
        let passes = |error| matches!(error, &MessageError::Hub(HubError::Transient(_)));
        self.deliveries == 1 && !self.errors.is_empty() && self.errors.iter().all(passes)
    }

    fn of(parts: &[Result<Finding, Rejection>], times: Times, deliveries: u32) -> Self {
        let arrived =
            |finding: &Finding| Arrived { id: finding.id.clone(), updated_at: finding.updated_at };
        let findings = parts.iter().flatten().map(arrived).collect();
        Self { findings, times, deliveries, ..Self::default() }
    }
}

/// A message of a batch, read and not yet handled.
#[derive(Debug)]
struct Message {
    index: usize,
    id: String,
    /// By what SQS knows this delivery.
    receipt: Option<String>,
    parts: Vec<Result<Finding, Rejection>>,
}

/// Handles one message's text, of any length: a file is its user's own.
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
                // One type for the compiler, however deep what is behind it.
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

/// Handles a batch. The response names the messages that were not handled, as
/// `ReportBatchItemFailures` wants it; what became of each stands beside it, in
/// the batch's order, a message that came twice once.
pub async fn handle_batch(
    engine: &Engine,
    event: SqsEvent,
) -> (SqsBatchResponse, Vec<(String, Handled)>) {
    let received = engine.now();
    let mut queue = FairQueue::new(AT_ONCE, OF_ONE_ACCOUNT);
    let mut handled: Vec<(String, Handled)> = Vec::new();
    let (write_backs, records) = once_each(event.records)
        .into_iter()
        .map(|message| (outbox_keys(&message), message))
        .partition::<Vec<_>, _>(|(keys, _)| keys.is_some());
    for (_, message) in records {
        let id = message.message_id.clone().unwrap_or_default();
        let parts = read(&id, message.body.as_deref().unwrap_or(""));
        let attribute = |name: &str| message.attributes.get(name);
        let number = |name: &str| attribute(name)?.parse::<i64>().ok();
        let sent = number("SentTimestamp").and_then(|at| Timestamp::from_millisecond(at).ok());
        let times = Times { sent, received, ..Times::default() };
        let deliveries = number("ApproximateReceiveCount").and_then(|it| u32::try_from(it).ok());
        let unhandled = Handled::of(&parts, times, deliveries.unwrap_or(0));
        let account = || parts.iter().flatten().next().map(|finding| finding.account.to_string());
        let group = attribute("MessageGroupId").cloned().or_else(account);
        let index = handled.len();
        // One that cannot be read costs nothing and belongs to nobody.
        queue.push(
            &group.unwrap_or_else(|| format!("message {id}")),
            Message { index, id: id.clone(), receipt: message.receipt_handle, parts },
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

/// Has a message come back soon. Where that fails it comes back later.
async fn bring_back_soon(engine: &Engine, receipt: &str) {
    let Some(intake) = &engine.intake else { return };
    if let Err(error) = intake.bring_back_soon(receipt).await {
        warn!("this message comes back after the queue's visibility timeout: {error}");
    }
}

/// The keys of a message of the write-back queue.
fn outbox_keys(message: &SqsMessage) -> Option<Vec<OutboxKey>> {
    let body = message.body.as_deref()?;
    let message: OutboxMessage = serde_json::from_str(body).ok()?;
    Some(message.outbox)
}

/// Delivers the outbox items that messages of the write-back queue announce, as one batch:
/// what is the same for many findings is one call.
async fn write_back(
    engine: &Engine,
    messages: Vec<(Option<Vec<OutboxKey>>, SqsMessage)>,
    times: Times,
) -> Vec<(String, Handled)> {
    if messages.is_empty() {
        return Vec::new();
    }
    let (keys, messages): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
    let keys: Vec<Vec<OutboxKey>> = keys.into_iter().map(Option::unwrap_or_default).collect();
    let delivering = deliver_batch(engine, &keys).boxed();
    let delivered = match engine.deadline.before(HAND_BACK) {
        Some(at) => timeout_at(at, delivering).await.ok(),
        None => Some(delivering.await),
    };
    let delivered = delivered.unwrap_or_else(|| keys.iter().map(|_| Err(NOT_ENDED)).collect());
    let times = Times { ended: Some(engine.now()), ..times };
    let ended = messages.into_iter().zip(delivered).map(|(message, delivered)| {
        let (delivery, errors) = match delivered {
            Ok(delivery) => (delivery, Vec::new()),
            Err(error) => (None, vec![error]),
        };
        (
            message.message_id.unwrap_or_default(),
            Handled { errors, times, delivery, ..Handled::default() },
        )
    });
    ended.collect()
}

/// Tells what all of these messages say in one go. Where one of them names what
/// cannot be read, it fails alone and by itself. What was delivered as one batch is
/// reported with the first.
async fn deliver_batch(
    engine: &Engine,
    messages: &[Vec<OutboxKey>],
) -> Vec<Result<Option<Delivery>, MessageError>> {
    let all = messages.concat();
    match engine.deliver_keys(&all).await {
        Ok(delivery) => {
            let first = std::iter::once(Some(delivery));
            first.chain(std::iter::repeat(None)).take(messages.len()).map(Ok).collect()
        }
        // Nothing was delivered yet: reading comes first.
        Err(HubError::Failed(_) | HubError::Refused(_)) if messages.len() > 1 => {
            let mut delivered = Vec::new();
            for keys in messages {
                let delivery = engine.deliver_keys(keys).await;
                delivered.push(delivery.map(Some).map_err(MessageError::Hub));
            }
            delivered
        }
        Err(error) => messages.iter().map(|_| Err(MessageError::Hub(error.clone()))).collect(),
    }
}

/// Starts messages while there is time, and waits for them until the answer has
/// to be given. `handled` says of each that it was not started until it is.
async fn take_turns(
    engine: &Engine,
    mut queue: FairQueue<Message>,
    handled: &mut [(String, Handled)],
) {
    let mut under_way = FuturesUnordered::new();
    loop {
        while may_start(engine)
            && let Some((group, message)) = queue.start()
        {
            let Message { index, id, receipt, parts } = message;
            let Some((_, slot)) = handled.get_mut(index) else { continue };
            slot.times.started = Some(engine.now());
            slot.errors = vec![NOT_ENDED];
            let mut begun = Handled { errors: Vec::new(), ..slot.clone() };
            let span = info_span!("receive", message.id = %id, account.id = %group);
            let work = async move {
                handle_parts(engine, parts, Run::Act, &mut begun).await;
                if let Some(receipt) = receipt.filter(|_| begun.may_soon_succeed()) {
                    bring_back_soon(engine, &receipt).await;
                }
                (group, index, begun)
            };
            under_way.push(work.instrument(span));
        }
        let ended = match engine.deadline.before(HAND_BACK) {
            Some(at) => timeout_at(at, under_way.next()).await,
            None => Ok(under_way.next().await),
        };
        // Nothing is left, or no time is: what still runs is dropped.
        let Ok(Some((group, index, ended))) = ended else { return };
        queue.end(&group);
        if let Some((_, slot)) = handled.get_mut(index) {
            *slot = ended;
        }
    }
}

/// SQS may put a message into a batch twice; it is handled once. Two bodies
/// under one id are two messages, and fail together.
fn once_each(records: Vec<SqsMessage>) -> Vec<SqsMessage> {
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut is_new = |message: &SqsMessage| {
        let Some(id) = message.message_id.clone() else { return true };
        let body = message.body.clone().unwrap_or_default();
        let bodies = seen.entry(id).or_default();
        let first = !bodies.contains(&body);
        if first {
            bodies.push(body);
        }
        first
    };
    records.into_iter().filter(|message| is_new(message)).collect()
}

/// Reads a message's text; what is rejected names the message.
fn read(id: &str, body: &str) -> Vec<Result<Finding, Rejection>> {
    if body.len() > LONGEST {
        let reason = format!(
            "it has {} bytes, and no message has more than {LONGEST}: it was not read",
            body.len()
        );
        return vec![Err(Rejection { reason, field: None, message_id: Some(id.to_owned()) })];
    }
    let named = |rejection: Rejection| {
        let ids: Vec<String> =
            std::iter::once(id.to_owned()).chain(rejection.message_id.clone()).collect();
        Rejection { message_id: Some(ids.join("/")), ..rejection }
    };
    firebreak_intake::read(body).into_iter().map(|part| part.map_err(named)).collect()
}

/// Whether an event is a tick of the function's schedule: of an EventBridge
/// rule (`Scheduled Event`) or of EventBridge Scheduler with that detail type.
pub fn is_schedule(event: &Value) -> bool {
    event.get("detail-type").and_then(Value::as_str) == Some("Scheduled Event")
        && event.get("Records").is_none()
}

/// Looks at everything that is due. The error names what is tried again by the
/// next tick, or was given up.
pub async fn sweep(engine: &Engine) -> Result<(), HubError> {
    let failures = engine.sweep().boxed().await.failures();
    if failures.is_empty() { Ok(()) } else { Err(HubError::Failed(failures.join("; "))) }
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
            MessageError::OutOfTime(_) => {
                warn!(message.id = id, "message `{id}` will be delivered again: {failure}");
            }
            MessageError::Hub(HubError::Failed(why) | HubError::Refused(why)) => {
                error!(message.id = id, "message `{id}` failed: {why}");
            }
            MessageError::Rejected(rejection) => {
                error!(message.id = id, "rejected: {rejection}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, body: &str) -> SqsMessage {
        let record = serde_json::json!({ "messageId": id, "body": body });
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn a_message_that_came_twice_is_one_and_another_body_is_another() {
        let records =
            vec![message("a", "1"), message("b", "1"), message("a", "1"), message("a", "2")];
        let once: Vec<String> =
            once_each(records).into_iter().filter_map(|message| message.body).collect();
        assert_eq!(once, ["1", "1", "2"]);
    }

    #[test]
    fn a_rejection_names_the_message_that_it_came_in() {
        let rejection = read("m-1", "not a finding").remove(0).unwrap_err();
        assert!(rejection.to_string().starts_with("message `m-1`: invalid JSON"), "{rejection}");
    }

    #[test]
    fn a_message_of_more_than_sqs_takes_is_refused_unread() {
        let fits = format!("[{}]", " ".repeat(LONGEST - 2));
        let too_long = format!("{fits} ");
        let reason = |body: &str| read("m-1", body).remove(0).unwrap_err().reason;
        assert!(!reason(&fits).contains("bytes"));
        assert_eq!(
            reason(&too_long),
            "it has 1048577 bytes, and no message has more than 1048576: it was not read"
        );
    }
}
