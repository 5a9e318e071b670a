//! An export of the audit log: JSON lines that can be verified without the table, and that
//! later show which part of the table was rewritten or removed. Pure.

use std::collections::BTreeMap;
use std::io::{self, Write};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::account::{AccountRecord, Range};
use super::chain::{AccountChains, Chain, ChainId, Chained, Head, Stray, Waiting};
use super::verify::{Fault, FaultKind};

/// The format of an export; a newer one is rejected.
pub const FORMAT: u32 = 1;

/// The scope of an export: its first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportScope {
    /// See [`FORMAT`].
    pub format: u32,
    /// When the export was made.
    pub at: Timestamp,
    /// The first day.
    pub since: Date,
    /// The last day, included.
    pub until: Date,
    /// `None` for all accounts.
    pub account: Option<String>,
}

impl ExportScope {
    pub fn range(&self) -> Range {
        Range { since: self.since, until: self.until }
    }
}

/// An item, and the chain that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InChain<T> {
    pub account: String,
    pub day: Date,
    #[serde(rename = "is")]
    pub item: T,
}

/// The last line, which shows whether lines above are missing or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportEnd {
    /// The number of lines above.
    pub lines: u64,
    /// The SHA-256 of those lines, including line ends.
    pub digest: String,
}

/// A line of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportLine {
    Export(ExportScope),
    /// An account's item: the ends of its chains.
    Account(AccountChains),
    /// The head of a chain in the range.
    Head(Head),
    /// The head of a chain after the range, which may link to chains in it.
    Later(Head),
    /// An event in its chain.
    Event(InChain<Chained>),
    /// An event that is not chained yet.
    Waiting(InChain<Waiting>),
    /// An item among the events that is not an event.
    Stray(InChain<Stray>),
    End(ExportEnd),
}

/// Writes an export line by line.
#[derive(Debug)]
pub struct ExportWriter<W> {
    out: W,
    lines: u64,
    digest: Sha256,
}

impl<W: Write> ExportWriter<W> {
    /// Writes the first line.
    pub fn begin(out: W, scope: &ExportScope) -> io::Result<Self> {
        let mut writer = Self { out, lines: 0, digest: Sha256::new() };
        writer.write_line(&ExportLine::Export(scope.clone()))?;
        Ok(writer)
    }

    /// Writes all lines of one account.
    pub fn write_account(&mut self, record: &AccountRecord) -> io::Result<()> {
        if let Some(item) = &record.item {
            self.write_line(&ExportLine::Account(item.clone()))?;
        }
        for Chain { id, head, events, waiting, strays } in record.chains.values() {
            let mut events: Vec<&Chained> = events.iter().collect();
            events.sort_by(|a, b| (a.seq, &a.key).cmp(&(b.seq, &b.key)));
            for event in events {
                self.write_line(&ExportLine::Event(in_chain(id, event)))?;
            }
            for event in waiting {
                self.write_line(&ExportLine::Waiting(in_chain(id, event)))?;
            }
            for stray in strays {
                self.write_line(&ExportLine::Stray(in_chain(id, stray)))?;
            }
            if let Some(head) = head {
                self.write_line(&ExportLine::Head(head.clone()))?;
            }
        }
        for head in record.later.values() {
            self.write_line(&ExportLine::Later(head.clone()))?;
        }
        Ok(())
    }

    /// Writes the last line, and returns it.
    pub fn finish(mut self) -> io::Result<ExportEnd> {
        let digest = hex::encode(self.digest.clone().finalize());
        let end = ExportEnd { lines: self.lines, digest };
        self.write_line(&ExportLine::End(end.clone()))?;
        self.out.flush()?;
        Ok(end)
    }

    fn write_line(&mut self, line: &ExportLine) -> io::Result<()> {
        let mut text = serde_json::to_string(line).map_err(io::Error::other)?;
        text.push('\n');
        self.digest.update(&text);
        self.lines += 1;
        self.out.write_all(text.as_bytes())
    }
}

fn in_chain<T: Clone>(id: &ChainId, item: &T) -> InChain<T> {
    InChain { account: id.account.clone(), day: id.day, item: item.clone() }
}

/// A parsed export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    pub scope: ExportScope,
    pub accounts: BTreeMap<String, AccountRecord>,
    /// Unreadable, missing, changed, duplicate or inserted lines.
    pub faults: Vec<Fault>,
}

