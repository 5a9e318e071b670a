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
    pub at: Timestamp,
    pub since: Date,
    pub until: Date,
    /// `None` for all accounts.
    pub account: Option<String>,
}

impl ExportScope {
    pub fn range(&self) -> Range {
        Range { since: self.since, until: self.until }
    }
}

/// An item of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InChain<T> {
    pub account: String,
    pub day: Date,
    pub is: T,
}

/// The last line, which shows whether lines are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The number of lines above.
    pub lines: u64,
    /// Their SHA-256, including line ends.
    pub digest: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    Export(ExportScope),
    /// An account's item.
    Account(AccountChains),
    /// The head of a chain in the range.
    Head(Head),
    /// The head of a later chain, which has links to these.
    Later(Head),
    /// An event in its chain.
    Event(InChain<Chained>),
    /// An event that is not chained yet.
    Waiting(InChain<Waiting>),
    /// An item that is not an event.
    Stray(InChain<Stray>),
    End(End),
}

#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    lines: u64,
    digest: Sha256,
}

impl<W: Write> Writer<W> {
    pub fn begin(out: W, scope: &ExportScope) -> io::Result<Self> {
        let mut writer = Self { out, lines: 0, digest: Sha256::new() };
        writer.line(&Line::Export(scope.clone()))?;
        Ok(writer)
    }

    pub fn account(&mut self, record: &AccountRecord) -> io::Result<()> {
        if let Some(item) = &record.item {
            self.line(&Line::Account(item.clone()))?;
        }
        for Chain { id, head, events, waiting, strays } in record.chains.values() {
            let mut events: Vec<&Chained> = events.iter().collect();
            events.sort_by(|a, b| (a.seq, &a.key).cmp(&(b.seq, &b.key)));
            for event in events {
                self.line(&Line::Event(in_chain(id, event)))?;
            }
            for event in waiting {
                self.line(&Line::Waiting(in_chain(id, event)))?;
            }
            for stray in strays {
                self.line(&Line::Stray(in_chain(id, stray)))?;
            }
            if let Some(head) = head {
                self.line(&Line::Head(head.clone()))?;
            }
        }
        for head in record.later.values() {
            self.line(&Line::Later(head.clone()))?;
        }
        Ok(())
    }

    /// Writes the last line, and returns it.
    pub fn end(mut self) -> io::Result<End> {
        let digest = hex::encode(self.digest.clone().finalize());
        let end = End { lines: self.lines, digest };
        self.line(&Line::End(end.clone()))?;
        self.out.flush()?;
        Ok(end)
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_string(line).map_err(io::Error::other)?;
        text.push('\n');
        self.digest.update(&text);
        self.lines += 1;
        self.out.write_all(text.as_bytes())
    }
}

fn in_chain<T: Clone>(id: &ChainId, is: &T) -> InChain<T> {
    InChain { account: id.account.clone(), day: id.day, is: is.clone() }
}

/// A parsed export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    pub scope: ExportScope,
    pub accounts: BTreeMap<String, AccountRecord>,
    /// Unreadable, missing or inserted lines.
    pub faults: Vec<Fault>,
}

