//! `firebreak pause` and `firebreak resume`: the kill switches.

use std::io::Write;

use clap::Args;
use firebreak_model::resource::AccountId;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::responses::duration;
use super::{Failure, Output, attach_point, responder};
use firebreak_response::switches::{Pause, Scope, Switches, told};

/// Where a pause holds: exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Where {
    /// The whole organization.
    #[arg(long)]
    org: bool,
    /// An OU and everything below, by id.
    #[arg(long, value_name = "ID", value_parser = unit)]
    ou: Option<Scope>,
    /// One account.
    #[arg(long, value_name = "ID")]
    account: Option<AccountId>,
    /// One rule: its name, or `<attach>/<name>`.
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Nothing: show what is paused.
    #[arg(long)]
    list: bool,
}

/// What to pause.
#[derive(Debug, Args)]
pub struct PauseArguments {
    #[command(flatten)]
    place: Where,
    /// Until when, such as `2026-01-31T18:00:00Z`; without it, until it is resumed.
    #[arg(long, value_name = "TIME", conflicts_with = "length")]
    until: Option<Timestamp>,
    /// For how long, such as `2h`.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    length: Option<SignedDuration>,
    /// Why; whoever is asked instead is told it.
    #[arg(long)]
    reason: Option<String>,
}

/// What to resume.
#[derive(Debug, Args)]
pub struct ResumeArguments {
    #[command(flatten)]
    place: Where,
}

impl Where {
    /// `None` for `--list`.
    fn scope(&self) -> Option<Scope> {
        let Self { org, ou, account, rule, list: _ } = self;
        if *org {
            return Some(Scope::Organization);
        }
        ou.clone().or(account.clone().map(Scope::Account)).or(rule.clone().map(Scope::Rule))
    }
}

/// Pauses: nothing begins by itself there any more; plans wait for a person.
pub async fn pause(arguments: &PauseArguments, output: Output) -> Result<(), Failure> {
    let responder = responder().await?;
    let Some(scope) = arguments.place.scope() else {
        return list(&responder.ledger.switches().await?, responder.now(), output);
    };
    let now = responder.now();
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
    match responder.knows(&scope).await {
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
    let pause = responder.pause(&scope, until, arguments.reason.clone()).await?;
    show(&scope, &pause, "in force", output)
}

/// Ends a pause: 1 when there was none.
pub async fn resume(arguments: &ResumeArguments, output: Output) -> Result<(), Failure> {
    let responder = responder().await?;
    let Some(scope) = arguments.place.scope() else {
        return list(&responder.ledger.switches().await?, responder.now(), output);
    };
    match responder.resume_scope(&scope).await? {
        Some(pause) => show(&scope, &pause, "ended", output),
        None => Err(Failure::Check(format!(
            "{scope} was not paused\nhelp: `firebreak pause --list` shows what is"
        ))),
    }
}

fn show(scope: &Scope, pause: &Pause, word: &str, output: Output) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => {
            writeln!(out, "{:#}", json!({ "scope": scope, "pause": pause, "state": word }))?;
        }
        Output::Text => writeln!(out, "{word}: {}", told(scope, pause))?,
    }
    Ok(())
}

fn list(switches: &Switches, now: Timestamp, output: Output) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let holds = |pause: &Pause| pause.until.is_none_or(|until| until > now);
    let paused: Vec<_> = switches.0.iter().filter(|(_, pause)| holds(pause)).collect();
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
                writeln!(out, "{}", told(scope, pause))?;
            }
        }
    }
    Ok(())
}

fn unit(text: &str) -> Result<Scope, String> {
    attach_point(text).map(Scope::Unit)
}
