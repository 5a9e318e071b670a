//! `firebreak responses deny`.

use clap::Args;

use super::Id;
use super::show::write_response;
use crate::environment::engine;
use crate::{Failure, Output};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    response: Id,
    /// Reason, recorded with your identity
    #[arg(long)]
    reason: Option<String>,
}

pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { response: Id { id }, reason } = arguments;
    let response = engine().await?.deny(id, reason.clone()).await?;
    write_response(&response, output)
}
