//! `firebreak audit export | verify`: exports and verifies the audit log.

mod export;
mod report;
mod verify;

use std::str::FromStr;

use clap::Subcommand;
use firebreak_model::resource::AccountId;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::values::duration;
use super::{Failure, Output};
use firebreak_audit::account::Range;
use firebreak_audit::chain::day_of;
use firebreak_response::audit_event::ORGANIZATION;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the audit log as JSON lines. An export is verified without AWS, and `verify
    /// --against` compares the table with it.
    Export(export::Arguments),
    /// Detect changed, removed, reordered or inserted audit records: exit code 0
    /// if intact, 1 if altered.
    Verify(verify::Arguments),
}

/// Parses the account of an audit log, or `organization`. A mistyped account is
/// rejected: it would have no records, and so no faults.
fn parse_account(text: &str) -> Result<String, String> {
    if text == ORGANIZATION || text.parse::<AccountId>().is_ok_and(|id| id.is_real()) {
        return Ok(text.to_owned());
    }
    Err(format!("expected an account id of 12 digits or `{ORGANIZATION}`"))
}

pub async fn run(command: &Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Export(arguments) => export::run(arguments).await,
        Command::Verify(arguments) => verify::run(arguments, output).await,
    }
}

/// A date, or a time before today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Day {
    Is(Date),
    Ago(SignedDuration),
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let day = text.parse().map(Self::Is);
        day.or_else(|_| duration(text).map(Self::Ago)).map_err(|_| {
            format!("`{text}` is not a day such as `2026-01-31`, nor a duration such as `7d`")
        })
    }
}

impl Day {
    fn date(self, now: Timestamp) -> Result<Date, Failure> {
        match self {
            Self::Is(date) => Ok(date),
            Self::Ago(ago) => now
                .checked_sub(ago)
                .map(day_of)
                .map_err(|error| Failure::Usage(format!("too long ago: {error}"))),
        }
    }
}

fn range(since: Day, until: Option<Day>, now: Timestamp) -> Result<Range, Failure> {
    let since = since.date(now)?;
    let until = until.map_or(Ok(day_of(now)), |until| until.date(now))?;
    if since > until {
        return Err(Failure::Usage(format!("--since {since} is after --until {until}")));
    }
    Ok(Range { since, until })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_date_or_a_duration_before_now() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        for (text, day) in
            [("2026-01-31", "2026-01-31"), ("1d", "2026-02-28"), ("13h", "2026-02-28")]
        {
            assert_eq!(text.parse::<Day>().unwrap().date(now).unwrap().to_string(), day, "{text}");
        }
        for text in ["", "yesterday", "2026-02-30", "0d"] {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
        assert!(range(Day::Is(day_of(now)), Some("1d".parse().unwrap()), now).is_err());
    }
}
