//! `firebreak audit verify`: what of the record was changed, in the table or in
//! an export of it. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;

use super::super::{Failure, Output, inputs, responder_or};
use super::report::Report;
use super::{Day, chain, range};
use crate::audit::account::{AccountRecord, Range};
use crate::audit::chain::{ChainId, day_of};
use crate::audit::export::Export;
use crate::audit::records::{Told, collect, compare};
use crate::audit::verify::{Fault, Wrong};
use crate::aws::error::HubError;
use crate::aws::ledger::Ledger;
use crate::record::ResponseId;

/// How many accounts are read side by side.
const AT_ONCE: usize = 8;

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
    /// Only this account's record; `organization` is what is about none.
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
    report.write(output)
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
    let responder = responder_or("name an export to verify").await?;
    let now = responder.now();
    let scope = anchor.map(|anchor| &anchor.scope);
    let since = arguments.since.or(scope.map(|scope| Day::Is(scope.since)));
    let until = arguments.until.or(scope.map(|scope| Day::Is(scope.until)));
    let since = since.unwrap_or(Day::Ago(jiff::SignedDuration::from_hours(30 * 24)));
    let range = range(since, until, now)?;
    let only = arguments.account.as_deref().or(scope.and_then(|scope| scope.account.as_deref()));
    Ok(verify_table(&responder.ledger, now, range, only, anchor).await?)
}

/// Looks over the record of these days, of one account or of all, and compares
/// it with an earlier export.
pub async fn verify_table(
    ledger: &Ledger,
    now: Timestamp,
    range: Range,
    only: Option<&str>,
    anchor: Option<&Export>,
) -> Result<Report, HubError> {
    let mut known = ledger.audited(range, now).await?;
    for record in anchor.iter().flat_map(|anchor| anchor.accounts.values()) {
        let days = record.chains.keys().copied().filter(|day| range.has(*day));
        known.entry(record.account.clone()).or_default().extend(days);
    }
    known.retain(|account, _| only.is_none_or(|only| only == account));
    let mut look = Look { ledger, range, now, anchor, told: BTreeSet::new() };
    let mut report = Report::new(range);
    let accounts: Vec<_> = known.iter().collect();
    for some in accounts.chunks(AT_ONCE) {
        let reads = some.iter().map(|(account, days)| ledger.account_record(account, days, range));
        for record in futures::future::try_join_all(reads).await? {
            look.account(&record, &mut report).await?;
        }
    }
    look.unrecorded(only, &mut report).await?;
    Ok(report)
}

/// A verification of the table under way.
struct Look<'a> {
    ledger: &'a Ledger,
    range: Range,
    /// When it began: what is newer may be recorded after we read.
    now: Timestamp,
    anchor: Option<&'a Export>,
    /// The responses of which something was recorded.
    told: BTreeSet<ResponseId>,
}

impl Look<'_> {
    async fn account(
        &mut self,
        record: &AccountRecord,
        report: &mut Report,
    ) -> Result<(), HubError> {
        report.looked_at(record);
        report.faults.extend(record.verify(self.range, self.now));
        report.faults.extend(self.anchor.iter().flat_map(|it| it.against(record, self.range)));
        let mut told: BTreeMap<ResponseId, Told> = BTreeMap::new();
        for chain in record.chains.values() {
            collect(chain, &mut told);
        }
        let ids: Vec<ResponseId> = told.keys().cloned().collect();
        let texts = self.ledger.record_texts(&ids).await?;
        // What was recorded after the range is not known here.
        let whole = self.range.has(day_of(self.now));
        let read_at = if whole { self.now } else { Timestamp::MIN };
        for (id, told) in &told {
            let text = texts.get(id).map(String::as_str);
            report.faults.extend(compare(id, told, text, read_at));
        }
        report.responses += told.len();
        self.told.extend(ids);
        Ok(())
    }

    /// Responses of which nothing was recorded.
    async fn unrecorded(&self, only: Option<&str>, report: &mut Report) -> Result<(), HubError> {
        for (id, account, created) in self.ledger.recorded_responses(self.range).await? {
            let looked_at = only.is_none_or(|only| only == account);
            let old = created.is_none_or(|created| created < self.now);
            if looked_at && old && !self.told.contains(&id) {
                let says = format!("nothing was recorded of response {id}");
                let day = created.map_or(self.range.since, day_of);
                let fault = Fault::in_chain(Wrong::Unrecorded, &ChainId { account, day }, says);
                report.faults.push(fault.about(Some(id)));
            }
        }
        Ok(())
    }
}
