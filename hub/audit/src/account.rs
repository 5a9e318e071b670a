//! An account's chains together: everything that a chain refers to must exist, and every
//! chain's end must be referred to. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

use super::chain::{AccountChains, Chain, ChainId, Head, Link};
use super::verify::{Fault, FaultKind, verify};

/// A range of days, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub since: Date,
    pub until: Date,
}

impl Range {
    pub fn has(&self, day: Date) -> bool {
        self.since <= day && day <= self.until
    }
}

/// An account's events at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRecord {
    pub account: String,
    /// The account's item.
    pub item: Option<AccountChains>,
    /// Its chains in the range.
    pub chains: BTreeMap<Date, Chain>,
    /// The heads of later chains, which refer to these.
    pub later: BTreeMap<Date, Head>,
}

impl AccountRecord {
    pub fn new(account: &str) -> Self {
        let (chains, later) = (BTreeMap::new(), BTreeMap::new());
        Self { account: account.to_owned(), item: None, chains, later }
    }

    /// All faults within the chains and between them.
    pub fn verify(&self, range: Range, now: Timestamp) -> Vec<Fault> {
        let mut faults: Vec<Fault> =
            self.chains.values().flat_map(|chain| verify(chain, now)).collect();
        faults.extend(self.broken_links(range));
        faults.extend(self.unreferenced_ends(range.since));
        faults
    }

    /// How many links lead to days before the range.
    pub fn links_beyond(&self, range: Range) -> usize {
        self.links().filter(|(_, link)| link.day < range.since).count()
    }

    fn heads(&self) -> impl Iterator<Item = &Head> {
        self.chains.values().filter_map(|chain| chain.head.as_ref()).chain(self.later.values())
    }

    /// Every link, with the day of the chain that has it; `None` for the account's item.
    fn links(&self) -> impl Iterator<Item = (Option<Date>, &Link)> {
        let of_item = self.item.iter().flat_map(|item| &item.tails).map(|link| (None, link));
        let of_heads =
            self.heads().flat_map(|head| head.before.iter().map(|link| (Some(head.day), link)));
        of_item.chain(of_heads)
    }

    fn broken_links(&self, range: Range) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (from, link) in self.links().filter(|(_, link)| link.day >= range.since) {
            let id = ChainId { account: self.account.clone(), day: link.day };
            let who =
                from.map_or("the account's item".to_owned(), |day| format!("the chain of {day}"));
            let fault = |kind, message: String| Fault {
                seq: Some(link.seq),
                ..Fault::in_chain(kind, &id, message)
            };
            let gone = format!("{who} refers to the chain of {id}, which is missing");
            if range.has(link.day) {
                let Some(chain) = self.chains.get(&link.day).filter(|it| !it.events.is_empty())
                else {
                    faults.push(fault(FaultKind::NoChain, gone));
                    continue;
                };
                let mut there =
                    chain.events.iter().filter(|event| event.seq == link.seq).peekable();
                if there.peek().is_none() {
                    let message = format!("{who} refers to event {}, which is missing", link.seq);
                    faults.push(fault(FaultKind::LinkDiffers, message));
                } else if !there.any(|event| event.hash == link.hash) {
                    let message = format!(
                        "{who} has the hash {} for event {}, which has another",
                        link.hash, link.seq
                    );
                    faults.push(fault(FaultKind::LinkDiffers, message));
                }
            } else {
                match self.later.get(&link.day) {
                    None => faults.push(fault(FaultKind::NoChain, gone)),
                    Some(head) if head.seq < link.seq => {
                        let message = format!(
                            "{who} refers to event {}, but the head is at {}",
                            link.seq, head.seq
                        );
                        faults.push(fault(FaultKind::LinkDiffers, message));
                    }
                    Some(_) => {}
                }
            }
        }
        faults
    }

    /// A chain's end must be in the account's item, or in the chain that began after the last
    /// event. Otherwise another writer started the account's log again after it.
    fn unreferenced_ends(&self, first: Date) -> Vec<Fault> {
        if self.item.is_none() {
            if self.heads().next().is_none() {
                return Vec::new();
            }
            let message = format!("account {} has chains but no item", self.account);
            return vec![Fault::of(FaultKind::NoAccount, &self.account, message)];
        }
        let mut ends: BTreeMap<Date, u64> = BTreeMap::new();
        for (_, link) in self.links() {
            let end = ends.entry(link.day).or_default();
            *end = (*end).max(link.seq);
        }
        // A chain without its head may be the one that refers to the others; the missing
        // head is reported already.
        let has_head = |day: &Date| {
            self.later.contains_key(day)
                || self.chains.get(day).is_some_and(|chain| chain.head.is_some())
        };
        let days = self.chains.keys().chain(ends.keys().filter(|day| **day >= first));
        if !days.into_iter().all(has_head) {
            return Vec::new();
        }
        let heads = self.chains.values().filter_map(|chain| chain.head.as_ref());
        heads
            .filter(|head| ends.get(&head.day).is_none_or(|end| *end < head.seq))
            .map(|head| {
                let message = format!(
                    "no later chain and no account item refers to the end of {} at event {}",
                    head.id(),
                    head.seq
                );
                let fault = Fault::in_chain(FaultKind::Unlinked, &head.id(), message);
                Fault { seq: Some(head.seq), ..fault }
            })
            .collect()
    }
}
