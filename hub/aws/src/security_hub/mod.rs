//! Security Hub, with the hub's credentials, which must be those of the delegated
//! administrator: updates and reads its findings.
//!
//! [`report`](SecurityHub::report) decides where each update is written;
//! `status::merge`, which is pure, merges an update with the present finding.

mod export;
mod failure;
mod lookup;
mod read;
mod update;
mod write;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_config::SdkConfig;
use firebreak_client::rate_limit::RateLimits;
use firebreak_model::resource::Region;

use self::lookup::Lookups;
use crate::settings::Settings;

pub use self::update::{FindingUpdate, UpdateResult, UpdatedFinding};

/// The clients, one for each Region that findings are read and updated in.
#[derive(Debug)]
pub struct SecurityHub {
    config: SdkConfig,
    aggregator_region: Option<Region>,
    lookups: Lookups,
    rate_limits: RateLimits,
    clients: Mutex<HashMap<Region, aws_sdk_securityhub::Client>>,
}

impl SecurityHub {
    /// Makes no call yet.
    pub fn new(config: &SdkConfig, settings: &Settings, rate_limits: &RateLimits) -> Self {
        Self {
            config: config.clone(),
            aggregator_region: settings.aggregator_region.clone(),
            lookups: Lookups::default(),
            rate_limits: rate_limits.clone(),
            clients: Mutex::default(),
        }
    }

    fn client(&self, region: &Region) -> aws_sdk_securityhub::Client {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients
            .entry(region.clone())
            .or_insert_with(|| {
                let config = aws_sdk_securityhub::config::Builder::from(&self.config)
                    .region(aws_sdk_securityhub::config::Region::new(region.to_string()))
                    .build();
                aws_sdk_securityhub::Client::from_conf(config)
            })
            .clone()
    }
}
