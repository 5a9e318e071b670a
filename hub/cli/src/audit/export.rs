//! `firebreak audit export`: the record as JSON lines. It never writes over a
//! file: an export is evidence.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;

use super::super::{Failure, responder};
use super::{Day, chain, range};
use firebreak_audit::export::{FORMAT, Scope};
use firebreak_aws::audit_log::export_table;

/// What to export.
#[derive(Debug, Args)]
pub struct Arguments {
    /// From this day on (UTC), such as `2026-01-31`, or `7d` for seven days ago.
    #[arg(long, value_name = "DAY")]
    since: Day,
    /// Up to this day; today unless it is said.
    #[arg(long, value_name = "DAY")]
    until: Option<Day>,
    /// Only this account's record; `organization` is what is about none.
    #[arg(long, value_parser = chain)]
    account: Option<String>,
    /// Into this file, which must not be there yet; else to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { since, until, account, out } = arguments;
    let responder = responder().await?;
    let now = responder.now();
    let range = range(*since, *until, now)?;
    let target: Box<dyn Write> = match out {
        Some(path) => Box::new(File::create_new(path).map_err(|error| {
            Failure::Usage(format!("cannot write a new file `{}`: {error}", path.display()))
        })?),
        None => Box::new(std::io::stdout()),
    };
    let scope = Scope {
        format: FORMAT,
        at: now,
        since: range.since,
        until: range.until,
        account: account.clone(),
    };
    let out = BufWriter::new(target);
    let end = export_table(&responder.ledger, &scope, out).await?;
    // Whoever keeps this digest apart notices when the file itself is replaced.
    writeln!(std::io::stderr(), "{} lines, SHA-256 {}", end.lines, end.digest)?;
    Ok(())
}
