//! A stub of the Lambda runtime API, and the `bootstrap` program in front of it.
//! FIREBREAK_BOOTSTRAP names another binary than the one that was built with the
//! tests: the one that `hub/package` packed.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]
#![expect(clippy::disallowed_methods, reason = "a test's servers end with it")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use assert_cmd::cargo::cargo_bin;
use firebreak_demo::world::{HOME, HUB};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Killed when the test ends, however it ends.
pub(crate) struct Function(pub(crate) Child);

impl Drop for Function {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        self.0.wait().unwrap();
    }
}

/// What the function is invoked with, and how long it may take.
pub(crate) struct Invocation {
    pub(crate) event: Value,
    pub(crate) within: Duration,
}

/// Whether the host has the extensions API beside the runtime API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extensions {
    Offered,
    Missing,
}

pub(crate) struct Runtime {
    extensions: Extensions,
    invocations: Mutex<VecDeque<Invocation>>,
    more: Notify,
    answers: UnboundedSender<Value>,
    pub(crate) first_poll: Mutex<Option<Instant>>,
    /// Of the invocation that is under way.
    deadline: Mutex<Option<Instant>>,
}

impl Runtime {
    /// A runtime that has these invocations, and where their answers come.
    pub(crate) fn new(
        extensions: Extensions,
        invocations: Vec<Invocation>,
    ) -> (Arc<Self>, UnboundedReceiver<Value>) {
        let (sender, answers) = unbounded_channel();
        let runtime = Self {
            extensions,
            invocations: Mutex::new(invocations.into()),
            more: Notify::new(),
            answers: sender,
            first_poll: Mutex::new(None),
            deadline: Mutex::new(None),
        };
        (Arc::new(runtime), answers)
    }

    /// Adds an invocation.
    pub(crate) fn invoke(&self, invocation: Invocation) {
        self.invocations.lock().unwrap().push_back(invocation);
        self.more.notify_one();
    }

    async fn next(&self) -> Invocation {
        loop {
            if let Some(next) = self.invocations.lock().unwrap().pop_front() {
                return next;
            }
            self.more.notified().await;
        }
    }

    /// The program, at this runtime's address, with nothing else in its environment.
    pub(crate) fn program(address: SocketAddr) -> Command {
        let named = std::env::var_os("FIREBREAK_BOOTSTRAP").map(PathBuf::from);
        let mut command = Command::new(named.unwrap_or_else(|| cargo_bin("bootstrap")));
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "firebreak")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "firebreak")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "firebreak");
        command
    }
}

fn empty() -> Full<Bytes> {
    Full::new(Bytes::new())
}

/// The two calls of the runtime API that a function makes, and the two of the
/// extensions API that its graceful shutdown does (Lambda developer guide,
/// "Using the Lambda runtime API", "Using the Lambda Extensions API").
async fn answer(
    runtime: Arc<Runtime>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    if path.contains("/extension/") && runtime.extensions == Extensions::Missing {
        return Ok(Response::builder().status(404).body(empty()).unwrap());
    }
    if path.ends_with("/extension/register") {
        let body =
            json!({ "functionName": "firebreak", "functionVersion": "$LATEST", "handler": "x" });
        let response = Response::builder()
            .header("Lambda-Extension-Identifier", "extension-1")
            .body(Full::new(Bytes::from(body.to_string())));
        return Ok(response.unwrap());
    }
    if path.ends_with("/extension/event/next") {
        return std::future::pending().await;
    }
    if path.ends_with("/invocation/next") {
        runtime.first_poll.lock().unwrap().get_or_insert_with(Instant::now);
        let next = runtime.next().await;
        *runtime.deadline.lock().unwrap() = Some(Instant::now() + next.within);
        let deadline = (SystemTime::now() + next.within)
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_millis();
        let response = Response::builder()
            .header("Lambda-Runtime-Aws-Request-Id", "invocation-1")
            .header("Lambda-Runtime-Deadline-Ms", deadline.to_string())
            .header("Lambda-Runtime-Trace-Id", "Root=1-0-0")
            .header(
                "Lambda-Runtime-Invoked-Function-Arn",
                format!("arn:aws:lambda:{HOME}:{HUB}:function:firebreak"),
            )
            .body(Full::new(Bytes::from(next.event.to_string())));
        return Ok(response.unwrap());
    }
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let deadline = runtime.deadline.lock().unwrap().take();
    let in_time = deadline.is_some_and(|deadline| Instant::now() < deadline);
    let body: Value = serde_json::from_slice(&body).unwrap();
    let said = json!({ "path": path, "body": body, "inTime": in_time });
    runtime.answers.send(said).unwrap();
    Ok(Response::builder().status(202).body(empty()).unwrap())
}

pub(crate) async fn serve_runtime(runtime: Arc<Runtime>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut connections = tokio::task::JoinSet::new();
    let accept = async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let runtime = runtime.clone();
            connections.spawn(async move {
                let service = service_fn(|request| answer(runtime.clone(), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                // The function is killed in the middle of a poll at the end.
                drop(connection.await);
            });
        }
    };
    tokio::task::spawn(accept);
    address
}

pub(crate) fn record(id: &str, body: &str) -> Value {
    json!({ "messageId": id, "eventSource": "aws:sqs", "body": body })
}

pub(crate) fn batch(records: &[Value], within: Duration) -> Invocation {
    Invocation { event: json!({ "Records": records }), within }
}
