//! The hub's clock.

use std::sync::Arc;

use aws_config::SdkConfig;
use firebreak_aws::config;
use jiff::Timestamp;

/// The clock of the configuration: the system's, or a simulation's.
#[derive(Clone, Debug)]
pub(super) struct Clock(Arc<SdkConfig>);

impl Clock {
    pub(super) fn new(config: SdkConfig) -> Self {
        Self(Arc::new(config))
    }

    pub(super) fn now(&self) -> Timestamp {
        config::now(&self.0)
    }
}
