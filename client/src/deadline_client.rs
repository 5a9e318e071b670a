//! What every AWS call goes through, hub's, member account's or cluster's: it
//! ends while there is time left to hand its work back, and it is counted.
//!
//! # Guarantees
//!
//! - A call that cannot be answered in time ends with an error that is
//!   [`Transient`](firebreak_model::error::Kind::Transient) and that the SDK does not try
//!   again: there would be no time for it.
//! - The answer's body is read under the same limit as its head.
//!
//! It never changes a request or an answer, and keeps nothing of either.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime::client::defaults::default_http_client_plugin_v2;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_runtime_api::client::runtime_plugin::RuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::config_bag::ConfigBag;
use aws_types::SdkConfig;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::deadline::Deadline;

/// How often a service was called, and how often it throttled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Requests that were sent, each try by itself.
    pub calls: u64,
    /// Answers that asked to slow down.
    pub throttles: u64,
}

/// The calls of a process by service, as the signature names it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Counts(Arc<Mutex<BTreeMap<String, Count>>>);

impl Counts {
    /// What was counted since the last time somebody took it.
    pub fn take(&self) -> BTreeMap<String, Count> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, service: &str, change: impl FnOnce(&mut Count)) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(counts.entry(service.to_owned()).or_default());
    }
}

/// What a call has to keep to: the deadline less a margin. Its calls are counted.
#[derive(Clone, Debug)]
pub struct Limits {
    /// When the invocation ends.
    pub deadline: Deadline,
    /// How long before it the call ends.
    pub margin: Duration,
    /// Where the call is counted.
    pub counts: Counts,
}

impl Limits {
    /// Puts the limits over an HTTP client.
    pub fn over(&self, inner: SharedHttpClient) -> SharedHttpClient {
        SharedHttpClient::new(Limited { limits: self.clone(), inner })
    }
}

/// The HTTP client that the SDK would make for this configuration by itself:
/// shared, it opens its connections and reads the trusted authorities once.
pub fn default_client(config: &SdkConfig) -> Option<SharedHttpClient> {
    let plugin = default_http_client_plugin_v2(config.behavior_version()?)?;
    plugin.runtime_components(&RuntimeComponentsBuilder::new("default")).http_client()
}

#[derive(Debug)]
struct Limited {
    limits: Limits,
    inner: SharedHttpClient,
}

impl HttpClient for Limited {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { limits: self.limits.clone(), inner })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.inner.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.inner.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.inner.connector_metadata()
    }
}

#[derive(Clone, Debug)]
struct Connector {
    limits: Limits,
    inner: SharedHttpConnector,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { limits, inner } = self.clone();
        HttpConnectorFuture::new(async move {
            let until = limits.deadline.before(limits.margin);
            if until.is_some_and(|until| Instant::now() >= until) {
                return Err(out_of_time("the call was not made"));
            }
            let service = service(&request);
            limits.counts.change(&service, |count| count.calls += 1);
            let answer = match until {
                None => answer(&inner, request).await?,
                Some(until) => timeout_at(until, answer(&inner, request))
                    .await
                    .map_err(|_| out_of_time("the call was not answered"))??,
            };
            if is_throttle(&answer) {
                limits.counts.change(&service, |count| count.throttles += 1);
            }
            Ok(answer)
        })
    }
}

/// Neither a timeout nor an I/O error to the SDK, which would try those again.
fn out_of_time(what: &str) -> ConnectorError {
    let why = format!("{what}: the invocation ran out of time, its next delivery goes on");
    ConnectorError::other(why.into(), None)
}

async fn answer(
    inner: &SharedHttpConnector,
    request: HttpRequest,
) -> Result<HttpResponse, ConnectorError> {
    let mut response = inner.call(request).await?;
    let body = ByteStream::new(response.take_body()).collect().await;
    let body = body.map_err(|error| ConnectorError::io(error.into()))?;
    *response.body_mut() = SdkBody::from(body.into_bytes());
    Ok(response)
}

