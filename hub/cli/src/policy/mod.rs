//! `firebreak policy`: writing policies, trying them out, putting them in force.

mod backtest;
mod diff;
mod explain;
pub(super) mod files;
mod history;
mod import;
mod matches;
mod pull;
mod push;
mod test;

use firebreak_spoke::registry;
use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::{Failure, Output};
use firebreak_policy::{Document, schema, test_schema};

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check policy files: every mistake of every file, at its line and column.
    Check {
        /// Files and folders of policy documents.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Say whether an event pattern matches an event, and if not, where it first fails.
    Match(matches::Arguments),
    /// Run the tests beside policy files: every `tests` folder in the given ones.
    Test(test::Arguments),
    /// Say what policy decides for a finding, and how it came to that.
    Explain(explain::Arguments),
    /// Show what files would change of the policy in force: documents, and decisions.
    Diff(diff::Arguments),
    /// Replay stored findings through the present and the proposed policy.
    Backtest(backtest::Arguments),
    /// Activate policy files atomically, after check, test, diff and confirmation.
    Push(push::Arguments),
    /// Write the policy in force to files.
    Pull(pull::Arguments),
    /// Every policy that was ever pushed: when, by whom and why.
    History,
    /// Activate an earlier version again, as a new one.
    Rollback(push::Rollback),
    /// Turn another system's configuration into a policy document.
    Import(import::Arguments),
    /// Print the JSON Schema of policy documents.
    Schema {
        /// The schema of files of policy tests instead.
        #[arg(long)]
        tests: bool,
    },
}

/// Runs the command.
pub async fn run(command: &Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Check { paths } => check(paths, output),
        Command::Match(arguments) => matches::run(arguments, output),
        Command::Test(arguments) => test::run(arguments, output),
        Command::Explain(arguments) => explain::run(arguments, output).await,
        Command::Diff(arguments) => diff::run(arguments, output).await,
        Command::Backtest(arguments) => backtest::run(arguments, output).await,
        Command::Push(arguments) => push::run(arguments, output).await,
        Command::Pull(arguments) => pull::run(arguments, output).await,
        Command::History => history::run(output).await,
        Command::Rollback(arguments) => push::roll_back(arguments, output).await,
        Command::Import(arguments) => import::run(arguments, output),
        Command::Schema { tests } => {
            let schema =
                if *tests { test_schema(registry::catalog()) } else { schema(registry::catalog()) };
            writeln!(std::io::stdout(), "{schema:#}")?;
            Ok(())
        }
    }
}

fn check(paths: &[PathBuf], output: Output) -> Result<(), Failure> {
    let read = files::check(paths)?;
    let mut out = std::io::stdout().lock();
    match (output, read) {
        (Output::Text, Ok(policy)) => {
            for doubt in files::lints(paths)? {
                // Where standard error is closed nobody listens.
                drop(writeln!(std::io::stderr(), "warning: {doubt}\n"));
            }
            writeln!(out, "{} document(s) OK", policy.documents().len())?;
        }
        (Output::Text, Err(diagnostics)) => return Err(files::issues("policy", &diagnostics)),
        (Output::Json, Ok(policy)) => {
            let describe = |document: &Document| {
                let rules: Vec<&str> = document.rule_names().collect();
                json!({ "attach": document.attach, "file": document.file, "rules": rules })
            };
            let documents: Vec<_> = policy.documents().iter().map(describe).collect();
            let report =
                json!({ "documents": documents, "issues": [], "warnings": files::lints(paths)? });
            writeln!(out, "{report:#}")?;
        }
        (Output::Json, Err(diagnostics)) => {
            writeln!(
                out,
                "{:#}",
                json!({ "documents": [], "issues": diagnostics, "warnings": [] })
            )?;
            return Err(Failure::No);
        }
    }
    Ok(())
}
