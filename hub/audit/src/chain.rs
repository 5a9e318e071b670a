//! The chain of one account's events of one day: each event has the hash of the one
//! before. Pure.
//!
//! The first event of a day has the hash of the chain's *origin*, which covers links to
//! the ends of the account's other chains at that moment. So a later chain shows that a
//! chain was shortened or removed, and the account's item shows it for the last one.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use firebreak_model::digest::sha256_hex;

/// The prefix of every hash input; another format gets another name.
const FORM: &str = "firebreak-audit-1";

/// A chain: an account, or `organization`, and a day (UTC).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChainId {
    pub account: String,
    pub day: Date,
}

impl fmt::Display for ChainId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.account, self.day)
    }
}

impl ChainId {
    /// The hash that the first event has as its previous one.
    pub fn origin(&self, before: &[Link]) -> String {
        let links: String =
            before.iter().map(|Link { day, seq, hash }| format!("\n{day} {seq} {hash}")).collect();
        sha256_hex(format!("{FORM}\n{}\n{}{links}", self.account, self.day))
    }

    /// The hash of an event at its position. The text comes last, so that no part of it can
    /// be taken for another field.
    pub fn hash(&self, previous: &str, seq: u64, key: &str, body: &str) -> String {
        let Self { account, day } = self;
        sha256_hex(format!("{FORM}\n{previous}\n{seq}\n{account}\n{day}\n{key}\n{body}"))
    }
}

/// The day of a time, in UTC.
pub fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// The end of a chain at some moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub day: Date,
    /// The number of its last event then.
    pub seq: u64,
    pub hash: String,
}

/// The origin and the present end of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub account: String,
    pub day: Date,
    /// The number of its last event; events count from 1.
    pub seq: u64,
    pub hash: String,
    /// The ends of the account's other chains when this one began.
    pub before: Vec<Link>,
}

impl Head {
    /// A chain without events yet.
    pub fn begin(id: &ChainId, before: Vec<Link>) -> Self {
        let hash = id.origin(&before);
        Self { account: id.account.clone(), day: id.day, seq: 0, hash, before }
    }

    pub fn id(&self) -> ChainId {
        ChainId { account: self.account.clone(), day: self.day }
    }

    pub fn append(&mut self, key: &str, body: &str) -> Chained {
        let (seq, previous) = (self.seq + 1, self.hash.clone());
        let hash = self.id().hash(&previous, seq, key, body);
        self.seq = seq;
        self.hash.clone_from(&hash);
        Chained { seq, previous, hash, key: key.to_owned(), body: body.to_owned() }
    }

    pub fn link(&self) -> Link {
        Link { day: self.day, seq: self.seq, hash: self.hash.clone() }
    }
}

/// An event in its chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chained {
    /// From 1.
    pub seq: u64,
    /// The hash of the event before, or of the chain's origin.
    pub previous: String,
    pub hash: String,
    pub key: String,
    /// The event's exact JSON text.
    pub body: String,
}

/// An event that is not chained yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub key: String,
    /// The event's exact JSON text.
    pub body: String,
}

/// An item among the events that is not an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stray {
    pub key: String,
    /// Why it is not an event.
    pub why: String,
}

/// The account's item: the links for the next chain that begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountChains {
    pub account: String,
    /// Counts the writes.
    pub revision: u64,
    /// The ends of the chains that have grown since the last chain began.
    pub tails: Vec<Link>,
}

impl AccountChains {
    pub fn new(account: &str) -> Self {
        Self { account: account.to_owned(), revision: 0, tails: Vec::new() }
    }

    /// Begins a chain, which links to all ends.
    pub fn begin(&mut self, day: Date) -> Head {
        let id = ChainId { account: self.account.clone(), day };
        Head::begin(&id, std::mem::take(&mut self.tails))
    }

    /// Records the present end of a chain. An event may be late, after the next day's chain
    /// has begun: then both ends are kept.
    pub fn note(&mut self, head: &Head) {
        self.tails.retain(|link| link.day != head.day);
        self.tails.push(head.link());
        self.tails.sort_by_key(|link| link.day);
        self.revision += 1;
    }
}

/// One account's events of one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub id: ChainId,
    /// `None` if it is missing or unreadable.
    pub head: Option<Head>,
    /// In any order.
    pub events: Vec<Chained>,
    /// Events that are not chained yet.
    pub waiting: Vec<Waiting>,
    /// Items that are not events.
    pub strays: Vec<Stray>,
}

impl Chain {
    pub fn new(id: ChainId) -> Self {
        let (events, waiting, strays) = (Vec::new(), Vec::new(), Vec::new());
        Self { id, head: None, events, waiting, strays }
    }
}
