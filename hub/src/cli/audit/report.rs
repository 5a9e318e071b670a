//! What `firebreak audit verify` found, as text or JSON.

use std::collections::BTreeMap;
use std::io::Write;

use jiff::civil::Date;
use serde_json::json;

use super::super::{Failure, Output};
use crate::audit::account::{AccountRecord, Range};
use crate::audit::verify::Fault;

/// What was looked at, and what was found.
#[derive(Debug)]
pub struct Report {
    range: Range,
    accounts: usize,
    chains: BTreeMap<(String, Date), Looked>,
    links_before: usize,
    /// How many responses' records were compared.
    pub responses: usize,
    /// Everything that is wrong.
    pub faults: Vec<Fault>,
}

/// How much of a chain there is.
#[derive(Clone, Copy, Debug, Default)]
struct Looked {
    events: usize,
    waiting: usize,
}

impl Report {
    pub(super) fn new(range: Range) -> Self {
        let (chains, faults) = (BTreeMap::new(), Vec::new());
        Self { range, accounts: 0, chains, links_before: 0, responses: 0, faults }
    }

    /// Counts what is there of an account.
    pub(super) fn looked_at(&mut self, record: &AccountRecord) {
        self.accounts += 1;
        self.links_before += record.links_beyond(self.range);
        for (day, chain) in &record.chains {
            let looked = Looked { events: chain.events.len(), waiting: chain.waiting.len() };
            self.chains.insert((record.account.clone(), *day), looked);
        }
    }

    /// How many events are in chains, and how many wait.
    pub fn events(&self) -> (usize, usize) {
        let looked = self.chains.values();
        looked.fold((0, 0), |(events, waiting), it| (events + it.events, waiting + it.waiting))
    }

    /// Writes it; `Err` when there is a fault.
    pub(super) fn write(&self, output: Output) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        match output {
            Output::Json => self.json(&mut out)?,
            Output::Text => self.text(&mut out)?,
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Failure::No) }
    }

    fn json(&self, out: &mut impl Write) -> Result<(), std::io::Error> {
        let chains: Vec<_> = self
            .chains
            .iter()
            .map(|((account, day), Looked { events, waiting })| {
                json!({ "account": account, "day": day, "events": events, "waiting": waiting })
            })
            .collect();
        let report = json!({
            "since": self.range.since, "until": self.range.until, "chains": chains,
            "responses": self.responses, "links_before": self.links_before,
            "faults": self.faults,
        });
        writeln!(out, "{report:#}")
    }

    fn text(&self, out: &mut impl Write) -> Result<(), std::io::Error> {
        let mut places: BTreeMap<(&str, Option<Date>), Vec<&Fault>> = BTreeMap::new();
        for fault in &self.faults {
            places.entry((&fault.account, fault.day)).or_default().push(fault);
        }
        for ((account, day), faults) in places {
            match day {
                Some(day) => {
                    let key = (account.to_owned(), day);
                    let events = self.chains.get(&key).copied().unwrap_or_default().events;
                    writeln!(out, "{account} {day}, {events} events in the chain:")?;
                }
                None => writeln!(out, "{account}:")?,
            }
            for fault in faults {
                writeln!(out, "  {fault}")?;
            }
        }
        let Range { since, until } = self.range;
        let (events, waiting) = self.events();
        writeln!(
            out,
            "{since} to {until}: {} accounts, {} chains, {events} events, {waiting} not chained \
             yet, {} responses",
            self.accounts,
            self.chains.len(),
            self.responses,
        )?;
        if self.links_before > 0 {
            let links = self.links_before;
            writeln!(out, "{links} links lead to days before {since}, which were not looked at")?;
        }
        match self.faults.len() {
            0 => writeln!(out, "no fault was found"),
            1 => writeln!(out, "1 fault was found"),
            faults => writeln!(out, "{faults} faults were found"),
        }
    }
}
