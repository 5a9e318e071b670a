//! `firebreak responses list`.

use std::io::Write;

use clap::Args;
use firebreak_model::resource::AccountId;
use firebreak_response::record::State;
use jiff::SignedDuration;

use crate::environment::engine;
use crate::terminal::{table, to_seconds, write_json};
use crate::values::duration;
use crate::{Failure, Output};

#[derive(Debug, Args)]
pub struct Arguments {
    /// How far back, such as `7d` or `12h`
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration)]
    since: SignedDuration,
    /// Only responses in this account
    #[arg(long)]
    account: Option<AccountId>,
    /// Only responses in this state, such as `contained`
    #[arg(long, value_parser = state)]
    state: Option<State>,
}

pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { since, account, state } = arguments;
    let engine = engine().await?;
    let now = engine.now();
    let from = now
        .checked_sub(*since)
        .map_err(|error| Failure::Usage(format!("--since reaches too far: {error}")))?;
    let mut responses = engine.store.responses(from, now).await?;
    responses.retain(|response| {
        account.as_ref().is_none_or(|account| response.resource.account == *account)
            && state.is_none_or(|state| response.state == state)
    });
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        return write_json(&mut out, &responses);
    }
    let mut table =
        table(["response", "state", "recorded", "account", "target", "finding", "rule"]);
    for response in responses {
        table.add_row([
            response.id.to_string(),
            response.state.to_string(),
            to_seconds(response.created),
            response.resource.account.to_string(),
            response.resource.arn(),
            response.finding.kind.clone(),
            response.key.to_string(),
        ]);
    }
    writeln!(out, "{table}")?;
    Ok(())
}

fn state(text: &str) -> Result<State, String> {
    State::ALL.into_iter().find(|state| state.name() == text).ok_or_else(|| {
        let names: Vec<&str> = State::ALL.into_iter().map(State::name).collect();
        format!("`{text}` is not one of {}", names.join(", "))
    })
}
