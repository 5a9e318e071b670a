//! The SDK configuration that every client of one process shares.

use std::time::{Duration, SystemTime};

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use firebreak_model::resource::Region;
use jiff::Timestamp;

/// The behaviour of the SDKs that this version was tested with.
pub fn behavior_version() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// Loads credentials and Region the way every AWS tool does: environment,
/// profile, container, instance metadata.
pub async fn from_environment() -> SdkConfig {
    with_limits(aws_config::defaults(behavior_version())).load().await
}

/// The same with another HTTP client, which the simulated organization provides.
pub async fn with_http_client(
    http_client: SharedHttpClient,
    credentials: aws_credential_types::Credentials,
    time_source: impl aws_smithy_async::time::TimeSource + 'static,
    region: &Region,
) -> SdkConfig {
    with_limits(aws_config::defaults(behavior_version()))
        .http_client(http_client)
        .credentials_provider(credentials)
        .time_source(time_source)
        .region(aws_config::Region::new(region.to_string()))
        // No setting of this machine may affect the simulation.
        .empty_test_environment()
        .load()
        .await
}

/// How often a call is tried, and the longest wait before the second try, which is doubled
/// before each further one. The SDK's second would delay a containment; Firebreak keeps to
/// the documented rates, so a throttled call is seldom one of many.
pub const ATTEMPTS: u32 = 5;
const FIRST_BACKOFF: Duration = Duration::from_millis(250);

/// The SDK has no operation timeout by default: a call that hangs would block its
/// finding until the function is killed.
fn with_limits(loader: aws_config::ConfigLoader) -> aws_config::ConfigLoader {
    loader
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(3))
                .operation_attempt_timeout(Duration::from_secs(10))
                .operation_timeout(Duration::from_secs(45))
                .build(),
        )
        .retry_config(
            RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(FIRST_BACKOFF),
        )
}

/// The present time by the configuration's clock, which a simulation replaces.
pub fn now(config: &SdkConfig) -> Timestamp {
    // Every configuration that is loaded here has a time source.
    let time = config.time_source().map_or(SystemTime::UNIX_EPOCH, |source| source.now());
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}
