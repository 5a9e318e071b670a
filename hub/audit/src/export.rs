//! An export of the record: JSON lines that verify without the table, and that
//! show later which part of the table was rewritten or cut since. Pure.

use std::collections::BTreeMap;
use std::io::{self, Write};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::account::{AccountRecord, Range};
use super::chain::{AccountChains, Chain, ChainId, Chained, Head, Stray, Waiting};
use super::verify::{Fault, Wrong};

/// The form of an export. A reader refuses a newer form than its own.
pub const FORMAT: u32 = 1;

/// What an export is of: its first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportScope {
    /// See [`FORMAT`].
    pub format: u32,
    /// When it was made.
    pub at: Timestamp,
    /// The first day.
    pub since: Date,
    /// The last day.
    pub until: Date,
    /// The one account; `None` is all.
    pub account: Option<String>,
}

impl ExportScope {
    /// The days.
    pub fn range(&self) -> Range {
        Range { since: self.since, until: self.until }
    }
}

/// Something of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Of<T> {
    /// Whose chain.
    pub account: String,
    /// Of which day.
    pub day: Date,
    /// What.
    pub is: T,
}

/// How an export ends: what was lost of it is noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How many lines are above.
    pub lines: u64,
    /// Their SHA-256, line ends included.
    pub digest: String,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// The first.
    Export(ExportScope),
    /// An account's own item.
    Account(AccountChains),
    /// The head of a chain of the days.
    Head(Head),
    /// The head of a later chain, for what it refers to.
    Later(Head),
    /// An event in its chain.
    Event(Of<Chained>),
    /// An event that is not chained yet.
    Waiting(Of<Waiting>),
    /// What is no event.
    Stray(Of<Stray>),
    /// The last.
    End(End),
}

/// Writes an export.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    lines: u64,
    digest: Sha256,
}

impl<W: Write> Writer<W> {
    /// Begins one.
    pub fn begin(out: W, scope: &ExportScope) -> io::Result<Self> {
        let mut writer = Self { out, lines: 0, digest: Sha256::new() };
        writer.line(&Line::Export(scope.clone()))?;
        Ok(writer)
    }

