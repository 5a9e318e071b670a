//! The unmodified Lambda function: the `bootstrap` binary against a stub of the
//! Lambda runtime API, with the simulated organization on a loopback address.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]
#![expect(clippy::disallowed_methods, reason = "a test's servers end with it")]

use std::convert::Infallible;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use firebreak_hub::cli::demo::example_policy;
use firebreak_hub::cli::demo::world::{Attack, HOME, HUB, World, event};
use firebreak_simulation::Options;
use firebreak_simulation::serve::serve;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Killed when the test ends, however it ends.
struct Function(Child);

impl Drop for Function {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

struct Runtime {
    invocations: Mutex<Vec<Value>>,
    answers: Mutex<Option<oneshot::Sender<Value>>>,
}

/// The two calls of the runtime API that a function makes (Lambda developer
/// guide, "Using the Lambda runtime API").
async fn answer(
    runtime: Arc<Runtime>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    if path.ends_with("/invocation/next") {
        let next = runtime.invocations.lock().unwrap().pop();
        let Some(next) = next else { return std::future::pending().await };
        let response = Response::builder()
            .header("Lambda-Runtime-Aws-Request-Id", "invocation-1")
            .header("Lambda-Runtime-Deadline-Ms", "4102444800000")
            .header("Lambda-Runtime-Trace-Id", "Root=1-0-0")
            .header(
                "Lambda-Runtime-Invoked-Function-Arn",
                format!("arn:aws:lambda:{HOME}:{HUB}:function:firebreak"),
            )
            .body(Full::new(Bytes::from(next.to_string())));
        return Ok(response.unwrap());
    }
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let said = json!({ "path": path, "body": serde_json::from_slice::<Value>(&body).unwrap() });
    if let Some(answers) = runtime.answers.lock().unwrap().take() {
        answers.send(said).unwrap();
    }
    Ok(Response::builder().status(202).body(Full::new(Bytes::new())).unwrap())
}

async fn serve_runtime(runtime: Arc<Runtime>) -> SocketAddr {
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

#[tokio::test(flavor = "multi_thread")]
async fn the_function_contains_and_names_the_message_that_it_could_not_handle() {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let start = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(now).unwrap();
    let world = World::new(4, Options { start, ..Options::default() });
    world.responder(&example_policy().unwrap()).await.unwrap();
    let member = world.members[0].clone();
    let finding = Attack::Instance.finding(&member, 1);
    world.raise(&finding);
    world.import(&finding);

    let (ready, simulation) = oneshot::channel();
    let organization = world.organization.clone();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    tokio::task::spawn(async move {
        serve(organization, any, |address| ready.send(address).unwrap()).await.unwrap();
    });
    let simulation = simulation.await.unwrap();

    let record =
        |id: &str, body: String| json!({ "messageId": id, "eventSource": "aws:sqs", "body": body });
    let batch = json!({ "Records": [
        record("good", event(&finding).to_string()),
        record("garbage", "not a finding".to_owned()),
    ]});
    let (answers, answered) = oneshot::channel();
    let runtime = Arc::new(Runtime {
        invocations: Mutex::new(vec![batch]),
        answers: Mutex::new(Some(answers)),
    });
    let api = serve_runtime(runtime).await;

    let session = world.organization.role_session(HUB, "FirebreakHub", "function");
    let binary = cargo_bin("bootstrap");
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join("function.log");
    let function = Command::new(&binary)
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", api.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "firebreak")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "firebreak")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "firebreak")
        .env("AWS_ENDPOINT_URL", format!("http://{simulation}"))
        .env("AWS_REGION", HOME)
        .env("AWS_ACCESS_KEY_ID", session.access_key_id())
        .env("AWS_SECRET_ACCESS_KEY", session.secret_access_key())
        .env("AWS_SESSION_TOKEN", session.session_token().unwrap())
        .env("FIREBREAK_EXTERNAL_ID", "firebreak-demo")
        .env("FIREBREAK_AGGREGATOR_REGION", HOME)
        .stdout(File::create(&log).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            unreachable!("{}: {error}; `cargo build --workspace` builds it", binary.display())
        });
    let function = Function(function);
    let said = tokio::time::timeout(Duration::from_secs(60), answered).await.unwrap().unwrap();
    drop(function);

    assert!(
        said["path"].as_str().unwrap().ends_with("/invocation/invocation-1/response"),
        "{said}"
    );
    assert_eq!(said["body"]["batchItemFailures"], json!([{ "itemIdentifier": "garbage" }]));
    let reaches = world.organization.edit(|state| {
        state.ec2(&member.account, &member.region).reaches_internet(&member.instance)
    });
    assert!(!reaches);
    assert_eq!(world.security_hub_status(&finding).as_deref(), Some("RESOLVED"));

    // CloudWatch takes the metric from a line of the log.
    let log = std::fs::read_to_string(log).unwrap();
    let metrics: Vec<Value> = log
        .lines()
        .filter(|line| line.contains("CloudWatchMetrics"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(metrics.len(), 1, "{log}");
    assert_eq!(metrics[0]["BrokenPolicyDocuments"], 0);
}
