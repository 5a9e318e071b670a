//! `firebreak responses undo`.

use clap::Args;
use firebreak_response::record::{Drift, State, Step, StepState, Undo, UndoCause};
use jiff::SignedDuration;

use super::show::write_response;
use super::{Id, suppression_end};
use crate::environment::acting_engine;
use crate::terminal::confirm;
use crate::values::duration;
use crate::{Failure, Output};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    response: Id,
    /// Undo only this action's step
    #[arg(long, value_name = "ACTION")]
    step: Option<String>,
    /// Overwrite later changes by others: apply the action again, then undo it
    #[arg(long)]
    force_drift: bool,
    /// How long to suppress findings of the same type on the target; `0`: not at all
    ///
    /// Default: FIREBREAK_SUPPRESS_HOURS, else 24h; with --step 0.
    #[arg(long, value_name = "DURATION", value_parser = duration_or_zero)]
    suppress: Option<SignedDuration>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

fn duration_or_zero(text: &str) -> Result<SignedDuration, String> {
    if text == "0" { Ok(SignedDuration::ZERO) } else { duration(text) }
}

pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { response: Id { id }, step, force_drift, suppress, yes } = arguments;
    let engine = acting_engine().await?;
    if !yes {
        confirm(&format!("Undo {id}? The resource will be as exposed as before. Continue?"))?;
    }
    let suppress = match (suppress, step) {
        (Some(suppress), _) => *suppress,
        (None, Some(_)) => SignedDuration::ZERO,
        (None, None) => engine.suppression_after_undo(),
    };
    let request = Undo {
        cause: UndoCause::Person(engine.caller().await?),
        step: step.clone(),
        drift: if *force_drift { Drift::Overwrite } else { Drift::Leave },
        suppress_until: suppression_end(&engine, suppress)?,
    };
    let undone = engine.undo(id, request).await?;
    write_response(&undone, output)?;
    let requested = |it: &&Step| step.as_ref().is_none_or(|step| it.action == *step);
    let has_drifted =
        undone.steps.iter().filter(requested).any(|it| it.state == StepState::Drifted);
    let is_undone = match step {
        None => matches!(undone.state, State::Undone | State::Expired),
        Some(_) => undone.steps.iter().filter(requested).any(|it| it.state == StepState::Undone),
    };
    if is_undone && !has_drifted {
        return Ok(());
    }
    let help = if has_drifted {
        "\nhelp: `--force-drift` overwrites what was changed meanwhile"
    } else {
        ""
    };
    Err(Failure::Check(format!("{}{help}", undone.reason)))
}
