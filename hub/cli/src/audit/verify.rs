//! `firebreak audit verify`: what of the record was changed, in the table or in
//! an export of it. It changes nothing.

use std::path::{Path, PathBuf};

use clap::Args;

use super::super::{Failure, Output, inputs, responder_or};
use super::report;
use super::{Day, chain, range};
use firebreak_audit::export::Export;
use firebreak_audit::report::Report;
use firebreak_audit::verify::{Fault, Wrong};
use firebreak_aws::audit_log::verify_table;

/// What to verify.
#[derive(Debug, Args)]
pub struct Arguments {
    /// An export to verify, without AWS; `-` is standard input. Without it: the table.
    #[arg(value_name = "EXPORT", conflicts_with_all = ["since", "until", "account"])]
    export: Option<PathBuf>,
    /// From this day on (UTC), such as `2026-01-31`, or `7d` for seven days ago.
    /// Default: the days of --against, else 30 days ago.
    #[arg(long, value_name = "DAY")]
    since: Option<Day>,
    /// Up to this day. Default: the last day of --against, else today.
    #[arg(long, value_name = "DAY")]
    until: Option<Day>,
    /// Only this account's record; `organization` selects events not tied to an account.
    #[arg(long, value_parser = chain)]
    account: Option<String>,
    /// An earlier export, kept elsewhere: what was rewritten or cut since is found
    /// even where it is consistent in itself.
    #[arg(long, value_name = "EXPORT")]
    against: Option<PathBuf>,
}

/// Runs the command.
pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let anchor = arguments.against.as_deref().map(read).transpose()?;
    let mut report = match &arguments.export {
        Some(path) => offline(&read(path)?, anchor.as_ref()),
        None => table(arguments, anchor.as_ref()).await?,
    };
    if let Some(anchor) = &anchor {
        // An anchor that does not hold is none.
        report.faults.extend(anchor.verify().into_iter().map(|fault| Fault {
            says: format!("in the export of {}: {}", anchor.scope.at, fault.says),
            ..fault
        }));
    }
    report::write(&report, output)
}

fn read(path: &Path) -> Result<Export, Failure> {
    let wrong = |why: String| Failure::Usage(format!("cannot read `{}`: {why}", path.display()));
    let text = inputs::text(path).map_err(|error| wrong(error.to_string()))?;
    Export::read(&text).map_err(wrong)
}

fn offline(export: &Export, anchor: Option<&Export>) -> Report {
    let range = export.scope.range();
    let mut report = Report::new(range);
    report.faults = export.verify();
    for record in export.accounts.values() {
        report.looked_at(record);
        report.faults.extend(anchor.iter().flat_map(|anchor| anchor.against(record, range)));
    }
    if let Some(anchor) = anchor {
        let in_scope =
            |account: &String| export.scope.account.as_ref().is_none_or(|only| only == account);
        let gone = anchor.accounts.keys().filter(|it| !export.accounts.contains_key(*it));
        report.faults.extend(gone.filter(|it| in_scope(it)).map(|account| account_gone(account)));
    }
    report
}

fn account_gone(account: &str) -> Fault {
    let says = format!("the export has account {account}, of which nothing is there");
    Fault::of(Wrong::Cut, account, says)
}

async fn table(arguments: &Arguments, anchor: Option<&Export>) -> Result<Report, Failure> {
    let engine = responder_or("name an export to verify").await?;
    let now = engine.now();
    let scope = anchor.map(|anchor| &anchor.scope);
    let since = arguments.since.or(scope.map(|scope| Day::Is(scope.since)));
    let until = arguments.until.or(scope.map(|scope| Day::Is(scope.until)));
    let since = since.unwrap_or(Day::Ago(jiff::SignedDuration::from_hours(30 * 24)));
    let range = range(since, until, now)?;
    let only = arguments.account.as_deref().or(scope.and_then(|scope| scope.account.as_deref()));
    Ok(verify_table(&engine.store, now, range, only, anchor).await?)
}
