//! The HTTP client of all calls, in the hub's account, a member account or a cluster: a
//! call ends while there is time to hand back its work, and is counted.
//!
//! # Guarantees
//!
//! - A call without a response in time fails with an error that is
//!   [`Transient`](firebreak_model::error::ErrorKind::Transient) and that the SDK does not
//!   retry, because there is no time for it.
//! - The limit includes reading the response's body.
//!
//! It never changes or keeps a request or a response.

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
    /// Requests, including retries.
    pub calls: u64,
    /// Responses that asked to slow down.
    pub throttles: u64,
}

/// The calls of a process, by service name in the signature. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Counts(Arc<Mutex<BTreeMap<String, Count>>>);

impl Counts {
    /// Returns the counts since the last call of this method.
    pub fn take(&self) -> BTreeMap<String, Count> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, service: &str, change: impl FnOnce(&mut Count)) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(counts.entry(service.to_owned()).or_default());
    }
}

/// The limit of a call: the deadline minus a margin. The call is counted.
#[derive(Clone, Debug)]
pub struct Limits {
    pub deadline: Deadline,
    /// How long before the deadline the call ends.
    pub margin: Duration,
    pub counts: Counts,
}

impl Limits {
    /// Applies the limits to an HTTP client.
    pub fn over(&self, inner: SharedHttpClient) -> SharedHttpClient {
        SharedHttpClient::new(Limited { limits: self.clone(), inner })
    }
}

/// The SDK's default HTTP client for this configuration. Shared, it opens connections and
/// reads the trusted certificate authorities once.
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
            let response = match until {
                None => send(&inner, request).await?,
                Some(until) => timeout_at(until, send(&inner, request))
                    .await
                    .map_err(|_| out_of_time("the call got no response"))??,
            };
            if is_throttle(&response) {
                limits.counts.change(&service, |count| count.throttles += 1);
            }
            Ok(response)
        })
    }
}

/// Not a timeout or an I/O error, which the SDK would retry.
fn out_of_time(what: &str) -> ConnectorError {
    let why = format!("{what}: the invocation ran out of time; the next delivery continues");
    ConnectorError::other(why.into(), None)
}

async fn send(
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
/// (`Credential=AKIA…/20260101/us-east-1/ec2/aws4_request`). A request without a signature
/// goes to a cluster: the Kubernetes API takes a token.
fn service(request: &HttpRequest) -> String {
    let scope = request.headers().get("authorization").and_then(|header| {
        let scope = header.split_once("Credential=")?.1.split([',', ' ']).next()?;
        scope.rsplit('/').nth(1)
    });
    scope.unwrap_or("kubernetes").to_owned()
}

/// Status 429 or 503, or status 400 with an error code.
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
    fn every_form_of_throttling_is_recognized() {
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
    fn the_service_is_read_from_the_signature() {
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
