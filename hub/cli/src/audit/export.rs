//! `firebreak audit export`: the record as JSON lines. It never writes over a
//! file: an export is evidence.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;

use super::super::{Failure, engine};
use super::{Day, chain, range};
use firebreak_audit::export::{ExportScope, FORMAT};
use firebreak_aws::audit_log::export_table;

/// What to export.
#[derive(Debug, Args)]
pub struct Arguments {
    /// From this day on (UTC), such as `2026-01-31`, or `7d` for seven days ago.
    #[arg(long, value_name = "DAY")]
    since: Day,
    /// Up to this day; default: today.
    #[arg(long, value_name = "DAY")]
    until: Option<Day>,
    /// Only this account's record; `organization` selects events not tied to an account.
    #[arg(long, value_parser = chain)]
    account: Option<String>,
    /// Write to this file, which must not exist; default: standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { since, until, account, out } = arguments;
    let engine = engine().await?;
    let now = engine.now();
    let range = range(*since, *until, now)?;
    let target: Box<dyn Write> = match out {
        Some(path) => Box::new(File::create_new(path).map_err(|error| {
            Failure::Usage(format!("cannot write a new file `{}`: {error}", path.display()))
        })?),
        None => Box::new(std::io::stdout()),
    };
    let scope = ExportScope {
        format: FORMAT,
        at: now,
        since: range.since,
        until: range.until,
        account: account.clone(),
    };
    let out = BufWriter::new(target);
    let end = export_table(&engine.store, &scope, out).await?;
    // Whoever keeps this digest apart notices when the file itself is replaced.
    writeln!(std::io::stderr(), "{} lines, SHA-256 {}", end.lines, end.digest)?;
    Ok(())
}
