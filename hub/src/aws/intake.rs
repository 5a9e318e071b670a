//! The intake queue, as far as the function asks something of it: to bring a
//! message back sooner than the visibility timeout would.

use aws_config::SdkConfig;
use aws_sdk_sqs::types::ChangeMessageVisibilityBatchRequestEntry as Entry;

use crate::aws::error::{HubError, failed};
use crate::settings::Settings;

/// How soon, in seconds. By then most of what passes has passed: a throttle,
/// another worker at the same target, a service that does not have its own
/// finding yet.
const SOON: i32 = 15;

/// "The maximum of entries is 10" (SQS API reference, ChangeMessageVisibilityBatch).
const AT_ONCE: usize = 10;

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

    /// Has messages come back soon, which the answer to Lambda has to report as
    /// failed all the same.
    ///
    /// # Errors
    ///
    /// SQS did not do so for all of them: the others come back after the
    /// visibility timeout.
    pub async fn bring_back_soon(&self, receipts: &[String]) -> Result<(), HubError> {
        let call = "sqs:ChangeMessageVisibility";
        for some in receipts.chunks(AT_ONCE) {
            let mut change = self.client.change_message_visibility_batch().queue_url(&self.url);
            for (number, receipt) in some.iter().enumerate() {
                let entry = Entry::builder()
                    .id(number.to_string())
                    .receipt_handle(receipt)
                    .visibility_timeout(SOON)
                    .build()
                    .map_err(|error| HubError::Failed(format!("{call}: {error}")))?;
                change = change.entries(entry);
            }
            let changed = change.send().await.map_err(|error| failed(call, &error))?;
            if let Some(first) = changed.failed().first() {
                let why = first.message().unwrap_or("no reason given");
                let (count, code) = (changed.failed().len(), first.code());
                return Err(HubError::Failed(format!(
                    "{call}: refused for {count} message(s): {code}: {why}"
                )));
            }
        }
        Ok(())
    }
}
