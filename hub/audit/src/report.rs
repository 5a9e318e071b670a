//! The result of a verification.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::account::{AccountRecord, Range};
use super::verify::Fault;

/// What was verified, and the faults.
#[derive(Debug)]
pub struct AuditReport {
    pub range: Range,
    pub accounts: usize,
    pub chains: BTreeMap<(String, Date), ChainCount>,
    /// Links to days before the range.
    pub links_before: usize,
    /// How many records of responses were compared.
    pub responses: usize,
    pub faults: Vec<Fault>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct ChainCount {
    pub events: usize,
    /// Events that are not chained yet.
    pub waiting: usize,
}

impl AuditReport {
    pub fn new(range: Range) -> Self {
        let (chains, faults) = (BTreeMap::new(), Vec::new());
        Self { range, accounts: 0, chains, links_before: 0, responses: 0, faults }
    }

    pub fn count(&mut self, record: &AccountRecord) {
        self.accounts += 1;
        self.links_before += record.links_beyond(self.range);
        for (day, chain) in &record.chains {
            let count = ChainCount { events: chain.events.len(), waiting: chain.waiting.len() };
            self.chains.insert((record.account.clone(), *day), count);
        }
    }

    /// How many events are in chains, and how many are not chained yet.
    pub fn events(&self) -> (usize, usize) {
        self.chains
            .values()
            .fold((0, 0), |(events, waiting), it| (events + it.events, waiting + it.waiting))
    }
}
