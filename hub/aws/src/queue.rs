//! The write-back queue: announces new outbox items, so that they are delivered at once
//! and in batches. A message has keys, never contents; the sweep delivers the items of
//! a lost message.

use aws_config::SdkConfig;
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

/// The write-back queue.
#[derive(Clone, Debug)]
pub struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
}

impl Queue {
    /// The configured queue. `None` if none is configured: then the hub delivers each
    /// item itself, at once.
    pub fn new(config: &SdkConfig, settings: &Settings) -> Option<Self> {
        let url = settings.write_back_queue.clone()?;
        Some(Self { client: aws_sdk_sqs::Client::new(config), url })
    }

    /// Announces these items. The messages of one account are a group, so that a storm
    /// in one account does not delay the others (SQS developer guide, "Amazon SQS fair
    /// queues").
    pub async fn send(&self, account: &str, outbox_items: &[OutboxItem]) -> Result<(), HubError> {
        let message = OutboxMessage { outbox: outbox_items.iter().map(OutboxItem::key).collect() };
        let body = serde_json::to_string(&message)
            .map_err(|error| HubError::failed(format!("cannot write a message: {error}")))?;
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_group_id(account)
            .message_body(body)
            .send()
            .await
            .map_err(|error| failed("sqs:SendMessage", &error))?;
        Ok(())
    }
}
