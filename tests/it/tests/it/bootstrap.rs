//! The unmodified Lambda function: the `bootstrap` binary against a stub of the
//! Lambda runtime API, with the simulated organization on a loopback address.
//! FIREBREAK_BOOTSTRAP names another binary than the one that was built with the
//! tests: the one that `hub/package` packed.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test reports")]
#![expect(clippy::disallowed_methods, reason = "a test's servers end with it")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use assert_cmd::cargo::cargo_bin;
use firebreak_demo::example_policy;
use firebreak_demo::world::{Attack, HOME, HUB, World, event};
use firebreak_simulation::serve::serve;
use firebreak_simulation::{Effect, Fault, Options};
use firebreak_testkit::truth;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

/// Killed when the test ends, however it ends.
struct Function(Child);

impl Drop for Function {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        self.0.wait().unwrap();
    }
}

/// What the function is invoked with, and how long it may take.
struct Invocation {
    event: Value,
    within: Duration,
}

/// Whether the host has the extensions API beside the runtime API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extensions {
    Offered,
    Missing,
}

struct Runtime {
    extensions: Extensions,
    invocations: Mutex<VecDeque<Invocation>>,
    answers: UnboundedSender<Value>,
    first_poll: Mutex<Option<Instant>>,
    /// Of the invocation that is under way.
    deadline: Mutex<Option<Instant>>,
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
        let next = runtime.invocations.lock().unwrap().pop_front();
        let Some(next) = next else { return std::future::pending().await };
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

/// The function, started against a simulated organization.
struct Started {
    world: World,
    function: Function,
    runtime: Arc<Runtime>,
    answers: UnboundedReceiver<Value>,
    log: PathBuf,
    at: Instant,
}

impl Started {
    async fn answer(&mut self) -> Value {
        let said = tokio::time::timeout(Duration::from_secs(60), self.answers.recv());
        let said = said.await.unwrap().unwrap();
        let path = said["path"].as_str().unwrap();
        assert!(path.ends_with("/invocation/invocation-1/response"), "{said}");
        assert_eq!(said["inTime"], true, "{said}");
        said["body"].clone()
    }

    fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn metrics(&self) -> Vec<Value> {
        self.log().into_iter().filter(|line| line.get("_aws").is_some()).collect()
    }
}

/// A world whose clock begins now: the function's is the system's.
async fn world() -> World {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let start = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(now).unwrap();
    let world = World::new(4, Options { start, ..Options::default() });
    world.engine(&example_policy().unwrap()).await.unwrap();
    world
}

async fn start(world: World, name: &str, invocations: Vec<Invocation>) -> Started {
    start_on(Extensions::Offered, world, name, invocations).await
}

async fn start_on(
    extensions: Extensions,
    world: World,
    name: &str,
    invocations: Vec<Invocation>,
) -> Started {
    let (ready, simulation) = oneshot::channel();
    let organization = world.organization.clone();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    tokio::task::spawn(async move {
        serve(organization, any, |address| ready.send(address).unwrap()).await.unwrap();
    });
    let simulation = simulation.await.unwrap();
    let (sender, answers) = unbounded_channel();
    let runtime = Arc::new(Runtime {
        extensions,
        invocations: Mutex::new(invocations.into()),
        answers: sender,
        first_poll: Mutex::new(None),
        deadline: Mutex::new(None),
    });
    let api = serve_runtime(runtime.clone()).await;

    let session = world.organization.role_session(HUB, "FirebreakHub", "function");
    let named = std::env::var_os("FIREBREAK_BOOTSTRAP").map(PathBuf::from);
    let binary = named.unwrap_or_else(|| cargo_bin("bootstrap"));
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.log"));
    let at = Instant::now();
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
        .env("FIREBREAK_SPANS", "close")
        .stdout(File::create(&log).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            unreachable!("{}: {error}; `cargo build --workspace` builds it", binary.display())
        });
    Started { world, function: Function(function), runtime, answers, log, at }
}

