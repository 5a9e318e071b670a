//! `firebreak sweep`: processes everything due, as the Lambda function does each minute.

use std::io::Write;

use serde_json::json;

use super::environment::acting_engine;
use super::terminal::write_json;
use super::{Failure, Output};
use firebreak_aws::error::HubError;

/// Exit code 3 if a call to AWS failed, 1 if an undo failed, a plan can no longer be
/// executed, or a notification was given up. The next sweep tries again.
pub async fn run(output: Output) -> Result<(), Failure> {
    let swept = acting_engine().await?.sweep().await;
    let failures = swept.failures();
    let processed: Vec<_> = swept.responses.iter().flatten().collect();
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => {
            let responses: Vec<_> = processed
                .iter()
                .map(|it| json!({ "response": it.id, "state": it.state, "reason": it.reason }))
                .collect();
            let report = json!({
                "responses": responses, "delivered": swept.delivered, "pending": swept.pending,
                "failed": failures,
            });
            write_json(&mut out, &report)?;
        }
        Output::Text => {
            for response in &processed {
                let (id, state) = (&response.id, response.state);
                writeln!(out, "{id} {} is {state}: {}", response.resource.arn(), response.reason)?;
            }
            for why in &swept.pending {
                writeln!(out, "pending: {why}")?;
            }
            writeln!(
                out,
                "{} response(s) processed, {} notification(s) delivered, {} pending, {} failed",
                processed.len(),
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
    let aws_failed = errors.into_iter().any(|it| !it.is_refused());
    let report = failures.join("\n");
    Err(if aws_failed { Failure::Aws(HubError::failed(report)) } else { Failure::Check(report) })
}
