//! `firebreak responses suppress`.

use clap::Args;
use jiff::SignedDuration;

use super::{Id, suppression_end, write_result};
use crate::environment::engine;
use crate::terminal::to_seconds;
use crate::values::duration;
use crate::{Failure, Output};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    response: Id,
    /// For how long, such as `7d`
    #[arg(long = "for", value_name = "DURATION", default_value = "24h", value_parser = duration)]
    length: SignedDuration,
    /// Reason, shown when a finding is suppressed
    #[arg(long)]
    reason: Option<String>,
}

pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { response: Id { id }, length, reason } = arguments;
    let engine = engine().await?;
    let Some(until) = suppression_end(&engine, *length)? else { return Ok(()) };
    let response = engine.suppress(id, until, reason.clone()).await?;
    let (kind, arn) = (&response.finding.kind, response.resource.arn());
    let until = to_seconds(until);
    write_result(
        output,
        "suppress",
        &format!("findings of {kind} on {arn} are suppressed until {until}"),
    )
}
