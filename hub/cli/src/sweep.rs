//! `firebreak sweep`: what the Lambda function does on its schedule.

use std::io::Write;

use serde_json::json;

use super::{Failure, Output, engine};
use firebreak_aws::error::HubError;

/// Runs the command: 3 when AWS did not answer, 1 when an undo failed, a plan may not
/// be executed any more, or a notification was given up. What failed is tried
/// again by the next sweep.
pub async fn run(output: Output) -> Result<(), Failure> {
    let swept = engine().await?.sweep().await;
    let failures = swept.failures();
    let looked_at: Vec<_> = swept.responses.iter().flatten().collect();
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => {
            let responses: Vec<_> = looked_at
                .iter()
                .map(|it| json!({ "response": it.id, "state": it.state, "reason": it.reason }))
                .collect();
            let report = json!({
                "responses": responses, "delivered": swept.delivered, "pending": swept.pending,
                "failed": failures,
            });
            writeln!(out, "{report:#}")?;
        }
        Output::Text => {
            for response in &looked_at {
                let (id, state) = (&response.id, response.state);
                writeln!(out, "{id} {} is {state}: {}", response.resource.arn(), response.reason)?;
            }
            for why in &swept.pending {
                writeln!(out, "pending: {why}")?;
            }
            writeln!(
                out,
                "{} response(s) processed, {} notification(s) delivered, {} pending, {} failed",
                looked_at.len(),
                swept.delivered,
                swept.pending.len(),
                failures.len()
            )?;
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    let errors =
        swept.errors.iter().chain(swept.responses.iter().filter_map(|it| it.as_ref().err()));
    let unanswered = errors.into_iter().any(|it| !matches!(it, HubError::Refused(_)));
    let report = failures.join("\n");
    Err(if unanswered { Failure::Aws(HubError::Failed(report)) } else { Failure::Check(report) })
}
