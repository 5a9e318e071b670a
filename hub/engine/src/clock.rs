//! The hub's clock.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use firebreak_aws::config;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

/// The clock of the configuration: the system's, or a simulation's.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    config: Arc<SdkConfig>,
    began: Instant,
}

impl Clock {
    pub(super) fn new(config: SdkConfig) -> Self {
        Self { config: Arc::new(config), began: Instant::now() }
    }

    /// Sleeps until the next full interval since the clock was made. All that wait in a
    /// process wake at the same moment, and share their calls.
    pub(super) async fn next(&self, interval: Duration) {
        let over = self.began.elapsed().as_nanos() % interval.as_nanos().max(1);
        let over = Duration::from_nanos(u64::try_from(over).unwrap_or(0));
        sleep(interval.saturating_sub(over)).await;
    }

    pub(super) fn now(&self) -> Timestamp {
        config::now(&self.config)
    }
}
