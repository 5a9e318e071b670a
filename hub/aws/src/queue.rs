//! The write-back queue: says what was put into the outbox, so that it is told
//! at once and together with others. It carries keys, never contents: what it
//! loses the sweep finds.

use aws_config::SdkConfig;
use serde::{Deserialize, Serialize};

use crate::error::{HubError, failed};
use crate::settings::Settings;
use firebreak_response::outbox::{Outgoing, OutgoingKey};

/// A message of the write-back queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxMessage {
    /// What is to be told.
    pub outbox: Vec<OutgoingKey>,
}

/// The write-back queue.
#[derive(Clone, Debug)]
pub struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
}

impl Queue {
    /// The queue of the settings; `None` where there is none, and the hub tells
    /// everybody itself at once.
    pub fn new(config: &SdkConfig, settings: &Settings) -> Option<Self> {
        let url = settings.write_back_queue.clone()?;
        Some(Self { client: aws_sdk_sqs::Client::new(config), url })
    }

    /// Says that these are to be told. Messages of one account are a group, so
    /// that one account's storm does not delay the others (SQS developer guide,
    /// "Amazon SQS fair queues").
    pub async fn send(&self, account: &str, outgoing: &[Outgoing]) -> Result<(), HubError> {
        let message = OutboxMessage { outbox: outgoing.iter().map(Outgoing::key).collect() };
        let body = serde_json::to_string(&message)
            .map_err(|error| HubError::Failed(format!("cannot write a message: {error}")))?;
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
