//! The write-back queue: announces new outbox items, so that they are delivered at once
//! and in batches. A message has keys, never contents; the sweep delivers the items of
//! a lost message.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use firebreak_client::batcher::LookupBatcher;
use serde::{Deserialize, Serialize};

use crate::error::{HubError, failed};
use crate::settings::Settings;
use firebreak_response::outbox::{OutboxItem, OutboxKey};

/// A message of the write-back queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxMessage {
    pub outbox: Vec<OutboxKey>,
}

/// "Up to 10 messages" (SQS API reference, SendMessageBatch). With nothing but keys they stay
/// far below the size that a batch may have.
const MESSAGES_PER_CALL: usize = 10;

/// How many calls are made at once: one that is throttled must not delay later messages.
const CALLS_AT_ONCE: usize = 4;

/// How long a message waits for others: the queue's consumer gathers for five seconds.
const LINGER: Duration = Duration::from_millis(100);

/// A message to send: its group and its body.
type Outgoing = (String, String);

/// The write-back queue.
#[derive(Clone, Debug)]
pub struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
    sends: Arc<LookupBatcher<Outgoing, Result<(), HubError>, HubError>>,
}

impl Queue {
    /// The configured queue. `None` if none is configured: then the hub delivers each
    /// item itself, at once.
    pub fn new(config: &SdkConfig, settings: &Settings) -> Option<Self> {
        let url = settings.write_back_queue.clone()?;
        let client = aws_sdk_sqs::Client::new(config);
        let sends = LookupBatcher::new(MESSAGES_PER_CALL, CALLS_AT_ONCE).lingering(LINGER);
        Some(Self { client, url, sends: Arc::new(sends) })
    }

    /// Announces these items. The messages of one account are a group, so that a storm
    /// in one account does not delay the others (SQS developer guide, "Amazon SQS fair
    /// queues"). Messages that are sent at the same moment share a call.
    ///
    /// # Errors
    ///
    /// `Transient` or `Failed` if SQS has not accepted the message.
    pub async fn send(&self, account: &str, outbox_items: &[OutboxItem]) -> Result<(), HubError> {
        let message = OutboxMessage { outbox: outbox_items.iter().map(OutboxItem::key).collect() };
        let body = serde_json::to_string(&message)
            .map_err(|error| HubError::failed(format!("cannot write a message: {error}")))?;
        let sent = self.sends.ask((account.to_owned(), body), |messages| self.send_all(messages));
        sent.await?.unwrap_or_else(|| {
            Err(HubError::transient("sqs:SendMessageBatch returned no result for a message"))
        })
    }

    async fn send_all(
        &self,
        messages: Vec<Outgoing>,
    ) -> Result<HashMap<Outgoing, Result<(), HubError>>, HubError> {
        let mut call = self.client.send_message_batch().queue_url(&self.url);
        for (nth, (group, body)) in messages.iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder()
                .id(nth.to_string())
                .message_group_id(group)
                .message_body(body)
                .build();
            call = call.entries(entry.map_err(|error| HubError::failed(error.to_string()))?);
        }
        let output = call.send().await.map_err(|error| failed("sqs:SendMessageBatch", &error))?;
        let message = |id: &str| messages.get(id.parse::<usize>().ok()?).cloned();
        let sent = output.successful().iter().map(|it| (it.id(), Ok(())));
        let refused = output.failed().iter().map(|it| {
            let why = it.message().unwrap_or("no reason given");
            let why = format!("sqs:SendMessageBatch refused a message: {}: {why}", it.code());
            // "Whether the error happened due to the caller" (BatchResultErrorEntry).
            let error =
                if it.sender_fault() { HubError::failed(why) } else { HubError::transient(why) };
            (it.id(), Err(error))
        });
        Ok(sent.chain(refused).filter_map(|(id, result)| Some((message(id)?, result))).collect())
    }
}
