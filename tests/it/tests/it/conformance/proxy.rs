//! A proxy before moto: every call takes some time longer, and is written down with its
//! times. What moto does not serve is answered here: GuardDuty's findings, and Security Hub's
//! GetFindings and BatchUpdateFindings. Nothing else is changed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

/// A call that was answered.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) service: String,
    pub(crate) operation: String,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) status: u16,
}

/// What the proxy knows and has seen.
#[derive(Debug)]
pub(crate) struct Proxy {
    moto: SocketAddr,
    latency: Duration,
    /// The findings, as GuardDuty and as Security Hub have them.
    findings: Mutex<Vec<(Value, Value)>>,
    /// The bodies of BatchUpdateFindings.
    updates: Mutex<Vec<Value>>,
    calls: Mutex<Vec<Call>>,
}

impl Proxy {
    /// Starts a proxy; it ends with the test's runtime. Returns it with its address.
    #[expect(clippy::disallowed_methods, reason = "a test's servers end with it")]
    pub(crate) async fn start(moto: SocketAddr, latency: Duration) -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Arc::new(Self {
            moto,
            latency,
            findings: Mutex::default(),
            updates: Mutex::default(),
            calls: Mutex::default(),
        });
        let served = proxy.clone();
        let accept = async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let proxy = served.clone();
                tokio::task::spawn(async move {
                    let service = service_fn(|request| proxy.clone().answer(request));
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    // The function is killed at the end of the test.
                    drop(connection.await);
                });
            }
        };
        tokio::task::spawn(accept);
        (proxy, address)
    }

    /// Makes a finding known to GuardDuty and Security Hub.
    pub(crate) fn add_finding(&self, guardduty: Value, security_hub: Value) {
        self.findings.lock().unwrap().push((guardduty, security_hub));
    }

    /// The calls since the last time.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// The bodies of BatchUpdateFindings.
    pub(crate) fn updates(&self) -> Vec<Value> {
        self.updates.lock().unwrap().clone()
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let began = Instant::now();
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let (service, operation) = (service(&parts), operation(&parts, &body));
        tokio::time::sleep(self.latency).await;
        let response = match self.not_served_by_moto(&service, &operation, &body) {
            Some(answer) => Response::builder()
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(answer.to_string())))
                .unwrap(),
            None => self.forward(parts, body).await,
        };
        let status = response.status().as_u16();
        let call = Call { service, operation, began, ended: Instant::now(), status };
        self.calls.lock().unwrap().push(call);
        Ok(response)
    }

    /// GuardDuty API reference, GetFindings and ArchiveFindings; Security Hub API reference,
    /// GetFindings and BatchUpdateFindings.
    fn not_served_by_moto(&self, service: &str, operation: &str, body: &[u8]) -> Option<Value> {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let findings = self.findings.lock().unwrap();
        match service {
            "guardduty" if operation == "GET /detector" => {
                Some(json!({ "detectorIds": ["d0".repeat(16)] }))
            }
            "guardduty" if operation.ends_with("/findings/get") => {
                let ids = body["findingIds"].as_array()?;
                let found = findings.iter().map(|(finding, _)| finding);
                let found: Vec<_> = found.filter(|finding| ids.contains(&finding["id"])).collect();
                Some(json!({ "findings": found }))
            }
            "guardduty" if operation.ends_with("/findings/archive") => Some(json!({})),
            "securityhub" if operation == "POST /findings" => {
                let ids = body["Filters"]["Id"].as_array()?;
                let asked = |finding: &Value| ids.iter().any(|id| id["Value"] == finding["Id"]);
                let found = findings.iter().map(|(_, finding)| finding);
                let found: Vec<_> = found.filter(|finding| asked(finding)).collect();
                Some(json!({ "Findings": found }))
            }
            "securityhub" if operation == "PATCH /findings/batchupdate" => {
                self.updates.lock().unwrap().push(body.clone());
                let done = &body["FindingIdentifiers"];
                Some(json!({ "ProcessedFindings": done, "UnprocessedFindings": [] }))
            }
            _ => None,
        }
    }

    async fn forward(&self, parts: Parts, body: Bytes) -> Response<Full<Bytes>> {
        let stream = TcpStream::connect(self.moto).await.unwrap();
        let connection = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = connection.await.unwrap();
        let call = async {
            let request = Request::from_parts(parts, Full::new(body));
            let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            drop(sender);
            Response::from_parts(parts, Full::new(body))
        };
        // The connection ends when its sender does.
        let (response, _) = tokio::join!(call, connection);
        response
    }
}

/// The service in the scope of the signature (IAM user guide, "AWS Signature Version 4").
fn service(parts: &Parts) -> String {
    let header = parts.headers.get("authorization").and_then(|it| it.to_str().ok());
    header.and_then(|it| it.split('/').nth(3)).unwrap_or("unknown").to_owned()
}

/// The operation: of JSON services in a header, of Query services in the body, of REST
/// services the method and the path.
fn operation(parts: &Parts, body: &[u8]) -> String {
    let target = parts.headers.get("x-amz-target").and_then(|it| it.to_str().ok());
    if let Some((_, operation)) = target.and_then(|it| it.rsplit_once('.')) {
        return operation.to_owned();
    }
    let form = std::str::from_utf8(body).unwrap_or_default();
    let action = form.split('&').find_map(|pair| pair.strip_prefix("Action="));
    action.map_or_else(|| format!("{} {}", parts.method, parts.uri.path()), str::to_owned)
}

/// Whether a call was answered without an error.
impl Call {
    pub(crate) fn succeeded(&self) -> bool {
        self.status < StatusCode::BAD_REQUEST.as_u16()
    }
}
