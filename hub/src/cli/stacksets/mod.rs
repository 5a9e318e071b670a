//! `firebreak stacksets …`: what an organization deploys.

use clap::Subcommand;

use super::{Failure, Output};

pub mod deploy;

/// What to do with StackSets.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Give every account that policies cover its spoke role, and those that join later.
    Deploy(deploy::Arguments),
}

/// Runs the command.
pub async fn run(command: &Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Deploy(arguments) => deploy::run(arguments, output).await,
    }
}
