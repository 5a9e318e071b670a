//! What a verification looked at, and what it found.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::account::{AccountRecord, Range};
use super::verify::Fault;

/// What was looked at, and what was found.
#[derive(Debug)]
pub struct Report {
    pub range: Range,
    pub accounts: usize,
    pub chains: BTreeMap<(String, Date), Looked>,
    pub links_before: usize,
    /// How many responses' records were compared.
    pub responses: usize,
    /// Everything that is wrong.
    pub faults: Vec<Fault>,
}

/// How much of a chain there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looked {
    pub events: usize,
    pub waiting: usize,
}

impl Report {
    pub fn new(range: Range) -> Self {
        let (chains, faults) = (BTreeMap::new(), Vec::new());
        Self { range, accounts: 0, chains, links_before: 0, responses: 0, faults }
    }

    /// Counts what is there of an account.
    pub fn looked_at(&mut self, record: &AccountRecord) {
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
}
