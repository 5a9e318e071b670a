//! The intake queue, as far as the function asks something of it: to bring a
//! message back sooner than the visibility timeout would.

use aws_config::SdkConfig;

use crate::error::{HubError, failed};
use crate::settings::Settings;

/// How soon, in seconds. By then most of what passes has passed: a throttle,
/// another worker at the same target, a service that does not have its own
/// finding yet.
const SOON: i32 = 15;

/// The intake queue.
#[derive(Clone, Debug)]
pub struct Intake {
    client: aws_sdk_sqs::Client,
    url: String,
}

impl Intake {
    /// The queue of the settings; `None` where there is none, and what failed
    /// comes back after the queue's visibility timeout.
    pub fn new(config: &SdkConfig, settings: &Settings) -> Option<Self> {
        let url = settings.intake_queue.clone()?;
        Some(Self { client: aws_sdk_sqs::Client::new(config), url })
    }

    /// Has the message of a receipt come back soon, which the answer to Lambda
    /// has to report as failed all the same.
    ///
    /// # Errors
    ///
    /// SQS did not: it comes back after the visibility timeout.
    pub async fn bring_back_soon(&self, receipt: &str) -> Result<(), HubError> {
        let change = self.client.change_message_visibility().queue_url(&self.url);
        let change = change.receipt_handle(receipt).visibility_timeout(SOON);
        let changed = change.send().await;
        changed.map(|_| ()).map_err(|error| failed("sqs:ChangeMessageVisibility", &error))
    }
}
