//! An account's chains together: what each refers to has to be there, and
//! something has to refer to each end. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

use super::chain::{AccountChains, Chain, ChainId, Head, Link};
use super::verify::{Fault, Wrong, verify};

/// The days that are looked at, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub since: Date,
    /// The last.
    pub until: Date,
}

impl Range {
    /// Whether a day is one of them.
    pub fn has(&self, day: Date) -> bool {
        self.since <= day && day <= self.until
    }
}

/// What is kept of an account's events, as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRecord {
    /// Whose.
    pub account: String,
    /// The account's own item.
    pub item: Option<AccountChains>,
    /// Its chains of the days that are looked at.
    pub chains: BTreeMap<Date, Chain>,
    /// The heads of later chains, which refer to those.
    pub later: BTreeMap<Date, Head>,
}

impl AccountRecord {
    /// Nothing yet.
    pub fn new(account: &str) -> Self {
        let (chains, later) = (BTreeMap::new(), BTreeMap::new());
        Self { account: account.to_owned(), item: None, chains, later }
    }

    /// Everything that is wrong with it, chain by chain and between them.
    pub fn verify(&self, range: Range, now: Timestamp) -> Vec<Fault> {
        let mut faults: Vec<Fault> =
            self.chains.values().flat_map(|chain| verify(chain, now)).collect();
        faults.extend(self.links_lead_somewhere(range));
        faults.extend(self.ends_are_referred_to(range.since));
        faults
    }

    /// How many links lead to days before those that are looked at.
    pub fn links_beyond(&self, range: Range) -> usize {
        self.links().filter(|(_, link)| link.day < range.since).count()
    }

    fn heads(&self) -> impl Iterator<Item = &Head> {
        self.chains.values().filter_map(|chain| chain.head.as_ref()).chain(self.later.values())
    }

    /// Every link, with who refers.
    fn links(&self) -> impl Iterator<Item = (Option<Date>, &Link)> {
        let of_item = self.item.iter().flat_map(|item| &item.tails).map(|link| (None, link));
        let of_heads =
            self.heads().flat_map(|head| head.before.iter().map(|link| (Some(head.day), link)));
        of_item.chain(of_heads)
    }

    fn links_lead_somewhere(&self, range: Range) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (from, link) in self.links().filter(|(_, link)| link.day >= range.since) {
            let id = ChainId { account: self.account.clone(), day: link.day };
            let who =
                from.map_or("the account's item".to_owned(), |day| format!("the chain of {day}"));
            let fault = |wrong, says: String| Fault {
                seq: Some(link.seq),
                ..Fault::in_chain(wrong, &id, says)
            };
            let gone = format!("{who} refers to the chain of {id}, which is not there");
            if range.has(link.day) {
                let Some(chain) = self.chains.get(&link.day).filter(|it| !it.events.is_empty())
                else {
                    faults.push(fault(Wrong::NoChain, gone));
                    continue;
                };
                let mut there =
                    chain.events.iter().filter(|event| event.seq == link.seq).peekable();
                if there.peek().is_none() {
                    let says =
                        format!("{who} refers to the event at {}, which is not there", link.seq);
                    faults.push(fault(Wrong::LinkDiffers, says));
                } else if !there.any(|event| event.hash == link.hash) {
                    let says = format!(
                        "{who} says that {} is the hash at {}: it is not",
                        link.hash, link.seq
                    );
                    faults.push(fault(Wrong::LinkDiffers, says));
                }
            } else {
                match self.later.get(&link.day) {
                    None => faults.push(fault(Wrong::NoChain, gone)),
                    Some(head) if head.seq < link.seq => {
                        let says = format!(
                            "{who} refers to the event at {}, and the head is at {}",
                            link.seq, head.seq
                        );
                        faults.push(fault(Wrong::LinkDiffers, says));
                    }
                    Some(_) => {}
                }
            }
        }
        faults
    }

    /// A chain's end stands in the account's item, or in the chain that began
    /// after it moved last. One that stands nowhere is one that the account's
    /// record was begun anew behind.
    fn ends_are_referred_to(&self, first: Date) -> Vec<Fault> {
        if self.item.is_none() {
            if self.heads().next().is_none() {
                return Vec::new();
            }
            let says = format!("account {} has chains and no item of its own", self.account);
            return vec![Fault::of(Wrong::NoAccount, &self.account, says)];
        }
        let mut ends: BTreeMap<Date, u64> = BTreeMap::new();
        for (_, link) in self.links() {
            let end = ends.entry(link.day).or_default();
            *end = (*end).max(link.seq);
        }
        // A chain whose head is not there may be the one that refers to the
        // others: that it is missing is reported already.
        let is_there = |day: &Date| {
            self.later.contains_key(day)
                || self.chains.get(day).is_some_and(|chain| chain.head.is_some())
        };
        let days = self.chains.keys().chain(ends.keys().filter(|day| **day >= first));
        if !days.into_iter().all(is_there) {
            return Vec::new();
        }
        let heads = self.chains.values().filter_map(|chain| chain.head.as_ref());
        heads
            .filter(|head| ends.get(&head.day).is_none_or(|end| *end < head.seq))
            .map(|head| {
                let says = format!(
                    "neither a later chain nor the account's item refers to the end of {} at {}",
                    head.id(),
                    head.seq
                );
                let fault = Fault::in_chain(Wrong::Unlinked, &head.id(), says);
                Fault { seq: Some(head.seq), ..fault }
            })
            .collect()
    }
}
