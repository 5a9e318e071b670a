//! `firebreak unpause`.

use clap::Args;

use super::environment::engine;
use super::pause::{ScopeArguments, list, show};
use super::{Failure, Output};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    scope: ScopeArguments,
}

/// Exit code 1 if the scope was not paused.
pub async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let engine = engine().await?;
    let Some(scope) = arguments.scope.scope() else {
        return list(&engine.store.pauses().await?, engine.now(), output);
    };
    match engine.end_pause(&scope).await? {
        Some(pause) => show(&scope, &pause, "ended", output),
        None => Err(Failure::Check(format!(
            "{scope} was not paused\nhelp: `firebreak pause --list` shows active pauses"
        ))),
    }
}
