//! `firebreak responses release`.

use clap::Args;

use super::{Id, write_result};
use crate::environment::engine;
use crate::{Failure, Output};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    response: Id,
}

pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let response = engine().await?.release(&arguments.response.id).await?;
    let (kind, arn) = (&response.finding.kind, response.resource.arn());
    write_result(
        output,
        "release",
        &format!("suppression ended: findings of {kind} on {arn} are handled again"),
    )
}
