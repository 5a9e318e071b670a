//! The Lambda function: polls the runtime, hands each batch and each tick of
//! its schedule to the library with the time that there is for it, and writes
//! what was measured.
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
use firebreak_function::{lambda, metrics};
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
    // Between invocations nothing is under way: every invocation ends what it
    // began or hands it back before its deadline. So there is nothing to save
    // here, only a shutdown to report: a host without extensions, which is how
    // Lambda announces it, is no reason not to handle findings.
    let delivered = spawn_graceful_shutdown_handler(|| async { info!("shutting down") });
    if AssertUnwindSafe(delivered).catch_unwind().await.is_err() {
        warn!(
            "no extension could be registered: the function will not be notified of its shutdown"
        );
    }
    let engine = &engine;
    run(service_fn(move |event: LambdaEvent<Value>| async move {
        engine.deadline.set(deadline(&event.context));
        invoked(engine, event.payload).await
    }))
    .await
}

/// JSON, with the spans around each line: they carry the ids of message,
/// finding, response and account. `FIREBREAK_SPANS=close` writes a line with its
/// duration for each span that ends.
fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let spans = match std::env::var("FIREBREAK_SPANS").as_deref() {
        Ok("close") => FmtSpan::CLOSE,
        Ok(_) | Err(_) => FmtSpan::NONE,
    };
    let log = tracing_subscriber::fmt().json().with_env_filter(filter).with_span_events(spans);
    log.with_current_span(true).with_span_list(true).init();
}

/// When Lambda kills the invocation, by tokio's clock.
fn deadline(context: &Context) -> Instant {
    let left = context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
    Instant::now() + left
}

async fn invoked(engine: &Engine, event: Value) -> Result<SqsBatchResponse, lambda_runtime::Error> {
    if lambda::is_schedule(&event) {
        let swept = lambda::sweep(engine).await;
        write(metrics::invocation(&[], &engine.counts.take(), engine.now()))?;
        // Failing it makes Lambda try again, and an alarm see it.
        swept?;
        return Ok(SqsBatchResponse::default());
    }
    let batch: SqsEvent = serde_json::from_value(event)?;
    let (response, handled) = lambda::handle_batch(engine, batch).await;
    let now = engine.now();
    write(metrics::invocation(&handled, &engine.counts.take(), now))?;
    if let Some(policy) = engine.policies.last_read().await {
        write([metrics::broken_documents(&policy, now)])?;
    }
    Ok(response)
}

/// CloudWatch takes metrics out of lines that are theirs alone.
fn write(lines: impl IntoIterator<Item = Value>) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    lines.into_iter().try_for_each(|line| writeln!(out, "{line}"))
}