/// The memory that a process takes, where the system says it.
fn resident(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn record(id: &str, body: &str) -> Value {
    json!({ "messageId": id, "eventSource": "aws:sqs", "body": body })
}

fn batch(records: &[Value], within: Duration) -> Invocation {
    Invocation { event: json!({ "Records": records }), within }
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_function_contains_and_names_the_message_that_it_could_not_handle() {
    let world = world().await;
    let member = world.members[0].clone();
    let finding = Attack::Instance.finding(&member, 1);
    world.raise(&finding);
    world.import(&finding);
    let records =
        [record("good", &event(&finding).to_string()), record("garbage", "not a finding")];
    let mut started = start(world, "contains", vec![batch(&records, MINUTE)]).await;
    let said = started.answer().await;
    assert_eq!(said["batchItemFailures"], json!([{ "itemIdentifier": "garbage" }]));
    assert!(!truth::reaches_internet(&started.world, &member));
    assert_eq!(started.world.security_hub_status(&finding).as_deref(), Some("RESOLVED"));

    // CloudWatch takes the metrics from lines of the log.
    let metrics = started.metrics();
    for line in &metrics {
        let definition = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(definition["Namespace"], "Firebreak");
        for metric in definition["Metrics"].as_array().unwrap() {
            let value = &line[metric["Name"].as_str().unwrap()];
            assert!(value.is_number() || value.is_array(), "{metric}: {line}");
        }
    }
    let value = |name: &str| metrics.iter().find_map(|line| line.get(name)).cloned();
    assert_eq!(value("Contained"), Some(json!(1)));
    assert_eq!(value("Rejected"), Some(json!(1)));
    assert_eq!(value("BrokenPolicyDocuments"), Some(json!(0)));
    assert_eq!(value("ReceiptToContained").unwrap().as_array().unwrap().len(), 1);

    // Each line about the finding can be found by its ids, and each stage took
    // some time.
    let log = started.log();
    let spans = |line: &Value| line["spans"].as_array().cloned().unwrap_or_default();
    let of_finding = |line: &&Value| {
        let has = |name: &str| spans(line).iter().any(|span| span.get(name).is_some());
        has("message.id") && has("finding.id") && has("account.id")
    };
    assert!(log.iter().any(|line| of_finding(&line)), "{log:?}");
    for stage in
        ["receive", "respond", "handle-target", "capture", "claim", "execute", "write-back"]
    {
        let closed = log.iter().any(|line| {
            line["span"]["name"] == stage
                && line["fields"]["message"] == "close"
                && line["fields"]["time.busy"].is_string()
        });
        assert!(closed, "no duration of {stage}: {log:?}");
    }
    let text = std::fs::read_to_string(&started.log).unwrap();
    let session = started.world.organization.role_session(HUB, "FirebreakHub", "function");
    for secret in [session.secret_access_key(), "schemaVersion", "AWS4-HMAC"] {
        assert!(!text.contains(secret), "the log holds `{secret}`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_hands_back_what_it_has_no_time_for_and_takes_it_later() {
    let world = world().await;
    let member = world.members[0].clone();
    let finding = Attack::Instance.finding(&member, 1);
    world.raise(&finding);
    world.import(&finding);
    let records = [record("late", &event(&finding).to_string())];
    let invocations = vec![batch(&records, Duration::from_secs(8)), batch(&records, MINUTE)];
    let mut started = start(world, "hands-back", invocations).await;
    let said = started.answer().await;
    assert_eq!(said["batchItemFailures"], json!([{ "itemIdentifier": "late" }]));
    // Each invocation has its own deadline.
    let said = started.answer().await;
    assert_eq!(said["batchItemFailures"], json!([]));
    assert_eq!(started.world.security_hub_status(&finding).as_deref(), Some("RESOLVED"));
    let handed_back: Vec<Value> =
        started.metrics().iter().filter_map(|line| line.get("HandedBack").cloned()).collect();
    assert_eq!(handed_back, [json!(1), json!(0)]);
    let is_logged = |line: &Value| {
        line["fields"]["message"].as_str().is_some_and(|text| {
            text.starts_with("message `late` will be delivered again: handed back")
        })
    };
    assert!(started.log().iter().any(is_logged));
}

/// A call that hangs for longer than there is time, and so does its repetition.
fn hang(world: &World, operation: &str) {
    let hangs = Effect::Slow(Duration::from_secs(600));
    world.organization.inject(Fault { times: 2, ..Fault::once(operation, hangs) });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_records_what_it_is_at_and_answers_in_time() {
    let world = world().await;
    let member = world.members[0].clone();
    let finding = Attack::Instance.finding(&member, 1);
    world.raise(&finding);
    world.import(&finding);
    hang(&world, "ModifyNetworkInterfaceAttribute");
    let slow = record("slow", &event(&finding).to_string());
    let all = [slow.clone(), record("garbage", "not a finding")];
    let invocations = vec![batch(&all, Duration::from_secs(20)), batch(&[slow], MINUTE)];
    let mut started = start(world, "records", invocations).await;
    // How far it came is recorded, and the message comes back for the rest.
    let said = started.answer().await;
    let failed = json!([{ "itemIdentifier": "slow" }, { "itemIdentifier": "garbage" }]);
    assert_eq!(said["batchItemFailures"], failed);
    let is_logged = |line: &Value| {
        line["fields"]["message"].as_str().is_some_and(|text| {
            text.contains("` continues later: ") && text.contains("the invocation ran out of time")
        })
    };
    assert!(started.log().iter().any(is_logged));
    let said = started.answer().await;
    assert_eq!(said["batchItemFailures"], json!([]));
    assert!(!truth::reaches_internet(&started.world, &member));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_hands_back_what_it_could_not_record() {
    let world = world().await;
    let finding = Attack::Instance.finding(&world.members[0], 1);
    world.raise(&finding);
    world.import(&finding);
    hang(&world, "TransactWriteItems");
    let records = [record("slow", &event(&finding).to_string())];
    let invocations = vec![batch(&records, Duration::from_secs(14)), batch(&records, MINUTE)];
    let mut started = start(world, "hands-back-at-work", invocations).await;
    let said = started.answer().await;
    assert_eq!(said["batchItemFailures"], json!([{ "itemIdentifier": "slow" }]));
    let said = started.answer().await;
    assert_eq!(said["batchItemFailures"], json!([]));
    assert_eq!(started.world.security_hub_status(&finding).as_deref(), Some("RESOLVED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_answers_findings_on_a_host_without_extensions() {
    let world = world().await;
    let finding = Attack::Instance.finding(&world.members[0], 1);
    world.raise(&finding);
    world.import(&finding);
    let records = [record("good", &event(&finding).to_string())];
    let invocations = vec![batch(&records, MINUTE)];
    let mut started = start_on(Extensions::Missing, world, "alone", invocations).await;
    assert_eq!(started.answer().await["batchItemFailures"], json!([]));
    assert_eq!(started.world.security_hub_status(&finding).as_deref(), Some("RESOLVED"));
    let is_logged = |line: &Value| {
        line["fields"]["message"].as_str().is_some_and(|text| {
            text == "no extension could be registered: the shutdown will not be logged"
        })
    };
    assert!(started.log().iter().any(is_logged));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_polls_soon_after_its_start_and_ends_on_a_signal() {
    let mut started = start(world().await, "shutdown", Vec::new()).await;
    let polled = loop {
        let polled = *started.runtime.first_poll.lock().unwrap();
        match polled {
            Some(at) => break at,
            None => assert!(started.at.elapsed() < MINUTE, "it never polls"),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let took = polled.duration_since(started.at);
    let id = started.function.0.id();
    println!("start_to_first_poll_ms={}", took.as_millis());
    if let Some(kilobytes) = resident(id) {
        println!("idle_resident_kb={kilobytes}");
    }
    let killed = Command::new("sh").args(["-c", &format!("kill -TERM {id}")]).status().unwrap();
    assert!(killed.success());
    let asked = Instant::now();
    let ended = loop {
        if let Some(ended) = started.function.0.try_wait().unwrap() {
            break ended;
        }
        assert!(asked.elapsed() < Duration::from_secs(10), "it does not end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(ended.success(), "{ended}");
    let is_logged = |line: &Value| line["fields"]["message"] == "shutting down";
    assert!(started.log().iter().any(is_logged));
}