    /// All of an account.
    pub fn account(&mut self, record: &AccountRecord) -> io::Result<()> {
        if let Some(item) = &record.item {
            self.line(&Line::Account(item.clone()))?;
        }
        for Chain { id, head, events, waiting, strays } in record.chains.values() {
            let mut events: Vec<&Chained> = events.iter().collect();
            events.sort_by(|a, b| (a.seq, &a.key).cmp(&(b.seq, &b.key)));
            for event in events {
                self.line(&Line::Event(of(id, event)))?;
            }
            for event in waiting {
                self.line(&Line::Waiting(of(id, event)))?;
            }
            for stray in strays {
                self.line(&Line::Stray(of(id, stray)))?;
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

    /// Ends it, and gives its digest.
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

fn of<T: Clone>(id: &ChainId, is: &T) -> Of<T> {
    Of { account: id.account.clone(), day: id.day, is: is.clone() }
}

/// An export as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// What it is of.
    pub scope: ExportScope,
    /// What it has of each account.
    pub accounts: BTreeMap<String, AccountRecord>,
    /// Lines that cannot be read, and signs that some were lost.
    pub faults: Vec<Fault>,
}

impl Export {
    /// Reads one; `Err` when it is none, or of a newer form.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut lines = text.split_inclusive('\n');
        let first = lines.next().unwrap_or_default();
        let none = "its first line is not that of an export";
        let Ok(Line::Export(scope)) = serde_json::from_str(first) else {
            return Err(none.to_owned());
        };
        if scope.format > FORMAT {
            return Err(format!(
                "its format {} is newer than this version's {FORMAT}",
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
                export.fault(Wrong::Inserted, format!("line {number} stands behind the end"));
            }
            match line {
                Err(error) => {
                    export
                        .fault(Wrong::Unreadable, format!("line {number} cannot be read: {error}"));
                }
                Ok(Line::End(line)) => {
                    end = Some((line, hex::encode(digest.clone().finalize()), above));
                }
                Ok(Line::Export(_)) => {
                    export.fault(Wrong::Inserted, format!("line {number} begins another export"));
                }
                Ok(line) => export.add(line),
            }
            digest.update(text);
            above += 1;
        }
        match end {
            None => export.fault(Wrong::Cut, "the export has no end: lines are missing".to_owned()),
            Some((end, digest, lines)) if end.digest != digest || end.lines != lines => {
                let says = format!(
                    "the {lines} lines of the export are not the {} that were written",
                    end.lines
                );
                export.fault(Wrong::Changed, says);
            }
            Some(_) => {}
        }
        Ok(export)
    }

    fn fault(&mut self, wrong: Wrong, says: String) {
        self.faults.push(Fault::of(wrong, "export", says));
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
            Line::Event(Of { account, day, is }) => self.chain(&account, day).events.push(is),
            Line::Waiting(Of { account, day, is }) => self.chain(&account, day).waiting.push(is),
            Line::Stray(Of { account, day, is }) => self.chain(&account, day).strays.push(is),
            // Read where the lines are.
            Line::Export(_) | Line::End(_) => {}
        }
    }

    fn twice(&mut self, what: &str) {
        self.fault(Wrong::Duplicated, format!("{what} is there twice"));
    }

    /// Everything that is wrong with the export in itself.
    pub fn verify(&self) -> Vec<Fault> {
        let mut faults = self.faults.clone();
        for record in self.accounts.values() {
            faults.extend(record.verify(self.scope.range(), self.scope.at));
        }
        faults
    }

    /// What this export has of an account on these days, and `present` has not,
    /// or has otherwise: chains that were rewritten or cut since, although they
    /// are consistent in themselves.
    pub fn against(&self, present: &AccountRecord, range: Range) -> Vec<Fault> {
        let Some(record) = self.accounts.get(&present.account) else { return Vec::new() };
        let chains = record.chains.values().filter(|chain| range.has(chain.id.day));
        chains.flat_map(|was| differences(was, present.chains.get(&was.id.day))).collect()
    }
}

fn differences(was: &Chain, is: Option<&Chain>) -> Vec<Fault> {
    let id = &was.id;
    let Some(is) = is else {
        let says =
            format!("the export has {} events of {id}, and there are none", was.events.len());
        return vec![Fault::in_chain(Wrong::Cut, id, says)];
    };
    let mut faults = Vec::new();
    let present: BTreeMap<u64, &Chained> = is.events.iter().map(|it| (it.seq, it)).collect();
    let mut events: Vec<&Chained> = was.events.iter().collect();
    events.sort_by_key(|event| event.seq);
    for event in events {
        let (wrong, says) = match present.get(&event.seq) {
            None => (Wrong::Cut, format!("the export's event at {} is not there", event.seq)),
            Some(is) if *is != event => {
                (Wrong::Rewritten, format!("the event at {} is not the export's", event.seq))
            }
            Some(_) => continue,
        };
        faults.push(Fault::in_chain(wrong, id, says).at(event.seq, &event.key));
    }
    for event in &was.waiting {
        let waiting = is.waiting.iter().map(|it| (&it.key, &it.body));
        let chained = is.events.iter().map(|it| (&it.key, &it.body));
        let there = waiting.chain(chained).find(|(key, _)| **key == event.key);
        let (wrong, says) = match there {
            None => (Wrong::Cut, "an event that waited in the export is not there"),
            Some((_, body)) if *body != event.body => {
                (Wrong::Rewritten, "an event that waited in the export is another")
            }
            Some(_) => continue,
        };
        let fault = Fault::in_chain(wrong, id, says);
        faults.push(Fault { key: Some(event.key.clone()), ..fault });
    }
    faults
}
