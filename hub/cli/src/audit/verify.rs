//! `firebreak audit verify`: detects altered audit records, in the table or in an
//! export. It changes nothing.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Day, parse_account, range, report};
use crate::environment::engine_or;
use crate::{Failure, Output, inputs};
use firebreak_audit::export::Export;
use firebreak_audit::report::AuditReport;
use firebreak_audit::verify::{Fault, FaultKind};
use firebreak_aws::audit_log::verify_table;

#[derive(Debug, Args)]
pub struct Arguments {
    /// An export to verify without AWS; `-` is standard input [default: the table].
    #[arg(value_name = "EXPORT", conflicts_with_all = ["since", "until", "account"])]
    export: Option<PathBuf>,
    /// First day (UTC), such as `2026-01-31`, or `7d` for seven days ago [default: that of
    /// --against, else 30 days ago].
    #[arg(long, value_name = "DAY")]
    since: Option<Day>,
    /// Last day [default: that of --against, else today].
    #[arg(long, value_name = "DAY")]
    until: Option<Day>,
    /// Only this account's events; `organization` selects events not tied to an account.
    #[arg(long, value_parser = parse_account)]
    account: Option<String>,
    /// An earlier export: it shows records that were rewritten or removed since, even if the
    /// chain is consistent again.
    #[arg(long, value_name = "EXPORT")]
    against: Option<PathBuf>,
}

pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let anchor = arguments.against.as_deref().map(read_export).transpose()?;
    let mut report = match &arguments.export {
        Some(path) => verify_export(&read_export(path)?, anchor.as_ref()),
        None => verify_stored(arguments, anchor.as_ref()).await?,
    };
    if let Some(anchor) = &anchor {
        // An altered export proves nothing.
        report.faults.extend(anchor.verify().into_iter().map(|fault| Fault {
            message: format!("in the export of {}: {}", anchor.scope.at, fault.message),
            ..fault
        }));
    }
    report::write(&report, output)
}

fn read_export(path: &Path) -> Result<Export, Failure> {
    let wrong = |why: String| Failure::Usage(format!("cannot read `{}`: {why}", path.display()));
    let text = inputs::text(path).map_err(|error| wrong(error.to_string()))?;
    Export::parse(&text).map_err(wrong)
}

fn verify_export(export: &Export, anchor: Option<&Export>) -> AuditReport {
    let range = export.scope.range();
    let mut report = AuditReport::new(range);
    report.faults = export.verify();
    for record in export.accounts.values() {
        report.count(record);
        report.faults.extend(anchor.iter().flat_map(|anchor| anchor.compare(record, range)));
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
    let message = format!("the earlier export has account {account}, which has no record any more");
    Fault::of(FaultKind::Cut, account, message)
}

async fn verify_stored(
    arguments: &Arguments,
    anchor: Option<&Export>,
) -> Result<AuditReport, Failure> {
    let engine = engine_or("give an export to verify").await?;
    let now = engine.now();
    let scope = anchor.map(|anchor| &anchor.scope);
    let since = arguments.since.or(scope.map(|scope| Day::Is(scope.since)));
    let until = arguments.until.or(scope.map(|scope| Day::Is(scope.until)));
    let since = since.unwrap_or(Day::Ago(jiff::SignedDuration::from_hours(30 * 24)));
    let range = range(since, until, now)?;
    let only = arguments.account.as_deref().or(scope.and_then(|scope| scope.account.as_deref()));
    Ok(verify_table(&engine.store, now, range, only, anchor).await?)
}
