//! `firebreak pause` and `firebreak unpause`: the kill switches.

use std::io::Write;

use clap::Args;
use firebreak_model::resource::AccountId;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::responses::duration;
use super::{Failure, Output, attach_point, engine};
use firebreak_response::pauses::{Pause, PauseScope, Pauses, describe};

/// Where a pause holds: exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Where {
    /// The whole organization.
    #[arg(long)]
    org: bool,
    /// An OU and everything below, by id.
    #[arg(long, value_name = "ID", value_parser = unit)]
    ou: Option<PauseScope>,
    /// One account.
    #[arg(long, value_name = "ID")]
    account: Option<AccountId>,
    /// One rule: its name, or `<attach>/<name>`.
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Show active pauses.
    #[arg(long)]
    list: bool,
}

/// What to pause.
#[derive(Debug, Args)]
pub struct PauseArguments {
    #[command(flatten)]
    place: Where,
    /// Until when, such as `2026-01-31T18:00:00Z`; without it, until unpaused.
    #[arg(long, value_name = "TIME", conflicts_with = "length")]
    until: Option<Timestamp>,
    /// For how long, such as `2h`.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    length: Option<SignedDuration>,
    /// Reason, shown to approvers.
    #[arg(long)]
    reason: Option<String>,
}

/// What to resume.
#[derive(Debug, Args)]
pub struct UnpauseArguments {
    #[command(flatten)]
    place: Where,
}

impl Where {
    /// `None` for `--list`.
    fn scope(&self) -> Option<PauseScope> {
        let Self { org, ou, account, rule, list: _ } = self;
        if *org {
            return Some(PauseScope::Organization);
        }
        ou.clone()
            .or(account.clone().map(PauseScope::Account))
            .or(rule.clone().map(PauseScope::Rule))
    }
}

/// Pauses: stops automatic responses there; plans wait for approval.
pub async fn pause(arguments: &PauseArguments, output: Output) -> Result<(), Failure> {
    let engine = engine().await?;
    let Some(scope) = arguments.place.scope() else {
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
        return Err(Failure::Usage("--until is over already: nothing was paused".to_owned()));
    }
    match engine.knows(&scope).await {
        Ok(true) => {}
        Ok(false) => {
            return Err(Failure::Usage(format!(
                "there is no {scope}: nothing was paused\nhelp: an OU and an account have the id that AWS Organizations gives them, a rule the name that the policy in force gives it"
            )));
        }
        // A kill switch has to work while others do not answer.
        Err(error) => {
            let mut err = std::io::stderr().lock();
            writeln!(err, "warning: whether there is {scope} could not be looked up: {error}")?;
        }
    }
    let pause = engine.pause(&scope, until, arguments.reason.clone()).await?;
    show(&scope, &pause, "paused", output)
}

/// Ends a pause: 1 when there was none.
pub async fn unpause(arguments: &UnpauseArguments, output: Output) -> Result<(), Failure> {
    let engine = engine().await?;
    let Some(scope) = arguments.place.scope() else {
        return list(&engine.store.pauses().await?, engine.now(), output);
    };
    match engine.end_pause(&scope).await? {
        Some(pause) => show(&scope, &pause, "ended", output),
        None => Err(Failure::Check(format!(
            "{scope} was not paused\nhelp: `firebreak pause --list` shows what is"
        ))),
    }
}

fn show(scope: &PauseScope, pause: &Pause, word: &str, output: Output) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => {
            writeln!(out, "{:#}", json!({ "scope": scope, "pause": pause, "state": word }))?;
        }
        Output::Text => writeln!(out, "{word}: {}", describe(scope, pause))?,
    }
    Ok(())
}

fn list(pauses: &Pauses, now: Timestamp, output: Output) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let holds = |pause: &Pause| pause.until.is_none_or(|until| until > now);
    let paused: Vec<_> = pauses.0.iter().filter(|(_, pause)| holds(pause)).collect();
    match output {
        Output::Json => {
            let all: Vec<_> = paused
                .iter()
                .map(|(scope, pause)| json!({ "scope": scope, "pause": pause }))
                .collect();
            writeln!(out, "{:#}", json!(all))?;
        }
        Output::Text if paused.is_empty() => writeln!(out, "nothing is paused")?,
        Output::Text => {
            for (scope, pause) in paused {
                writeln!(out, "{}", describe(scope, pause))?;
            }
        }
    }
    Ok(())
}

fn unit(text: &str) -> Result<PauseScope, String> {
    attach_point(text).map(PauseScope::Unit)
}
