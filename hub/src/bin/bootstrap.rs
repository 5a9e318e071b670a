//! The Lambda function: polls the runtime, hands each batch and each tick of
//! its schedule to the library.
#![expect(
    clippy::disallowed_methods,
    reason = "a program's start is where the environment is read"
)]

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use firebreak_hub::aws::config;
use firebreak_hub::respond::Responder;
use firebreak_hub::settings::Settings;
use firebreak_hub::{lambda, metrics};
use lambda_runtime::{LambdaEvent, run, service_fn};
use serde_json::Value;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_current_span(false).init();
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    let responder = Responder::new(&config::from_environment().await, settings);
    let responder = &responder;
    run(service_fn(move |event: LambdaEvent<Value>| async move {
        if lambda::is_schedule(&event.payload) {
            // Failing it makes Lambda try again, and an alarm see it.
            lambda::sweep(responder).await?;
            return Ok(SqsBatchResponse::default());
        }
        let batch: SqsEvent = serde_json::from_value(event.payload)?;
        let (response, _) = lambda::handle_batch(responder, batch).await;
        if let Some(policy) = responder.policies.last_read().await {
            // CloudWatch takes metrics out of lines that are theirs alone.
            println!("{}", metrics::broken_documents(&policy, responder.now()));
        }
        Ok::<_, lambda_runtime::Error>(response)
    }))
    .await
}
