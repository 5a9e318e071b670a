//! `firebreak respond`: responds to the findings of a file, by the Lambda function's
//! code path.

use std::io::{Read, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::environment::{acting_engine, engine};
use super::terminal::write_json;
use super::{Failure, Output};
use firebreak_aws::error::HubError;
use firebreak_engine::{Disposition, Run, TargetOutcome};
use firebreak_function::{Handled, MessageError, handle_message};
use firebreak_response::record::{Response, State, StepState};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  firebreak respond --event finding.json --plan")]
pub struct Arguments {
    /// A finding or event, in any form in which findings arrive; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    event: PathBuf,
    /// Only show what would be done; record and change nothing.
    #[arg(long)]
    plan: bool,
}

/// Exit code 0 if everything that policy requires was done, 1 if it was not or a
/// finding was rejected, 3 if a finding has to be handled again.
pub async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let body = if arguments.event.as_os_str() == "-" {
        let mut body = String::new();
        std::io::stdin().read_to_string(&mut body)?;
        body
    } else {
        std::fs::read_to_string(&arguments.event).map_err(|error| {
            Failure::Usage(format!("cannot read `{}`: {error}", arguments.event.display()))
        })?
    };
    let run = if arguments.plan { Run::Plan } else { Run::Act };
    let engine = if arguments.plan { engine().await? } else { acting_engine().await? };
    let handled = handle_message(&engine, &body, run).await;
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => write_json(&mut out, &json(&handled))?,
        Output::Text => {
            for outcome in &handled.outcomes {
                write_outcome(&mut out, outcome)?;
            }
        }
    }
    if handled.errors.is_empty() {
        let missed: Vec<&str> = handled.outcomes.iter().filter_map(missed).collect();
        return if missed.is_empty() { Ok(()) } else { Err(Failure::Check(missed.join("\n"))) };
    }
    let errors: Vec<String> = handled.errors.iter().map(ToString::to_string).collect();
    let message = errors.join("\n");
    let is_refusal = |error: &MessageError| {
        matches!(error, MessageError::Rejected(_))
            || matches!(error, MessageError::Hub(error) if error.is_refused())
    };
    Err(if handled.errors.iter().all(is_refusal) {
        Failure::Check(message)
    } else {
        Failure::Aws(HubError::failed(message))
    })
}

/// Why something that policy requires was not done.
fn missed(outcome: &TargetOutcome) -> Option<&str> {
    let missed = match outcome.disposition {
        Disposition::NotConfirmed | Disposition::NotCovered => true,
        Disposition::Responded => outcome.response.as_ref().is_some_and(|response| {
            matches!(response.state, State::PartiallyContained | State::Failed)
        }),
        Disposition::Nothing
        | Disposition::Repeat
        | Disposition::ExistingResponse
        | Disposition::Suppressed
        | Disposition::Planned => false,
    };
    missed.then_some(outcome.reason.as_str())
}

fn json(handled: &Handled) -> Value {
    let errors: Vec<String> = handled.errors.iter().map(ToString::to_string).collect();
    json!({ "outcomes": handled.outcomes, "errors": errors })
}

pub fn write_outcome(out: &mut impl Write, outcome: &TargetOutcome) -> std::io::Result<()> {
    let finding = &outcome.finding;
    writeln!(out, "{} {} in {} {}", finding.kind, finding.id, finding.account, finding.region)?;
    if let Some(resource) = &outcome.resource {
        writeln!(out, "  target    {}", resource.arn())?;
    }
    if let Some(path) = &outcome.ou_path {
        writeln!(out, "  OU path   {path}")?;
    }
    let word = match (&outcome.response, outcome.disposition) {
        (Some(response), Disposition::Responded) => response.state.to_string(),
        (_, disposition) => serde_json::to_value(disposition)
            .ok()
            .and_then(|it| it.as_str().map(str::to_owned))
            .unwrap_or_default(),
    };
    writeln!(out, "  outcome   {word}: {}", outcome.reason)?;
    match &outcome.response {
        // A plan is not recorded, so there is no response with its id.
        Some(response) if outcome.disposition == Disposition::Planned => {
            writeln!(out, "  rule      {}", response.key)?;
            write_each_step(out, response)
        }
        Some(response) => write_steps(out, response),
        None => Ok(()),
    }
}

pub fn write_steps(out: &mut impl Write, response: &Response) -> std::io::Result<()> {
    writeln!(out, "  rule      {}", response.key)?;
    writeln!(out, "  response  {} ({})", response.id, response.state)?;
    write_each_step(out, response)
}

fn write_each_step(out: &mut impl Write, response: &Response) -> std::io::Result<()> {
    for step in &response.steps {
        let state = match step.state {
            StepState::Planned => "planned",
            StepState::Done => "done",
            StepState::Failed => "failed",
            StepState::Skipped => "skipped",
            StepState::Undone => "undone",
            StepState::Drifted => "drifted",
        };
        let detail = step.detail.replace('\n', "; ");
        let condition = match (step.if_residual, step.state) {
            (true, StepState::Planned) => " (only if something stays open)",
            _ => "",
        };
        writeln!(out, "  {state:<9} {}{condition} {detail}", step.action)?;
        for change in &step.changes {
            let (from, to) = match step.state {
                StepState::Planned | StepState::Done | StepState::Failed => {
                    (&change.before, &change.after)
                }
                // What undo put back.
                StepState::Undone => (&change.after, &change.before),
                StepState::Skipped | StepState::Drifted => continue,
            };
            writeln!(out, "              {}", change.what)?;
            writeln!(out, "              - {from}")?;
            writeln!(out, "              + {to}")?;
        }
    }
    for residual in response.residual() {
        writeln!(out, "  may still be open: {}", residual.what.replace('\n', "; "))?;
        if !residual.closed_by.is_empty() {
            writeln!(out, "              closed by {}", residual.closed_by.join(" or "))?;
        }
    }
    Ok(())
}
