//! `firebreak sweep`: what the Lambda function does on its schedule.

use std::io::Write;

use serde_json::json;

use super::{Failure, Output, responder};
use crate::record::State;

/// Runs the command: 1 when something could not be undone, which the next
/// sweep tries again.
pub async fn run(output: Output) -> Result<(), Failure> {
    let ended = responder().await?.sweep().await?;
    let (mut undone, mut failed) = (Vec::new(), Vec::new());
    for one in ended {
        match one {
            Ok(response) if response.state == State::Undone => undone.push(response),
            Ok(response) => failed.push(format!("{}: {}", response.id, response.reason)),
            Err(error) => failed.push(error.to_string()),
        }
    }
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => {
            let undone: Vec<&str> = undone.iter().map(|it| it.id.as_str()).collect();
            writeln!(out, "{:#}", json!({ "undone": undone, "failed": failed }))?;
        }
        Output::Text => {
            for response in &undone {
                writeln!(out, "{} {}: {}", response.id, response.resource.arn(), response.reason)?;
            }
            writeln!(out, "{} undone, {} to be tried again", undone.len(), failed.len())?;
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::Check(failed.join("\n"))) }
}
