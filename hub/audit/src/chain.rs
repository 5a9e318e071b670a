//! The chain of one account's events of one day: each event carries the hash of
//! the one before. Pure: it never reads or writes a table.
//!
//! The first event of a day carries the hash of the chain's *origin*, which
//! covers the links to where the account's other chains ended at that moment.
//! So the chains of an account hang together: one that is cut, or not there, is
//! found by a later one, and the last one by the account's own item.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use firebreak_model::digest::sha256_hex;

/// What every hash begins with: another form of chain gets another name.
const FORM: &str = "firebreak-audit-1";

/// Which chain: an account, or `organization`, and a day (UTC).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChainId {
    /// Whose events.
    pub account: String,
    /// Of which day.
    pub day: Date,
}

impl fmt::Display for ChainId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.account, self.day)
    }
}

impl ChainId {
    /// The hash that the first event carries as the one before it.
    pub fn origin(&self, before: &[Link]) -> String {
        let links: String =
            before.iter().map(|Link { day, seq, hash }| format!("\n{day} {seq} {hash}")).collect();
        sha256_hex(&format!("{FORM}\n{}\n{}{links}", self.account, self.day))
    }

    /// The hash of an event at its place. The text comes last, so that none of
    /// it can pass for what is in front of it.
    pub fn hash(&self, previous: &str, seq: u64, key: &str, body: &str) -> String {
        let Self { account, day } = self;
        sha256_hex(&format!("{FORM}\n{previous}\n{seq}\n{account}\n{day}\n{key}\n{body}"))
    }
}

/// The day of a time, in UTC.
pub fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// How far a chain went at some moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The chain's day.
    pub day: Date,
    /// Its last event then.
    pub seq: u64,
    /// That event's hash.
    pub hash: String,
}

/// Where a chain began and where it ends now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Whose chain.
    pub account: String,
    /// Of which day.
    pub day: Date,
    /// The number of its last event; events count from 1.
    pub seq: u64,
    /// That event's hash.
    pub hash: String,
    /// Where the account's other chains ended when this one began.
    pub before: Vec<Link>,
}

impl Head {
    /// A chain without events yet.
    pub fn begin(id: &ChainId, before: Vec<Link>) -> Self {
        let hash = id.origin(&before);
        Self { account: id.account.clone(), day: id.day, seq: 0, hash, before }
    }

    /// Which chain it is of.
    pub fn id(&self) -> ChainId {
        ChainId { account: self.account.clone(), day: self.day }
    }

    /// Puts an event at the end.
    pub fn append(&mut self, key: &str, body: &str) -> Chained {
        let (seq, previous) = (self.seq + 1, self.hash.clone());
        let hash = self.id().hash(&previous, seq, key, body);
        self.seq = seq;
        self.hash.clone_from(&hash);
        Chained { seq, previous, hash, key: key.to_owned(), body: body.to_owned() }
    }

    /// A link to its end.
    pub fn link(&self) -> Link {
        Link { day: self.day, seq: self.seq, hash: self.hash.clone() }
    }
}

/// An event in its chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chained {
    /// Its number, from 1.
    pub seq: u64,
    /// The hash of the event before, or of the chain's origin.
    pub previous: String,
    /// Its own hash.
    pub hash: String,
    /// Under what it is kept.
    pub key: String,
    /// The event's exact JSON text.
    pub body: String,
}

/// An event that is not chained yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Under what it is kept.
    pub key: String,
    /// The event's exact JSON text.
    pub body: String,
}

/// What stands among the events and is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stray {
    /// Under what it is kept.
    pub key: String,
    /// Why it is no event.
    pub why: String,
}

/// The account's own item: what the next chain that begins will link to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountChains {
    /// Whose.
    pub account: String,
    /// Counts the writes.
    pub revision: u64,
    /// The ends of the chains that moved since the last one began, with it.
    pub tails: Vec<Link>,
}

impl AccountChains {
    /// An account that has no chain yet.
    pub fn new(account: &str) -> Self {
        Self { account: account.to_owned(), revision: 0, tails: Vec::new() }
    }

    /// Begins a chain, which takes over all ends.
    pub fn begin(&mut self, day: Date) -> Head {
        let id = ChainId { account: self.account.clone(), day };
        Head::begin(&id, std::mem::take(&mut self.tails))
    }

    /// Notes how far a chain goes now. An event may come late to a day when the
    /// next one has begun: then both ends are kept.
    pub fn note(&mut self, head: &Head) {
        self.tails.retain(|link| link.day != head.day);
        self.tails.push(head.link());
        self.tails.sort_by_key(|link| link.day);
        self.revision += 1;
    }
}

/// Everything that is kept of one account's events of one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Which.
    pub id: ChainId,
    /// Its end; `None` when there is none, or it cannot be read.
    pub head: Option<Head>,
    /// The events in it, in any order.
    pub events: Vec<Chained>,
    /// The events that are not in it yet.
    pub waiting: Vec<Waiting>,
    /// What is no event.
    pub strays: Vec<Stray>,
}

impl Chain {
    /// Nothing yet.
    pub fn new(id: ChainId) -> Self {
        let (events, waiting, strays) = (Vec::new(), Vec::new(), Vec::new());
        Self { id, head: None, events, waiting, strays }
    }
}