impl Export {
    /// Parses an export. `Err` if the text is not an export, or has a newer format; faults in
    /// its lines are recorded in `faults`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.split_inclusive('\n');
        let first = lines.next().unwrap_or_default();
        let not_an_export = "the first line is not that of an export";
        let Ok(ExportLine::Export(scope)) = serde_json::from_str(first) else {
            return Err(not_an_export.to_owned());
        };
        if scope.format > FORMAT {
            return Err(format!(
                "format {} is newer than the supported format {FORMAT}",
                scope.format
            ));
        }
        let mut export = Self { scope, accounts: BTreeMap::new(), faults: Vec::new() };
        let mut digest = Sha256::new();
        digest.update(first);
        let (mut lines_above, mut end) = (1, None);
        for (number, text) in (2_u64..).zip(lines) {
            let line = serde_json::from_str::<ExportLine>(text);
            if end.is_some() {
                export.fault(FaultKind::Inserted, format!("line {number} comes after the end"));
            }
            match line {
                Err(error) => {
                    export.fault(
                        FaultKind::Unreadable,
                        format!("line {number} cannot be read: {error}"),
                    );
                }
                Ok(ExportLine::End(line)) => {
                    end = Some((line, hex::encode(digest.clone().finalize()), lines_above));
                }
                Ok(ExportLine::Export(_)) => {
                    export
                        .fault(FaultKind::Inserted, format!("line {number} begins another export"));
                }
                Ok(line) => export.add(line),
            }
            digest.update(text);
            lines_above += 1;
        }
        match end {
            None => {
                export.fault(FaultKind::Cut, "the export has no end: lines are missing".to_owned());
            }
            Some((end, digest, lines)) if end.digest != digest || end.lines != lines => {
                let message = format!(
                    "lines were changed after the export was written: it has {lines} lines above the end, {} were written",
                    end.lines
                );
                export.fault(FaultKind::Changed, message);
            }
            Some(_) => {}
        }
        Ok(export)
    }

    fn fault(&mut self, kind: FaultKind, message: String) {
        self.faults.push(Fault::of(kind, "export", message));
    }

    fn record(&mut self, account: &str) -> &mut AccountRecord {
        self.accounts.entry(account.to_owned()).or_insert_with(|| AccountRecord::new(account))
    }

    fn chain(&mut self, account: &str, day: Date) -> &mut Chain {
        let id = ChainId { account: account.to_owned(), day };
        self.record(account).chains.entry(day).or_insert_with(|| Chain::new(id))
    }

    fn add(&mut self, line: ExportLine) {
        match line {
            ExportLine::Account(item) => {
                let account = item.account.clone();
                let before = self.record(&account).item.replace(item);
                if before.is_some() {
                    self.report_duplicate(&format!("the item of account {account}"));
                }
            }
            ExportLine::Head(head) => {
                let id = head.id();
                let before = self.chain(&id.account, id.day).head.replace(head);
                if before.is_some() {
                    self.report_duplicate(&format!("the head of {id}"));
                }
            }
            ExportLine::Later(head) => {
                let id = head.id();
                let before = self.record(&id.account).later.insert(id.day, head);
                if before.is_some() {
                    self.report_duplicate(&format!("the head of {id}"));
                }
            }
            ExportLine::Event(InChain { account, day, item }) => {
                self.chain(&account, day).events.push(item);
            }
            ExportLine::Waiting(InChain { account, day, item }) => {
                self.chain(&account, day).waiting.push(item);
            }
            ExportLine::Stray(InChain { account, day, item }) => {
                self.chain(&account, day).strays.push(item);
            }
            // Handled by `parse`.
            ExportLine::Export(_) | ExportLine::End(_) => {}
        }
    }

    fn report_duplicate(&mut self, what: &str) {
        self.fault(FaultKind::Duplicated, format!("{what} appears twice"));
    }

    /// All faults in the export itself: in its lines, its chains and between its chains.
    pub fn verify(&self) -> Vec<Fault> {
        let mut faults = self.faults.clone();
        for record in self.accounts.values() {
            faults.extend(record.verify(self.scope.range(), self.scope.at));
        }
        faults
    }

    /// Compares an account's present chains with this export, because chains that were
    /// rewritten or shortened since can still be consistent. Returns the faults.
    pub fn compare(&self, present: &AccountRecord, range: Range) -> Vec<Fault> {
        let Some(record) = self.accounts.get(&present.account) else { return Vec::new() };
        let chains = record.chains.values().filter(|chain| range.has(chain.id.day));
        chains
            .flat_map(|exported| differences(exported, present.chains.get(&exported.id.day)))
            .collect()
    }
}

/// What is missing from a chain now, or was changed, since it was exported.
fn differences(exported: &Chain, present: Option<&Chain>) -> Vec<Fault> {
    let id = &exported.id;
    let Some(present) = present else {
        let message = format!(
            "the export has {} events of {id}, which are missing now",
            exported.events.len()
        );
        return vec![Fault::in_chain(FaultKind::Cut, id, message)];
    };
    let mut faults = Vec::new();
    let present_events: BTreeMap<u64, &Chained> =
        present.events.iter().map(|it| (it.seq, it)).collect();
    let mut events: Vec<&Chained> = exported.events.iter().collect();
    events.sort_by_key(|event| event.seq);
    for event in events {
        let (kind, message) = match present_events.get(&event.seq) {
            None => (FaultKind::Cut, format!("event {} of the export is missing now", event.seq)),
            Some(present) if *present != event => {
                (FaultKind::Rewritten, format!("event {} differs from the export", event.seq))
            }
            Some(_) => continue,
        };
        faults.push(Fault::in_chain(kind, id, message).at(event.seq, &event.key));
    }
    for event in &exported.waiting {
        let waiting = present.waiting.iter().map(|it| (&it.key, &it.body));
        let chained = present.events.iter().map(|it| (&it.key, &it.body));
        let found = waiting.chain(chained).find(|(key, _)| **key == event.key);
        let (kind, message) = match found {
            None => (FaultKind::Cut, "an event that was not chained in the export is missing now"),
            Some((_, body)) if *body != event.body => (
                FaultKind::Rewritten,
                "an event that was not chained in the export was changed since",
            ),
            Some(_) => continue,
        };
        let fault = Fault::in_chain(kind, id, message);
        faults.push(Fault { key: Some(event.key.clone()), ..fault });
    }
    faults
}
