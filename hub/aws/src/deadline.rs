//! Applies the invocation's deadline to every call, of the hub, into member accounts
//! and to clusters, and counts the calls: one HTTP client wraps all of them.
//!
//! Calls into member accounts end first and the hub's own a little later, so that an
//! interrupted response can still be recorded and handed back.

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
pub use firebreak_client::deadline::{Deadline, HAND_BACK, HUB_CALLS, MEMBER_CALLS, NOTHING_NEW};
pub use firebreak_client::deadline_client::{Count, Counts};
use firebreak_client::deadline_client::{Limits, default_client};

/// The calls of one process.
#[derive(Clone, Debug)]
pub struct DeadlineClients {
    /// When the present invocation ends.
    pub deadline: Deadline,
    /// The calls by service.
    pub counts: Counts,
    client: Option<SharedHttpClient>,
    clusters: Clusters,
}

/// The HTTP client for a cluster's API.
#[derive(Clone, Copy, Debug)]
enum Clusters {
    /// A client that trusts the cluster's certificate authority.
    ByAuthority,
    /// The client of the configuration, which a simulation provides.
    AsConfigured,
}

impl DeadlineClients {
    /// Uses the HTTP client of `config`, or the SDK's default. No deadline is set yet.
    pub fn new(config: &SdkConfig) -> Self {
        let given = config.http_client();
        let clusters = if given.is_some() { Clusters::AsConfigured } else { Clusters::ByAuthority };
        Self {
            deadline: Deadline::default(),
            counts: Counts::default(),
            client: given.or_else(|| default_client(config)),
            clusters,
        }
    }

    /// The configuration for the hub's own calls.
    pub fn of_hub(&self, config: &SdkConfig) -> SdkConfig {
        self.under(config, HUB_CALLS)
    }

    /// The configuration for calls into member accounts.
    pub fn into_members(&self, config: &SdkConfig) -> SdkConfig {
        self.under(config, MEMBER_CALLS)
    }

    /// The limits for a cluster's API, if it has its own HTTP client.
    pub fn to_clusters(&self) -> Option<Limits> {
        match self.clusters {
            Clusters::ByAuthority => Some(self.limits(MEMBER_CALLS)),
            Clusters::AsConfigured => None,
        }
    }

    fn under(&self, config: &SdkConfig, margin: std::time::Duration) -> SdkConfig {
        // Without any client the SDK reports that at the first call.
        let Some(client) = &self.client else { return config.clone() };
        let client = self.limits(margin).over(client.clone());
        config.to_builder().http_client(client).build()
    }

    fn limits(&self, margin: std::time::Duration) -> Limits {
        Limits { deadline: self.deadline.clone(), margin, counts: self.counts.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_credential_types::Credentials;
    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_types::body::SdkBody;
    use tokio::time::Instant;

    use super::*;
    use crate::config;
    use crate::error::{HubError, failed};

    /// How the network handles a request.
    #[derive(Clone, Copy, Debug)]
    enum Network {
        Silent,
        Breaking,
        Throttling,
    }

    impl HttpConnector for Network {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            let network = *self;
            HttpConnectorFuture::new(async move {
                match network {
                    Self::Silent => std::future::pending().await,
                    Self::Breaking => Err(ConnectorError::io("connection reset".into())),
                    Self::Throttling => {
                        let body = r#"{"__type":"com.amazonaws#ThrottlingException"}"#;
                        let mut response =
                            HttpResponse::new(400.try_into().unwrap(), SdkBody::from(body));
                        response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
                        Ok(response)
                    }
                }
            })
        }
    }

    async fn calls(network: Network) -> (SdkConfig, DeadlineClients) {
        let connector = SharedHttpConnector::new(network);
        let client = http_client_fn(move |_, _| connector.clone());
        let config = config::with_http_client(
            client,
            Credentials::for_tests(),
            aws_smithy_async::time::SystemTimeSource::new(),
            &"eu-central-1".parse().unwrap(),
        )
        .await;
        let calls = DeadlineClients::new(&config);
        (config, calls)
    }

    async fn read(config: &SdkConfig) -> (HubError, Duration) {
        let start = Instant::now();
        let client = aws_sdk_dynamodb::Client::new(config);
        let error = client.describe_table().table_name("firebreak").send().await.unwrap_err();
        (failed("dynamodb:DescribeTable", &error), start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_times_out_as_transient_and_is_not_retried() {
        let (config, calls) = calls(Network::Silent).await;
        calls.deadline.set(Instant::now() + Duration::from_secs(12));
        let (error, took) = read(&calls.of_hub(&config)).await;
        assert_eq!(took, Duration::from_secs(8));
        assert!(error.is_transient() && error.to_string().contains("ran out of time"), "{error}");
        assert_eq!(calls.counts.take()["dynamodb"], Count { calls: 1, throttles: 0 });
        // A call into a member account ends earlier, so that this can be recorded.
        calls.deadline.set(Instant::now() + Duration::from_secs(12));
        let (_, took) = read(&calls.into_members(&config)).await;
        assert_eq!(took, Duration::from_secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_deadline_has_passed_is_not_made() {
        let (config, calls) = calls(Network::Silent).await;
        calls.deadline.set(Instant::now() + HUB_CALLS);
        let (error, took) = read(&calls.of_hub(&config)).await;
        assert_eq!(took, Duration::ZERO);
        assert!(error.is_transient() && error.to_string().contains("not made"), "{error}");
        assert!(calls.counts.take().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_ends_by_the_deadline_too() {
        let (config, calls) = calls(Network::Breaking).await;
        calls.deadline.set(Instant::now() + HUB_CALLS + Duration::from_millis(1));
        let (error, took) = read(&calls.of_hub(&config)).await;
        assert!(error.is_transient(), "{error}");
        assert!(took < Duration::from_secs(2), "{took:?}");
        let sent = calls.counts.take()["dynamodb"].calls;
        assert!((1..=2).contains(&sent), "{sent}");
    }

    #[tokio::test(start_paused = true)]
    async fn every_attempt_and_every_throttle_is_counted_by_service() {
        let (config, calls) = calls(Network::Throttling).await;
        let (error, _) = read(&calls.of_hub(&config)).await;
        assert!(error.is_transient(), "{error}");
        assert_eq!(calls.counts.take()["dynamodb"], Count { calls: 5, throttles: 5 });
        assert!(calls.counts.take().is_empty(), "taken once");
    }

    #[tokio::test]
    async fn without_a_client_in_the_configuration_the_default_clients_are_used() {
        let config = SdkConfig::builder().behavior_version(config::behavior_version()).build();
        let calls = DeadlineClients::new(&config);
        assert!(calls.of_hub(&config).http_client().is_some());
        assert!(calls.to_clusters().is_some());
        let (_, given) = super::tests::calls(Network::Silent).await;
        assert!(given.to_clusters().is_none());
    }
}
