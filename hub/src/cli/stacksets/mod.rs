//! `firebreak stacksets …`: the templates that an organization deploys.

mod render;

use clap::Subcommand;

use super::{Failure, Output};

/// What to do with the templates.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the spoke role's permissions, from what the actions declare.
    Render(render::Arguments),
}

/// Runs the command.
pub fn run(command: &Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Render(arguments) => render::run(arguments, output),
    }
}
