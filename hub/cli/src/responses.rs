//! `firebreak responses list | show | approve | deny | undo | hold | release`.

use std::io::Write;

use clap::Subcommand;
use comfy_table::{ContentArrangement, Table, presets};
use firebreak_model::resource::AccountId;
use jiff::{SignedDuration, Timestamp};
use serde_json::{json, to_value};

use super::respond::write_steps;
use super::{Failure, Output, engine};
use firebreak_engine::Engine;
use firebreak_response::record::{
    Approval, ApprovalAnswer, ApprovalDecision, Drift, Response, ResponseId, State, StepState,
    Undo, UndoCause,
};

/// What to do with responses.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The latest responses, newest first.
    List {
        /// How far back, such as `7d` or `12h`.
        #[arg(long, default_value = "7d", value_parser = duration)]
        since: SignedDuration,
        /// Only those in this account.
        #[arg(long)]
        account: Option<AccountId>,
        /// Only those in this state, such as `contained`.
        #[arg(long, value_parser = state)]
        state: Option<State>,
    },
    /// One response with its steps, the state before and after, and the reasons.
    Show {
        /// The response's id.
        id: ResponseId,
    },
    /// Carry out a plan that waits for approval. If the plan has changed since,
    /// it asks for approval again.
    Approve {
        /// The response's id.
        id: ResponseId,
        /// Why; it is recorded with your identity.
        #[arg(long)]
        reason: Option<String>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Deny a plan that waits for approval. Its findings are not handled again.
    Deny {
        /// The response's id.
        id: ResponseId,
        /// Why; it is recorded with your identity.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Put back what a response changed; what somebody changed since is reported, not overwritten.
    Undo {
        /// The response's id.
        id: ResponseId,
        /// Only this action's step.
        #[arg(long, value_name = "ACTION")]
        step: Option<String>,
        /// Overwrite what somebody changed since: the action is applied once more, then undone.
        #[arg(long)]
        force_drift: bool,
        /// How long findings of the same type are then suppressed on the target; `0` is
        /// not at all. Default: `FIREBREAK_SUPPRESS_HOURS`, 24 hours. With --step there
        /// is no suppression.
        #[arg(long, value_name = "DURATION", value_parser = suppress)]
        suppress: Option<SignedDuration>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Suppress further findings of this type on this resource.
    Suppress {
        /// The response's id.
        id: ResponseId,
        /// For how long, such as `7d`.
        #[arg(long = "for", value_name = "DURATION", default_value = "24h", value_parser = duration)]
        length: SignedDuration,
        /// Why; shown when a finding is suppressed.
        #[arg(long)]
        reason: Option<String>,
    },
    /// End a suppression: the next matching finding is evaluated again.
    Release {
        /// The response's id.
        id: ResponseId,
    },
}

/// Runs the command.
pub async fn run(command: &Command, output: Output) -> Result<(), Failure> {
    let engine = engine().await?;
    let mut out = std::io::stdout().lock();
    match command {
        Command::List { since, account, state } => {
            let now = engine.now();
            let from = now
                .checked_sub(*since)
                .map_err(|error| Failure::Usage(format!("--since reaches too far: {error}")))?;
            let mut responses = engine.store.responses(from, now).await?;
            responses.retain(|response| {
                account.as_ref().is_none_or(|account| response.resource.account == *account)
                    && state.is_none_or(|state| response.state == state)
            });
            list(&mut out, &responses, output)?;
        }
        Command::Show { id } => {
            show(&mut out, &engine.load(id).await?, output)?;
        }
        Command::Approve { id, reason, yes } => {
            let mut seen = None;
            if !yes {
                if let Some(response) = engine.store.response(id).await? {
                    write_steps(&mut out, &response)?;
                    seen = Some(response.revision);
                }
                confirm(&format!("Carry out {id}?"))?;
            }
            let response = engine.approve(id, reason.clone(), seen).await?;
            show(&mut out, &response, output)?;
            match response.state {
                // What runs on needs time, and goes on by itself.
                State::Contained | State::Completed | State::Running => {}
                State::Observed
                | State::Refused
                | State::AwaitingApproval
                | State::Denied
                | State::PartiallyContained
                | State::Failed
                | State::Undoing
                | State::Undone
                | State::Expired => return Err(Failure::Check(response.reason)),
            }
        }
        Command::Deny { id, reason } => {
            let response = engine.deny(id, reason.clone()).await?;
            show(&mut out, &response, output)?;
        }
        Command::Undo { id, step, force_drift, suppress, yes } => {
            if !yes {
                confirm(&format!(
                    "Undo {id}? The resource will be as exposed as before. Continue?"
                ))?;
            }
            let suppress = match (suppress, step) {
                (Some(suppress), _) => *suppress,
                (None, Some(_)) => SignedDuration::ZERO,
                (None, None) => engine.suppression_after_undo(),
            };
            let request = Undo {
                cause: UndoCause::Person(engine.caller().await?),
                step: step.clone(),
                drift: if *force_drift { Drift::Overwrite } else { Drift::Leave },
                suppress_until: until(&engine, suppress)?,
            };
            let undone = engine.undo(id, request).await?;
            show(&mut out, &undone, output)?;
            let of_step = step.as_ref().and_then(|step| {
                undone.steps.iter().find(|it| it.action == *step).map(|it| it.state)
            });
            let over = matches!(undone.state, State::Undone | State::Expired);
            if !over && of_step != Some(StepState::Undone) {
                return Err(Failure::Check(undone.reason));
            }
        }
        Command::Suppress { id, length, reason } => {
            let Some(until) = until(&engine, *length)? else { return Ok(()) };
            let response = engine.suppress(id, until, reason.clone()).await?;
            let (kind, arn) = (&response.finding.kind, response.resource.arn());
            print_result(
                &mut out,
                output,
                "suppress",
                &format!("findings of {kind} on {arn} are suppressed until {}", seconds(until)),
            )?;
        }
        Command::Release { id } => {
            let response = engine.release(id).await?;
            let (kind, arn) = (&response.finding.kind, response.resource.arn());
            print_result(
                &mut out,
                output,
                "release",
                &format!("suppression ended: findings of {kind} on {arn} are handled again"),
            )?;
        }
    }
    Ok(())
}

fn until(engine: &Engine, length: SignedDuration) -> Result<Option<Timestamp>, Failure> {
    if length.is_zero() {
        return Ok(None);
    }
    let until = engine.now().checked_add(length);
    until.map(Some).map_err(|error| Failure::Usage(format!("the suppression is too long: {error}")))
}

fn print_result(
    out: &mut impl Write,
    output: Output,
    what: &str,
    said: &str,
) -> Result<(), Failure> {
    match output {
        Output::Json => write_json(out, &json!({ what: said })),
        Output::Text => Ok(writeln!(out, "{said}")?),
    }
}

fn list(out: &mut impl Write, responses: &[Response], output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return write_json(out, &responses);
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["response", "state", "recorded", "account", "target", "finding", "rule"]);
    for response in responses {
        table.add_row([
            response.id.to_string(),
            response.state.to_string(),
            seconds(response.created),
            response.resource.account.to_string(),
            response.resource.arn(),
            response.finding.kind.clone(),
            response.key.to_string(),
        ]);
    }
    writeln!(out, "{table}")?;
    Ok(())
}

fn show(out: &mut impl Write, response: &Response, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return write_json(out, response);
    }
    writeln!(out, "{} is {}: {}", response.id, response.state, response.reason)?;
    writeln!(out, "  target    {}", response.resource.arn())?;
    writeln!(out, "  OU path   {}", response.ou_path)?;
    writeln!(out, "  finding   {} {}", response.finding.kind, response.finding.id)?;
    writeln!(
        out,
        "  recorded  {}, last changed {}",
        seconds(response.created),
        seconds(response.updated)
    )?;
    if let Some(ends) = response.ends {
        writeln!(out, "  ends      {} by itself", seconds(ends))?;
    }
    if let Some(waiting) = &response.waiting {
        let next = response.due.map(seconds).unwrap_or_default();
        writeln!(out, "  waits     {waiting}; goes on {next}")?;
    }
    if let Some(approval) = &response.approval {
        write_approval(out, response, approval)?;
    }
    if let Some(undo) = &response.undo {
        writeln!(out, "  undo requested by {}", undo.cause)?;
        if let Some(until) = undo.suppress_until {
            writeln!(out, "  suppress  until {}", seconds(until))?;
        }
    }
    write_steps(out, response)?;
    Ok(())
}

