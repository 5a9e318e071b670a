//! The command line: one file a command. Text for people on a terminal,
//! `--output json` for programs.
//!
//! To add a command: its file, and its lines in `Command` and `run` here, or in the
//! `mod.rs` of its group. A test compares README.md with the commands.

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

pub mod actions;
pub mod audit;
pub mod demo;
mod environment;
mod failure;
pub mod findings;
mod inputs;
pub mod org;
pub mod pause;
pub mod policy;
pub mod respond;
pub mod responses;
pub mod stacksets;
pub mod sweep;
mod terminal;
pub mod unpause;
mod values;

pub use self::failure::Failure;

/// Contains AWS threats across an organization, under a policy that each
/// organizational unit tunes.
#[derive(Debug, Parser)]
#[command(name = "firebreak", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// Output format: for people or for programs
    #[arg(long, global = true, value_enum, default_value_t = Output::Text, display_order = 1000)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  firebreak demo                             attack, contain and undo; no AWS needed
  firebreak policy check policies/           check policy files
  firebreak respond --event FILE --plan      show the response to a finding

Environment variables:
  AWS_REGION                 the hub's Region
  AWS_PROFILE and others     credentials, as for the AWS CLI
  FIREBREAK_EXTERNAL_ID      the external id of the spoke roles
  FIREBREAK_TABLE, FIREBREAK_SPOKE_ROLE and others: docs/settings.md

Exit codes:
  0    success
  1    a check failed, or the result is negative
  2    wrong usage or configuration
  3    a call to AWS failed
  141  the reader closed the pipe";

/// How results are written on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    // Doc comments here would lengthen every help page.
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch a simulated organization being attacked, contained and restored.
    Demo(demo::Arguments),
    /// Respond to findings from a file or standard input, as the Lambda function would.
    Respond(respond::Arguments),
    /// List, show, approve, deny, undo and suppress responses.
    #[command(subcommand)]
    Responses(responses::Command),
    /// Process everything due: expiries, overdue approvals, interrupted work, unsent notices.
    ///
    /// The Lambda function does the same each minute.
    Sweep,
    /// Export the audit log and verify that it was not altered.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Stop automatic responses; plans wait for approval.
    Pause(pause::Arguments),
    /// End a pause.
    Unpause(unpause::Arguments),
    /// Check, test, explain, compare and activate policies.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Render and deploy the templates of the spoke role and of the forwarding rules.
    #[command(subcommand)]
    Stacksets(stacksets::Command),
    /// Parse findings.
    #[command(subcommand)]
    Findings(findings::Command),
    /// Set up GuardDuty, Security Hub and StackSets for the organization, and show the status.
    #[command(subcommand)]
    Org(org::Command),
    /// List what Firebreak can do to a resource.
    #[command(subcommand)]
    Actions(actions::Command),
}

/// Runs the command that the arguments name.
pub async fn run(cli: Cli) -> ExitCode {
    let output = cli.output;
    let result = match cli.command {
        Command::Demo(arguments) => demo::run(&arguments, output).await,
        Command::Respond(arguments) => respond::run(&arguments, output).await,
        Command::Responses(command) => responses::run(&command, output).await,
        Command::Sweep => sweep::run(output).await,
        Command::Audit(command) => audit::run(&command, output).await,
        Command::Pause(arguments) => pause::run(&arguments, output).await,
        Command::Unpause(arguments) => unpause::run(&arguments, output).await,
        Command::Policy(command) => policy::run(&command, output).await,
        Command::Stacksets(command) => stacksets::run(&command, output).await,
        Command::Findings(command) => findings::run(&command),
        Command::Org(command) => org::run(&command, output).await,
        Command::Actions(command) => actions::run(&command, output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader closed the pipe, so nobody knows the rest of the result: the
        // code of a program that SIGPIPE ends.
        Err(Failure::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::from(141)
        }
        Err(failure @ Failure::No) => failure.exit_code(),
        Err(failure) => {
            terminal::report(&format!("error: {failure}"));
            failure.exit_code()
        }
    }
}

#[cfg(test)]
mod help_tests;
