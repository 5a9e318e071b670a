//! The function's schedule: each tick processes what is due.

use firebreak_aws::error::HubError;
use firebreak_engine::Engine;
use futures::FutureExt;
use serde_json::Value;

/// Whether an event comes from the function's schedule: an EventBridge rule
/// (`Scheduled Event`), or EventBridge Scheduler with that detail type.
pub fn is_schedule(event: &Value) -> bool {
    event.get("detail-type").and_then(Value::as_str) == Some("Scheduled Event")
        && event.get("Records").is_none()
}

/// Processes everything due. The error names what the next tick tries again, and what
/// was given up.
pub async fn sweep(engine: &Engine) -> Result<(), HubError> {
    let failures = engine.sweep().boxed().await.failures();
    if failures.is_empty() { Ok(()) } else { Err(HubError::failed(failures.join("; "))) }
}