impl Export {
    /// `Err` if the text is not an export, or of a newer format.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.split_inclusive('\n');
        let first = lines.next().unwrap_or_default();
        let none = "the first line is not that of an export";
        let Ok(Line::Export(scope)) = serde_json::from_str(first) else {
            return Err(none.to_owned());
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
        let (mut above, mut end) = (1, None);
        for (number, text) in (2_u64..).zip(lines) {
            let line = serde_json::from_str::<Line>(text);
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
                Ok(Line::End(line)) => {
                    end = Some((line, hex::encode(digest.clone().finalize()), above));
                }
                Ok(Line::Export(_)) => {
                    export
                        .fault(FaultKind::Inserted, format!("line {number} begins another export"));
                }
                Ok(line) => export.add(line),
            }
            digest.update(text);
            above += 1;
        }
        match end {
            None => {
                export.fault(FaultKind::Cut, "the export has no end: lines are missing".to_owned());
            }
            Some((end, digest, lines)) if end.digest != digest || end.lines != lines => {
                let message = format!(
                    "the export has {lines} lines, which are not the {} lines that were written",
                    end.lines
                );
                export.fault(FaultKind::Changed, message);
            }
            Some(_) => {}
        }
        Ok(export)
    }

    fn fault(&mut self, wrong: FaultKind, message: String) {
        self.faults.push(Fault::of(wrong, "export", message));
    }

    fn record(&mut self, account: &str) -> &mut AccountRecord {
        self.accounts.entry(account.to_owned()).or_insert_with(|| AccountRecord::new(account))
    }

    fn chain(&mut self, account: &str, day: Date) -> &mut Chain {
        let id = ChainId { account: account.to_owned(), day };
        self.record(account).chains.entry(day).or_insert_with(|| Chain::new(id))
    }

    fn add(&mut self, line: Line) {
        match line {
            Line::Account(item) => {
                let account = item.account.clone();
                let before = self.record(&account).item.replace(item);
                if before.is_some() {
                    self.twice(&format!("the item of account {account}"));
                }
            }
            Line::Head(head) => {
                let id = head.id();
                let before = self.chain(&id.account, id.day).head.replace(head);
                if before.is_some() {
                    self.twice(&format!("the head of {id}"));
                }
            }
            Line::Later(head) => {
                let id = head.id();
                let before = self.record(&id.account).later.insert(id.day, head);
                if before.is_some() {
                    self.twice(&format!("the head of {id}"));
                }
            }
            Line::Event(InChain { account, day, is }) => self.chain(&account, day).events.push(is),
            Line::Waiting(InChain { account, day, is }) => {
                self.chain(&account, day).waiting.push(is);
            }
            Line::Stray(InChain { account, day, is }) => self.chain(&account, day).strays.push(is),
            // Handled by `parse`.
            Line::Export(_) | Line::End(_) => {}
        }
    }

    fn twice(&mut self, what: &str) {
        self.fault(FaultKind::Duplicated, format!("{what} appears twice"));
    }

    /// All faults in the export itself.
    pub fn verify(&self) -> Vec<Fault> {
        let mut faults = self.faults.clone();
        for record in self.accounts.values() {
            faults.extend(record.verify(self.scope.range(), self.scope.at));
        }
        faults
    }

    /// Compares an account's present chains with this export: they may have been rewritten or
    /// shortened since and still be consistent.
    pub fn against(&self, present: &AccountRecord, range: Range) -> Vec<Fault> {
        let Some(record) = self.accounts.get(&present.account) else { return Vec::new() };
        let chains = record.chains.values().filter(|chain| range.has(chain.id.day));
        chains.flat_map(|was| differences(was, present.chains.get(&was.id.day))).collect()
    }
}

fn differences(was: &Chain, is: Option<&Chain>) -> Vec<Fault> {
    let id = &was.id;
    let Some(is) = is else {
        let message =
            format!("the export has {} events of {id}, which are missing now", was.events.len());
        return vec![Fault::in_chain(FaultKind::Cut, id, message)];
    };
    let mut faults = Vec::new();
    let present: BTreeMap<u64, &Chained> = is.events.iter().map(|it| (it.seq, it)).collect();
    let mut events: Vec<&Chained> = was.events.iter().collect();
    events.sort_by_key(|event| event.seq);
    for event in events {
        let (wrong, message) = match present.get(&event.seq) {
            None => (FaultKind::Cut, format!("event {} of the export is missing now", event.seq)),
            Some(is) if *is != event => {
                (FaultKind::Rewritten, format!("event {} differs from the export", event.seq))
            }
            Some(_) => continue,
        };
        faults.push(Fault::in_chain(wrong, id, message).at(event.seq, &event.key));
    }
    for event in &was.waiting {
        let waiting = is.waiting.iter().map(|it| (&it.key, &it.body));
        let chained = is.events.iter().map(|it| (&it.key, &it.body));
        let there = waiting.chain(chained).find(|(key, _)| **key == event.key);
        let (wrong, message) = match there {
            None => (FaultKind::Cut, "an event that was not chained in the export is missing now"),
            Some((_, body)) if *body != event.body => (
                FaultKind::Rewritten,
                "an event that was not chained in the export was changed since",
            ),
            Some(_) => continue,
        };
        let fault = Fault::in_chain(wrong, id, message);
        faults.push(Fault { key: Some(event.key.clone()), ..fault });
    }
    faults
}
