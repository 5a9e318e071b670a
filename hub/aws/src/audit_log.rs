//! Reads the audit log from the table, to verify or to export it. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use firebreak_audit::account::{AccountRecord, Range};
use firebreak_audit::chain::{ChainId, day_of};
use firebreak_audit::export::{Export, ExportEnd, ExportScope, ExportWriter};
use firebreak_audit::records::{LatestEvent, collect, compare};
use firebreak_audit::report::AuditReport;
use firebreak_audit::verify::{Fault, FaultKind};
use firebreak_response::record::ResponseId;
use jiff::Timestamp;

use crate::error::HubError;
use crate::store::Store;

/// How many accounts are read concurrently.
const MAX_PARALLEL: usize = 8;

/// Why an export was not written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The table cannot be read.
    #[error("{0}")]
    Aws(#[from] HubError),
    /// The export cannot be written.
    #[error("cannot write: {0}")]
    Io(#[from] std::io::Error),
}

/// Exports the audit log of the scope's days and account.
pub async fn export_table(
    store: &Store,
    scope: &ExportScope,
    out: impl Write,
) -> Result<ExportEnd, ExportError> {
    let known = store.audited(scope.range(), scope.at).await?;
    let mut writer = ExportWriter::begin(out, scope)?;
    for (name, days) in known {
        if scope.account.as_ref().is_none_or(|account| *account == name) {
            let record = store.account_record(&name, &days, scope.range()).await?;
            writer.write_account(&record)?;
        }
    }
    Ok(writer.finish()?)
}

/// Verifies the audit log of these days, of one account or of all, and compares it with
/// an earlier export.
pub async fn verify_table(
    store: &Store,
    now: Timestamp,
    range: Range,
    only: Option<&str>,
    anchor: Option<&Export>,
) -> Result<AuditReport, HubError> {
    let mut known = store.audited(range, now).await?;
    for record in anchor.iter().flat_map(|anchor| anchor.accounts.values()) {
        let days = record.chains.keys().copied().filter(|day| range.has(*day));
        known.entry(record.account.clone()).or_default().extend(days);
    }
    known.retain(|account, _| only.is_none_or(|only| only == account));
    let mut check = TableCheck { store, range, now, anchor, described: BTreeSet::new() };
    let mut report = AuditReport::new(range);
    let accounts: Vec<_> = known.iter().collect();
    for some in accounts.chunks(MAX_PARALLEL) {
        let reads = some.iter().map(|(account, days)| store.account_record(account, days, range));
        for record in futures::future::try_join_all(reads).await? {
            check.account(&record, &mut report).await?;
        }
    }
    check.unrecorded(only, &mut report).await?;
    Ok(report)
}

/// A verification of the table in progress.
struct TableCheck<'a> {
    store: &'a Store,
    range: Range,
    /// When it began: newer events may be recorded after the read.
    now: Timestamp,
    anchor: Option<&'a Export>,
    /// The responses that have audit events.
    described: BTreeSet<ResponseId>,
}

impl TableCheck<'_> {
    async fn account(
        &mut self,
        record: &AccountRecord,
        report: &mut AuditReport,
    ) -> Result<(), HubError> {
        report.count(record);
        report.faults.extend(record.verify(self.range, self.now));
        report.faults.extend(self.anchor.iter().flat_map(|it| it.compare(record, self.range)));
        let mut described: BTreeMap<ResponseId, LatestEvent> = BTreeMap::new();
        for chain in record.chains.values() {
            collect(chain, &mut described);
        }
        let ids: Vec<ResponseId> = described.keys().cloned().collect();
        let texts = self.store.record_texts(&ids).await?;
        // Events after the range are not read, so a response may have changed its state
        // since.
        let whole = self.range.has(day_of(self.now));
        let read_at = if whole { self.now } else { Timestamp::MIN };
        for (id, described) in &described {
            let text = texts.get(id).map(String::as_str);
            report.faults.extend(compare(id, described, text, read_at));
        }
        report.responses += described.len();
        self.described.extend(ids);
        Ok(())
    }

    /// Reports responses without audit events.
    async fn unrecorded(
        &self,
        only: Option<&str>,
        report: &mut AuditReport,
    ) -> Result<(), HubError> {
        for (id, account, created) in self.store.recorded_responses(self.range).await? {
            let selected = only.is_none_or(|only| only == account);
            let old = created.is_none_or(|created| created < self.now);
            if selected && old && !self.described.contains(&id) {
                let says = format!("nothing was recorded of response {id}");
                let day = created.map_or(self.range.since, day_of);
                let fault = Fault::in_chain(FaultKind::Unrecorded, &ChainId { account, day }, says);
                report.faults.push(fault.about(Some(id)));
            }
        }
        Ok(())
    }
}
