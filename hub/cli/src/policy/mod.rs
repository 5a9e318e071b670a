//! `firebreak policy`: writes, tries out and activates policies.

mod activate;
mod backtest;
mod check;
mod diff;
mod explain;
pub(super) mod files;
mod history;
mod import;
mod match_pattern;
mod pull;
mod push;
mod rollback;
mod schema;
mod test;

use clap::Subcommand;

use super::{Failure, Output};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check policy files, and report every error with line and column.
    Check(check::Arguments),
    /// Show whether an event pattern matches an event, and if not, which field fails first.
    Match(match_pattern::Arguments),
    /// Run the tests of policies: the `tests` folders in the given folders.
    Test(test::Arguments),
    /// Explain which rule decides a finding and why.
    Explain(explain::Arguments),
    /// Show how files differ from the policy in force: documents and decisions.
    Diff(diff::Arguments),
    /// Replay stored findings through the current and the proposed policy.
    Backtest(backtest::Arguments),
    /// Activate policy files atomically, after check, test, diff and confirmation.
    Push(push::Arguments),
    /// Write the policy in force to files.
    Pull(pull::Arguments),
    /// List every version that was ever pushed: when, by whom and why.
    History,
    /// Activate an earlier version again, as a new version.
    Rollback(rollback::Arguments),
    /// Convert another system's configuration into a policy document.
    Import(import::Arguments),
    /// Print the JSON Schema of policy documents.
    Schema(schema::Arguments),
}

pub async fn run(command: &Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Check(arguments) => check::run(arguments, output),
        Command::Match(arguments) => match_pattern::run(arguments, output),
        Command::Test(arguments) => test::run(arguments, output),
        Command::Explain(arguments) => explain::run(arguments, output).await,
        Command::Diff(arguments) => diff::run(arguments, output).await,
        Command::Backtest(arguments) => backtest::run(arguments, output).await,
        Command::Push(arguments) => push::run(arguments, output).await,
        Command::Pull(arguments) => pull::run(arguments, output).await,
        Command::History => history::run(output).await,
        Command::Rollback(arguments) => rollback::run(arguments, output).await,
        Command::Import(arguments) => import::run(arguments, output),
        Command::Schema(arguments) => schema::run(arguments),
    }
}
