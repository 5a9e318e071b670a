//! Messages of the write-back queue: outbox items to deliver.

use aws_lambda_events::event::sqs::SqsMessage;
use firebreak_aws::deadline::HAND_BACK;
use firebreak_aws::queue::OutboxMessage;
use firebreak_engine::{Delivery, Engine};
use firebreak_response::outbox::OutboxKey;
use futures::FutureExt;
use tokio::time::timeout_at;

use crate::message::{Handled, MessageError, NOT_ENDED, Times};

/// The outbox keys in a message; `None` if it is not of the write-back queue.
pub(super) fn outbox_keys(message: &SqsMessage) -> Option<Vec<OutboxKey>> {
    let body = message.body.as_deref()?;
    let message: OutboxMessage = serde_json::from_str(body).ok()?;
    Some(message.outbox)
}

/// Delivers the outbox items of all messages as one batch: the same update of many
/// findings is one call.
pub(super) async fn write_back(
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

/// If an item cannot be read, its message fails alone. The result of a batch is reported
/// with its first message.
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
        // Reading failed, which comes before any delivery.
        Err(error) if !error.is_transient() && messages.len() > 1 => {
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
