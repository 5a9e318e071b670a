//! The intake queue: makes SQS deliver a message again sooner than after its visibility
//! timeout.

use aws_config::SdkConfig;

use crate::error::{HubError, failed};
use crate::settings::Settings;

/// In seconds. Most transient failures are over by then: throttling, another worker on
/// the same target, a service that does not have its own finding yet.
const SOON: i32 = 15;

/// The intake queue.
#[derive(Clone, Debug)]
pub struct Intake {
    client: aws_sdk_sqs::Client,
    url: String,
}

impl Intake {
    /// The configured queue. `None` if none is configured: a failed message is
    /// delivered again after its visibility timeout.
    pub fn new(config: &SdkConfig, settings: &Settings) -> Option<Self> {
        let url = settings.intake_queue.clone()?;
        Some(Self { client: aws_sdk_sqs::Client::new(config), url })
    }

    /// Makes SQS deliver the message of this receipt again soon. The response to Lambda
    /// must still report it as failed.
    ///
    /// # Errors
    ///
    /// SQS rejected the call: the message is delivered again after its visibility
    /// timeout.
    pub async fn bring_back_soon(&self, receipt: &str) -> Result<(), HubError> {
        let change = self.client.change_message_visibility().queue_url(&self.url);
        let change = change.receipt_handle(receipt).visibility_timeout(SOON);
        let changed = change.send().await;
        changed.map(|_| ()).map_err(|error| failed("sqs:ChangeMessageVisibility", &error))
    }
}
