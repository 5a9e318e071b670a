//! `firebreak stacksets render | deploy`.

pub mod deploy;
mod render;

use clap::Subcommand;

use super::{Failure, Output};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the spoke role's template, with the permissions that the actions declare.
    Render(render::Arguments),
    /// Deploy the spoke role to every account that policies cover, now and when it joins.
    Deploy(deploy::Arguments),
}

pub async fn run(command: &Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Render(arguments) => render::run(arguments, output),
        Command::Deploy(arguments) => deploy::run(arguments, output).await,
    }
}
