//! `firebreak audit export`: writes the audit log as JSON lines. It never overwrites a
//! file: an export is evidence.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;

use super::{Day, parse_account, range};
use crate::Failure;
use crate::environment::engine;
use crate::terminal::report;
use firebreak_audit::export::{ExportScope, FORMAT};
use firebreak_aws::audit_log::export_table;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  firebreak audit export --since 7d --out audit.jsonl")]
pub struct Arguments {
    /// First day (UTC), such as `2026-01-31`, or `7d` for seven days ago.
    #[arg(long, value_name = "DAY")]
    since: Day,
    /// Last day [default: today].
    #[arg(long, value_name = "DAY")]
    until: Option<Day>,
    /// Only this account's events; `organization` selects events not tied to an account.
    #[arg(long, value_parser = parse_account)]
    account: Option<String>,
    /// Write to this file, which must not exist [default: standard output].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

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
    // Kept elsewhere, this digest shows whether the file was replaced.
    report(&format!("{} lines, SHA-256 {}", end.lines, end.digest));
    Ok(())
}
