//! The calls to AWS that set up and survey an organization.

mod call_error;
pub mod coverage;
pub mod deploy;
pub mod setup;
pub mod stacksets;

use aws_config::SdkConfig;
use firebreak_model::resource::Region;

/// The configuration for one Region.
fn regional(config: &SdkConfig, region: &Region) -> SdkConfig {
    config.to_builder().region(aws_config::Region::new(region.to_string())).build()
}
