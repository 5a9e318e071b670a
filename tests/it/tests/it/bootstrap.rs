//! The unmodified Lambda function: the `bootstrap` binary against a stub of the
//! Lambda runtime API, with the simulated organization on a loopback address.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test reports")]
#![expect(clippy::disallowed_methods, reason = "a test's servers end with it")]

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use firebreak_demo::example_policy;
use firebreak_demo::world::{Attack, HOME, HUB, World, event};
use firebreak_simulation::serve::serve;
use firebreak_simulation::{Effect, Fault, Options};
use firebreak_testkit::truth;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use crate::lambda_runtime::{
    Extensions, Function, Invocation, Runtime, batch, record, serve_runtime,
};

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
    let (runtime, answers) = Runtime::new(extensions, invocations);
    let api = serve_runtime(runtime.clone()).await;

    let session = world.organization.role_session(HUB, "FirebreakHub", "function");
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.log"));
    let at = Instant::now();
    let function = Runtime::program(api)
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
            unreachable!("bootstrap: {error}; `cargo build --workspace` builds it")
        });
    Started { world, function: Function(function), runtime, answers, log, at }
}

/// The memory that a process takes, where the system says it.
fn resident(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
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
