//! `firebreak responses approve`.

use clap::Args;
use firebreak_response::record::State;

use super::Id;
use super::show::write_response;
use crate::environment::acting_engine;
use crate::respond::write_steps;
use crate::terminal::confirm;
use crate::{Failure, Output};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    response: Id,
    /// Reason, recorded with your identity
    #[arg(long)]
    reason: Option<String>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { response: Id { id }, reason, yes } = arguments;
    let engine = acting_engine().await?;
    let mut shown_revision = None;
    if !yes {
        if let Some(response) = engine.store.response(id).await? {
            write_steps(&mut std::io::stdout().lock(), &response)?;
            shown_revision = Some(response.revision);
        }
        confirm(&format!("Execute {id}?"))?;
    }
    let response = engine.approve(id, reason.clone(), shown_revision).await?;
    write_response(&response, output)?;
    match response.state {
        // A running response continues without this command.
        State::Contained | State::Completed | State::Running => Ok(()),
        State::Observed
        | State::Refused
        | State::AwaitingApproval
        | State::Denied
        | State::PartiallyContained
        | State::Failed
        | State::Undoing
        | State::Undone
        | State::Expired => Err(Failure::Check(response.reason)),
    }
}
