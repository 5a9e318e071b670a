//! `firebreak responses list | show | approve | deny | undo | suppress | release`.

mod approve;
mod deny;
mod list;
mod release;
mod show;
mod suppress;
mod undo;

use std::io::Write;

use clap::{Args, Subcommand};
use firebreak_engine::Engine;
use firebreak_response::record::ResponseId;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::terminal::write_json;
use super::{Failure, Output};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the latest responses, newest first.
    List(list::Arguments),
    /// Show one response with its steps, the state before and after, and the reasons.
    Show(show::Arguments),
    /// Execute a plan that waits for approval. If the plan has changed since, approval is
    /// requested again.
    Approve(approve::Arguments),
    /// Deny a plan that waits for approval. Its findings are not handled again.
    Deny(deny::Arguments),
    /// Restore what a response changed. Later changes by others are reported, not overwritten.
    #[command(after_help = "Example:\n  firebreak responses undo r-84cad92188938fe4 --suppress 7d")]
    Undo(undo::Arguments),
    /// Suppress further findings of this type on this resource.
    Suppress(suppress::Arguments),
    /// End a suppression: the next matching finding is evaluated again.
    Release(release::Arguments),
}

/// The response that a command is about.
#[derive(Debug, Args)]
struct Id {
    /// The response's id
    id: ResponseId,
}

pub async fn run(command: &Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::List(arguments) => list::run(arguments, output).await,
        Command::Show(arguments) => show::run(arguments, output).await,
        Command::Approve(arguments) => approve::run(arguments, output).await,
        Command::Deny(arguments) => deny::run(arguments, output).await,
        Command::Undo(arguments) => undo::run(arguments, output).await,
        Command::Suppress(arguments) => suppress::run(arguments, output).await,
        Command::Release(arguments) => release::run(arguments, output).await,
    }
}

/// When a suppression of this length ends; `None` for no suppression.
fn suppression_end(engine: &Engine, length: SignedDuration) -> Result<Option<Timestamp>, Failure> {
    if length.is_zero() {
        return Ok(None);
    }
    let until = engine.now().checked_add(length);
    until.map(Some).map_err(|error| Failure::Usage(format!("the suppression is too long: {error}")))
}

fn write_result(output: Output, key: &str, sentence: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => write_json(&mut out, &json!({ key: sentence })),
        Output::Text => Ok(writeln!(out, "{sentence}")?),
    }
}
