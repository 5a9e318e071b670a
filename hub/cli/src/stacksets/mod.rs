//! `firebreak stacksets …`: the templates that an organization deploys.

pub mod deploy;
mod render;

use clap::Subcommand;

use super::{Failure, Output};

/// What to do with the templates and the StackSets made of them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the spoke role's permissions, from what the actions declare.
    Render(render::Arguments),
    /// Give every account that policies cover its spoke role, and those that join later.
    Deploy(deploy::Arguments),
}

/// Runs the command.
pub async fn run(command: &Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Render(arguments) => render::run(arguments, output),
        Command::Deploy(arguments) => deploy::run(arguments, output).await,
    }
}
