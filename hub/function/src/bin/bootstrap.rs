//! The Lambda function: polls the runtime, passes each batch and each tick of the schedule
//! to the library with its deadline, and writes the metrics.
#![expect(
    clippy::disallowed_methods,
    reason = "a program's start is where the environment is read, and the runtime gives the deadline by the system's clock"
)]

use std::io::{Error, Write};
use std::panic::AssertUnwindSafe;
use std::time::SystemTime;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use firebreak_aws::config;
use firebreak_aws::settings::Settings;
use firebreak_engine::Engine;
use firebreak_function::{handle_batch, is_schedule, metrics, sweep};
use futures::FutureExt;
use lambda_runtime::{Context, LambdaEvent, run, service_fn, spawn_graceful_shutdown_handler};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    start_log();
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    let engine = Engine::new(&config::from_environment().await, settings);
    // Between invocations nothing is in progress: every invocation ends its work or hands
    // it back before its deadline. So a shutdown only has to be logged. Lambda announces it
    // to extensions; a host without them must handle findings all the same.
    let registered = spawn_graceful_shutdown_handler(|| async { info!("shutting down") });
    if AssertUnwindSafe(registered).catch_unwind().await.is_err() {
        warn!("no extension could be registered: the shutdown will not be logged");
    }
    let engine = &engine;
    run(service_fn(move |event: LambdaEvent<Value>| async move {
        engine.deadline.set(deadline(&event.context));
        invoked(engine, event.payload).await
    }))
    .await
}

/// JSON lines, each with its spans: they have the ids of message, finding, response and
/// account. `FIREBREAK_SPANS=close` also logs the duration of each span.
fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let spans = match std::env::var("FIREBREAK_SPANS").as_deref() {
        Ok("close") => FmtSpan::CLOSE,
        Ok(_) | Err(_) => FmtSpan::NONE,
    };
    let log = tracing_subscriber::fmt().json().with_env_filter(filter).with_span_events(spans);
    log.with_current_span(true).with_span_list(true).init();
}

/// When Lambda would kill the invocation, by tokio's clock.
fn deadline(context: &Context) -> Instant {
    let left = context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
    Instant::now() + left
}

async fn invoked(engine: &Engine, event: Value) -> Result<SqsBatchResponse, lambda_runtime::Error> {
    if is_schedule(&event) {
        let swept = sweep(engine).await;
        write(metrics::invocation(&[], &engine.counts.take(), engine.now()))?;
        // A failed invocation is retried by Lambda and triggers an alarm.
        swept?;
        return Ok(SqsBatchResponse::default());
    }
    let batch: SqsEvent = serde_json::from_value(event)?;
    let (response, handled) = handle_batch(engine, batch).await;
    let now = engine.now();
    write(metrics::invocation(&handled, &engine.counts.take(), now))?;
    if let Some(policy) = engine.policies.last_read().await {
        write([metrics::broken_documents(&policy, now)])?;
    }
    Ok(response)
}

/// CloudWatch reads metrics from lines that contain nothing else.
fn write(lines: impl IntoIterator<Item = Value>) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    lines.into_iter().try_for_each(|line| writeln!(out, "{line}"))
}