fn write_approval(
    out: &mut impl Write,
    response: &Response,
    approval: &Approval,
) -> Result<(), Failure> {
    match (&approval.answer, approval.within) {
        (Some(ApprovalAnswer { verdict, by, at, reason }), _) => {
            let word = match verdict {
                ApprovalDecision::Approved => "approved",
                ApprovalDecision::Denied => "denied",
            };
            let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            writeln!(out, "  {word:<9} {} by {by}{why}", seconds(*at))?;
        }
        (None, Some(_)) => {
            let (then, due) = (approval.otherwise.name(), response.due.map(seconds));
            writeln!(out, "  answer    by {}, then {then}", due.unwrap_or_default())?;
        }
        (None, None) => {}
    }
    if let Some(approvers) = &approval.approvers {
        writeln!(out, "  approvers {approvers}")?;
    }
    Ok(())
}

fn write_json(out: &mut impl Write, value: &impl serde::Serialize) -> Result<(), Failure> {
    let value = to_value(value).map_err(std::io::Error::other)?;
    writeln!(out, "{value:#}")?;
    Ok(())
}

fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Asks on the terminal; anything but yes is a no.
pub fn confirm(question: &str) -> Result<(), Failure> {
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Failure::Check("nothing was changed: not confirmed".to_owned()))
    }
}

/// Reads what [`duration`] does, or `0` for no hold.
fn suppress(text: &str) -> Result<SignedDuration, String> {
    if text == "0" { Ok(SignedDuration::ZERO) } else { duration(text) }
}

/// Reads `90m`, `12h`, `7d` or `4w`.
pub(super) fn duration(text: &str) -> Result<SignedDuration, String> {
    let wrong = || format!("`{text}` is not a duration such as `90m`, `12h` or `7d`");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let number: i64 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    let minutes = match unit {
        'm' => 1,
        'h' => 60,
        'd' => 24 * 60,
        'w' => 7 * 24 * 60,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(minutes)
        .filter(|_| number > 0)
        .map(SignedDuration::from_mins)
        .ok_or_else(wrong)
}

fn state(text: &str) -> Result<State, String> {
    State::ALL.into_iter().find(|state| state.name() == text).ok_or_else(|| {
        let names: Vec<&str> = State::ALL.into_iter().map(State::name).collect();
        format!("`{text}` is not one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit_and_nothing_else_is() {
        assert_eq!(duration("90m"), Ok(SignedDuration::from_mins(90)));
        assert_eq!(duration("7d"), Ok(SignedDuration::from_hours(168)));
        for text in ["", "7", "d", "-1d", "0h", "7y", "9999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