/// The service's name in the signature's scope
/// (`Credential=AKIA…/20260101/us-east-1/ec2/aws4_request`). What is not signed
/// goes to a cluster: a Kubernetes API takes a token.
fn service(request: &HttpRequest) -> String {
    let scope = request.headers().get("authorization").and_then(|header| {
        let scope = header.split_once("Credential=")?.1.split([',', ' ']).next()?;
        scope.rsplit('/').nth(1)
    });
    scope.unwrap_or("kubernetes").to_owned()
}

/// 429 and 503 say so by themselves; other services answer 400 with a code.
fn is_throttle(response: &HttpResponse) -> bool {
    let status = response.status().as_u16();
    if status < 400 {
        return false;
    }
    if matches!(status, 429 | 503) {
        return true;
    }
    let named = response.headers().get("x-amzn-errortype").map(str::to_owned);
    let code = named.or_else(|| code_of(response.body().bytes()?));
    code.is_some_and(|code| {
        // `com.amazonaws.x#ThrottlingException`, `ThrottlingException:http://…`
        let code = code.rsplit('#').next().unwrap_or(&code);
        let code = code.split(':').next().unwrap_or(code);
        ["Throttl", "TooManyRequests", "ProvisionedThroughputExceeded"]
            .iter()
            .any(|start| code.starts_with(start))
            || matches!(code, "RequestLimitExceeded" | "SlowDown" | "RequestThrottled")
    })
}

/// The error code of a body: `<Code>` in XML, `__type` or `code` in JSON.
fn code_of(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    if let Some((_, rest)) = text.split_once("<Code>") {
        return rest.split_once("</Code>").map(|(code, _)| code.trim().to_owned());
    }
    let json: Value = serde_json::from_str(text).ok()?;
    ["__type", "code", "Code"].iter().find_map(|key| json.get(key)?.as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttled(status: u16, header: Option<&str>, body: &str) -> bool {
        let mut response = http::Response::builder().status(status);
        if let Some(header) = header {
            response = response.header("x-amzn-errortype", header);
        }
        let response = response.body(SdkBody::from(body)).unwrap();
        is_throttle(&HttpResponse::try_from(response).unwrap())
    }

    #[test]
    fn every_way_to_say_slow_down_is_a_throttle() {
        let check = |status: u16, header: Option<&str>, body: &str, expected: bool| {
            assert_eq!(throttled(status, header, body), expected, "{status} {header:?} {body}");
        };
        check(429, None, "", true);
        check(503, None, "<Response><Errors/></Response>", true);
        check(400, Some("ThrottlingException:http://internal/"), "{}", true);
        check(400, None, r#"{"__type":"com.amazonaws.dynamodb#ThrottlingException"}"#, true);
        check(400, None, r#"{"__type":"ProvisionedThroughputExceededException"}"#, true);
        check(400, None, "<ErrorResponse><Error><Code>Throttling</Code></Error>", true);
        check(400, None, r#"{"code":"TooManyRequestsException"}"#, true);
        check(400, None, "<Error><Code>RequestLimitExceeded</Code></Error>", true);
        check(403, None, "<Error><Code>AccessDenied</Code></Error>", false);
        check(400, None, "not JSON", false);
        check(200, None, "<Code>Throttling</Code>", false);
    }

    #[test]
    fn the_service_is_the_signature_s() {
        let request = |authorization: &str| {
            let mut request = HttpRequest::empty();
            request.headers_mut().insert("authorization", authorization.to_owned());
            service(&request)
        };
        let signed = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/ec2/aws4_request, x";
        assert_eq!(request(signed), "ec2");
        assert_eq!(request("Bearer k8s-aws-v1.x"), "kubernetes");
        assert_eq!(service(&HttpRequest::empty()), "kubernetes");
    }
}
