//! The command line: one file a command. Text for people on a terminal,
//! `--output json` for programs.
//!
//! Exit codes: 0 fine, 1 a check failed or the answer is no, 2 usage or
//! configuration, 3 AWS, 141 the reader closed the pipe.

// The futures of the engine are deep, and Send is proved of each of their parts.
#![recursion_limit = "256"]

use std::io::Write;
use std::process::ExitCode;

use aws_config::SdkConfig;
use clap::{Parser, Subcommand, ValueEnum};
use firebreak_model::resource::Region;
use firebreak_onboarding::aws::deploy::DeployError;

use firebreak_aws::audit_log::ExportError;
use firebreak_aws::config;
use firebreak_aws::error::HubError;
use firebreak_aws::settings::Settings;
use firebreak_engine::Engine;
use firebreak_policy::is_attach_point;

pub mod actions;
pub mod audit;
pub mod demo;
pub mod findings;
mod inputs;
pub mod org;
pub mod pause;
pub mod policy;
pub mod respond;
pub mod responses;
pub mod stacksets;
pub mod sweep;

/// Contains AWS threats across an organization, under a policy that each
/// organizational unit tunes. Every action says whether it can be undone.
#[derive(Debug, Parser)]
#[command(name = "firebreak", version)]
pub struct Cli {
    /// How results are written on standard output.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch a simulated organization being attacked, contained and restored.
    Demo(demo::Arguments),
    /// Respond to findings from a file or standard input, as the Lambda function would.
    Respond(respond::Arguments),
    /// List, show, approve, deny and undo responses.
    #[command(subcommand)]
    Responses(responses::Command),
    /// Process everything due, as the Lambda function does on its schedule:
    /// expiries, overdue approvals, interrupted work, unsent notices.
    Sweep,
    /// Export the audit log and verify that it was not altered.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Stop automatic responses; plans wait for approval.
    Pause(pause::PauseArguments),
    /// End a pause.
    Unpause(pause::UnpauseArguments),
    /// Check, test, explain, compare and activate policies.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Render the templates that an organization deploys, and deploy them into the accounts.
    #[command(subcommand)]
    Stacksets(stacksets::Command),
    /// Read findings.
    #[command(subcommand)]
    Findings(findings::Command),
    /// Set GuardDuty, Security Hub and StackSets up for the organization, and show how they are.
    #[command(subcommand)]
    Org(org::Command),
    /// List what Firebreak can do to a resource.
    #[command(subcommand)]
    Actions(actions::Command),
}

/// Why a command ended without doing what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A check failed.
    #[error("{0}")]
    Check(String),
    /// The answer is on standard output, and it is no.
    #[error("no")]
    No,
    /// Wrong usage or configuration.
    #[error("{0}")]
    Usage(String),
    /// AWS, or the way to it.
    #[error("{0}")]
    Aws(HubError),
    /// Standard output or a file.
    #[error("cannot read or write: {0}")]
    Io(#[from] std::io::Error),
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        match error {
            HubError::Refused(why) => Self::Check(why),
            HubError::Transient(_) | HubError::Failed(_) => Self::Aws(error),
        }
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Aws(error) => error.into(),
            ExportError::Io(error) => error.into(),
        }
    }
}

impl From<DeployError> for Failure {
    fn from(error: DeployError) -> Self {
        match error {
            DeployError::Usage(why) => Self::Usage(why),
            DeployError::Aws(error) => Self::Aws(error),
        }
    }
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Check(_) | Self::No => 1,
            Self::Usage(_) | Self::Io(_) => 2,
            Self::Aws(_) => 3,
        })
    }
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
        Command::Pause(arguments) => pause::pause(&arguments, output).await,
        Command::Unpause(arguments) => pause::unpause(&arguments, output).await,
        Command::Policy(command) => policy::run(&command, output).await,
        Command::Stacksets(command) => stacksets::run(&command, output).await,
        Command::Findings(command) => findings::run(&command),
        Command::Org(command) => org::run(&command, output).await,
        Command::Actions(command) => actions::run(&command, output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has closed it. What was not written is not known
        // to be well: the code is the one of a program that SIGPIPE ends.
        Err(Failure::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::from(141)
        }
        Err(failure @ Failure::No) => failure.exit_code(),
        Err(failure) => {
            // Where standard error is closed too, the exit code is all that is left.
            drop(writeln!(std::io::stderr(), "error: {failure}"));
            failure.exit_code()
        }
    }
}

/// A responder for the AWS credentials and settings of this environment.
async fn engine() -> Result<Engine, Failure> {
    let settings =
        Settings::read(environment).map_err(|error| Failure::Usage(error.to_string()))?;
    let settings = Settings { share_places: false, ..settings };
    Ok(Engine::new(&aws_config(None).await?, settings))
}

/// The AWS configuration of this environment. Where it has no Region it is the
/// one that the command line names.
async fn aws_config(named: Option<&Region>) -> Result<SdkConfig, Failure> {
    let config = config::from_environment().await;
    let is_region = |it: &aws_config::Region| it.as_ref().parse::<Region>().is_ok();
    if config.region().is_some_and(is_region) {
        return Ok(config);
    }
    let Some(named) = named else {
        return Err(Failure::Usage(
            "no valid AWS Region configured\nhelp: set AWS_REGION to the hub's Region".to_owned(),
        ));
    };
    let region = aws_config::Region::new(named.to_string());
    Ok(config.into_builder().region(region).build())
}

/// The same, for a command that could do without AWS if it were given more.
async fn responder_or(offline: &str) -> Result<Engine, Failure> {
    engine().await.map_err(|failure| match failure {
        Failure::Usage(why) => Failure::Usage(format!("{why}\nhelp: or without AWS: {offline}")),
        other => other,
    })
}

/// Reads the id of a root or an OU.
fn attach_point(text: &str) -> Result<String, String> {
    if text.contains('-') && is_attach_point(text) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not the id of an OU or of the root: `ou-ab12-11111111` or `r-ab12`"))
}

/// The one place where the command line reads the environment.
#[expect(clippy::disallowed_methods, reason = "settings are read once, at a command's start")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
