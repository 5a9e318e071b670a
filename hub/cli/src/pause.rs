//! `firebreak pause`: the kill switches.

use std::io::Write;

use clap::Args;
use firebreak_model::resource::AccountId;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::environment::engine;
use super::terminal::{report, write_json};
use super::values::{duration, unit_id};
use super::{Failure, Output};
use firebreak_response::pauses::{Pause, PauseScope, Pauses, describe};

/// The scope of a pause: exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ScopeArguments {
    /// The whole organization.
    #[arg(long)]
    org: bool,
    /// An OU and everything below it, by id.
    #[arg(long, value_name = "ID", value_parser = unit)]
    ou: Option<PauseScope>,
    /// One account.
    #[arg(long, value_name = "ID")]
    account: Option<AccountId>,
    /// One rule, by name or by `<attach>/<name>`.
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Show active pauses.
    #[arg(long)]
    list: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  firebreak pause --ou ou-ab12-11111111 --for 2h --reason 'migration'"
)]
pub struct Arguments {
    #[command(flatten)]
    scope: ScopeArguments,
    /// Until when, such as `2026-01-31T18:00:00Z` [default: until unpaused].
    #[arg(long, value_name = "TIME", conflicts_with = "length")]
    until: Option<Timestamp>,
    /// For how long, such as `2h`.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    length: Option<SignedDuration>,
    /// Reason, shown to approvers.
    #[arg(long)]
    reason: Option<String>,
}

impl ScopeArguments {
    /// `None` for `--list`.
    pub(super) fn scope(&self) -> Option<PauseScope> {
        let Self { org, ou, account, rule, list: _ } = self;
        if *org {
            return Some(PauseScope::Organization);
        }
        ou.clone()
            .or(account.clone().map(PauseScope::Account))
            .or(rule.clone().map(PauseScope::Rule))
    }
}

pub async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let engine = engine().await?;
    let Some(scope) = arguments.scope.scope() else {
        return list(&engine.store.pauses().await?, engine.now(), output);
    };
    let now = engine.now();
    let until = match (arguments.until, arguments.length) {
        (Some(until), _) => Some(until),
        (None, Some(length)) => Some(
            now.checked_add(length)
                .map_err(|error| Failure::Usage(format!("--for reaches too far: {error}")))?,
        ),
        (None, None) => None,
    };
    if until.is_some_and(|until| until <= now) {
        return Err(Failure::Usage("--until is in the past: nothing was paused".to_owned()));
    }
    match engine.scope_exists(&scope).await {
        Ok(true) => {}
        Ok(false) => {
            return Err(Failure::Usage(format!(
                "there is no {scope}: nothing was paused\nhelp: give the id of an OU or account in AWS Organizations, or the name of a rule in the policy in force"
            )));
        }
        // A kill switch has to work while AWS Organizations does not.
        Err(error) => report(&format!("warning: cannot check that {scope} exists: {error}")),
    }
    let pause = engine.pause(&scope, until, arguments.reason.clone()).await?;
    show(&scope, &pause, "paused", output)
}

pub(super) fn show(
    scope: &PauseScope,
    pause: &Pause,
    word: &str,
    output: Output,
) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => {
            write_json(&mut out, &json!({ "scope": scope, "pause": pause, "state": word }))?;
        }
        Output::Text => writeln!(out, "{word}: {}", describe(scope, pause))?,
    }
    Ok(())
}

pub(super) fn list(pauses: &Pauses, now: Timestamp, output: Output) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let is_in_force = |pause: &Pause| pause.until.is_none_or(|until| until > now);
    let active: Vec<_> = pauses.0.iter().filter(|(_, pause)| is_in_force(pause)).collect();
    match output {
        Output::Json => {
            let all: Vec<_> = active
                .iter()
                .map(|(scope, pause)| json!({ "scope": scope, "pause": pause }))
                .collect();
            write_json(&mut out, &all)?;
        }
        Output::Text if active.is_empty() => writeln!(out, "nothing is paused")?,
        Output::Text => {
            for (scope, pause) in active {
                writeln!(out, "{}", describe(scope, pause))?;
            }
        }
    }
    Ok(())
}

fn unit(text: &str) -> Result<PauseScope, String> {
    unit_id(text).map(PauseScope::Unit)
}
