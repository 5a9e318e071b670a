//! Finds what was done to a chain: changed, missing, reordered, inserted,
//! duplicated events, and a head that does not fit. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::chain::{Chain, ChainId, Chained, Head, day_of};
use firebreak_response::audit_event::{AuditEvent, FORMAT};
use firebreak_response::record::ResponseId;

/// How long an event may wait for its chain: the sweep comes each minute.
const WAITS: SignedDuration = SignedDuration::from_mins(10);

/// Search window (events) when locating a reordered event.
const PLACES: usize = 300;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// An event, or what chains it, is not what was chained.
    Changed,
    /// Events are not there.
    Missing,
    /// An event stands at another place than where it was chained.
    Moved,
    /// An event was put in that was never chained there.
    Inserted,
    /// The same place twice, or the same event.
    Duplicated,
    /// An event does not follow the one before it.
    Broken,
    /// The chain's end is not what its head says.
    HeadDiffers,
    /// There are events and no head.
    NoHead,
    /// What a later chain or the account's item refers to is not there.
    NoChain,
    /// A chain is not what a later chain or the account's item refers to.
    LinkDiffers,
    /// Nothing refers to a chain's end.
    Unlinked,
    /// The account has chains and no item.
    NoAccount,
    /// An event waits for its chain for too long.
    Unchained,
    /// An event of another account or day.
    Misplaced,
    /// What cannot be read.
    Unreadable,
    /// A response's record is not the one that was recorded.
    RecordChanged,
    /// A response's record is not there.
    RecordMissing,
    /// A response's record is older than one that was recorded.
    RecordBehind,
    /// A response's record came to a state of which nothing was recorded.
    RecordAhead,
    /// A response of which nothing was recorded.
    Unrecorded,
    /// What an export has is not there any more.
    Cut,
    /// What an export has is another now.
    Rewritten,
}

impl Wrong {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Moved => "moved",
            Self::Inserted => "inserted",
            Self::Duplicated => "duplicated",
            Self::Broken => "broken",
            Self::HeadDiffers => "head-differs",
            Self::NoHead => "no-head",
            Self::NoChain => "no-chain",
            Self::LinkDiffers => "link-differs",
            Self::Unlinked => "unlinked",
            Self::NoAccount => "no-account",
            Self::Unchained => "unchained",
            Self::Misplaced => "misplaced",
            Self::Unreadable => "unreadable",
            Self::RecordChanged => "record-changed",
            Self::RecordMissing => "record-missing",
            Self::RecordBehind => "record-behind",
            Self::RecordAhead => "record-ahead",
            Self::Unrecorded => "unrecorded",
            Self::Cut => "cut",
            Self::Rewritten => "rewritten",
        }
    }
}

/// One thing that is wrong, and exactly where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What kind.
    pub fault: Wrong,
    /// In whose record.
    pub account: String,
    /// Of which day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<Date>,
    /// At which event of the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Under what the event is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Which response it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<ResponseId>,
    /// All of it, in a sentence.
    pub says: String,
}

impl Fault {
    /// A fault of a whole account.
    pub fn of(fault: Wrong, account: &str, says: impl Into<String>) -> Self {
        let account = account.to_owned();
        Self { fault, account, day: None, seq: None, key: None, response: None, says: says.into() }
    }

    /// A fault of a chain.
    pub fn in_chain(fault: Wrong, id: &ChainId, says: impl Into<String>) -> Self {
        Self { day: Some(id.day), ..Self::of(fault, &id.account, says) }
    }

    /// The same, at an event.
    #[must_use]
    pub fn at(self, seq: u64, key: &str) -> Self {
        Self { seq: Some(seq), key: Some(key.to_owned()), ..self }
    }

    /// The same, about a response.
    #[must_use]
    pub fn about(self, response: Option<ResponseId>) -> Self {
        Self { response, ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.fault.name(), self.says)?;
        if let Some(key) = &self.key {
            write!(formatter, " (key {key})")?;
        }
        match &self.response {
            Some(response) if !self.says.contains(response.as_str()) => {
                write!(formatter, " (response {response})")
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// What is wrong with a chain, in itself.
pub fn verify(chain: &Chain, now: Timestamp) -> Vec<Fault> {
    let look = Look::at(chain);
    let mut faults = look.changed();
    faults.extend(look.places());
    faults.extend(look.order());
    faults.extend(look.head());
    faults.extend(contents(chain, &look.wrong, now));
    faults.sort_by_key(|fault| (fault.seq, fault.fault));
    faults
}

/// A chain, and what was found out about its events.
struct Look<'a> {
    chain: &'a Chain,
    /// The events at each place.
    places: BTreeMap<u64, Vec<&'a Chained>>,
    /// The events whose hash is not that.
    wrong: BTreeSet<(u64, &'a str)>,
}

impl<'a> Look<'a> {
    fn at(chain: &'a Chain) -> Self {
        let mut look = Self { chain, places: BTreeMap::new(), wrong: BTreeSet::new() };
        for event in &chain.events {
            let hash = chain.id.hash(&event.previous, event.seq, &event.key, &event.body);
            if hash != event.hash {
                look.wrong.insert((event.seq, event.key.as_str()));
            }
            look.places.entry(event.seq).or_default().push(event);
        }
        look
    }

    fn fault(&self, wrong: Wrong, event: &Chained, says: String) -> Fault {
        let response = read(&event.body).ok().and_then(|event| event.response);
        Fault::in_chain(wrong, &self.chain.id, says).at(event.seq, &event.key).about(response)
    }

    /// Whether an event follows one at the place before.
    fn follows(&self, event: &Chained) -> bool {
        match event.seq.checked_sub(1) {
            None => false,
            Some(0) => self
                .chain
                .head
                .as_ref()
                .is_none_or(|head| self.chain.id.origin(&head.before) == event.previous),
            // What is missing or changed before it is reported once, there.
            Some(before) => self.places.get(&before).is_none_or(|events| {
                events.iter().any(|it| self.is_wrong(it) || it.hash == event.previous)
            }),
        }
    }

    /// Whether what comes after an event, or the head, is sure of it.
    fn is_followed(&self, event: &Chained) -> bool {
        if let Some(head) = &self.chain.head
            && head.seq == event.seq
        {
            return event.hash == head.hash;
        }
        let after = self.places.get(&event.seq.saturating_add(1));
        after.is_some_and(|events| events.iter().any(|it| it.previous == event.hash))
    }

    fn is_wrong(&self, event: &Chained) -> bool {
        self.wrong.contains(&(event.seq, event.key.as_str()))
    }

    /// The one event at a place that what is around it is sure of.
    fn fitting(&self, events: &[&'a Chained]) -> Option<&'a Chained> {
        let mut fitting = events
            .iter()
            .filter(|it| !self.is_wrong(it) && self.follows(it) && self.is_followed(it));
        let first = fitting.next()?;
        fitting.next().is_none().then_some(*first)
    }

    /// The places at which nothing stands, up to the head's, as ranges.
    fn gaps(&self) -> Vec<(u64, u64)> {
        let (mut gaps, mut next) = (Vec::new(), 1);
        let end = self.chain.head.as_ref().map_or(0, |head| head.seq);
        for seq in self.places.keys().copied() {
            if seq > next && (end == 0 || next <= end) {
                gaps.push((next, if end == 0 { seq - 1 } else { end.min(seq - 1) }));
            }
            next = next.max(seq.saturating_add(1));
        }
        if next <= end {
            gaps.push((next, end));
        }
        gaps
    }

    /// Events whose hash does not fit what they say; where the hash fits
    /// another place, it is said which.
    fn changed(&self) -> Vec<Fault> {
        let mut places: Vec<u64> = self.wrong.iter().map(|(seq, _)| *seq).take(PLACES).collect();
        for (from, to) in self.gaps() {
            places.extend((from..=to).take(PLACES.saturating_sub(places.len())));
        }
        let wrong = self.chain.events.iter().filter(|event| self.is_wrong(event));
        wrong
            .map(|event| {
                let Chained { seq, previous, key, body, hash } = event;
                let from = places
                    .iter()
                    .find(|from| self.chain.id.hash(previous, **from, key, body) == *hash);
                if let Some(from) = from {
                    let says = format!("the event at {seq} was chained at {from}");
                    return self.fault(Wrong::Moved, event, says);
                }
                let says = format!("the event at {seq} is not the one that was chained");
                self.fault(Wrong::Changed, event, says)
            })
            .collect()
    }

    /// Places with several events, and events that are there several times.
    fn places(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
        for (seq, events) in &self.places {
            let fitting = self.fitting(events);
            let distinct: BTreeSet<&str> = events.iter().map(|it| it.key.as_str()).collect();
            for event in events {
                if let Some(first) = seen.insert(&event.key, *seq) {
                    let says = format!("the event at {seq} is there twice: also at {first}");
                    faults.push(self.fault(Wrong::Duplicated, event, says));
                } else if *seq == 0 {
                    let says = "an event at 0 was never chained: events count from 1".to_owned();
                    faults.push(self.fault(Wrong::Inserted, event, says));
                } else if distinct.len() > 1 && fitting.is_none() {
                    let says = format!("{} events are at {seq}", distinct.len());
                    faults.push(self.fault(Wrong::Duplicated, event, says));
                } else if let Some(fitting) = fitting
                    && fitting.key != event.key
                {
                    let key = &fitting.key;
                    let says = format!("an event was put in at {seq}, where {key} was chained");
                    faults.push(self.fault(Wrong::Inserted, event, says));
                }
            }
        }
        faults
    }

    /// Gaps, and events that do not follow the one before.
    fn order(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (from, to) in self.gaps() {
            let says = if from == to {
                format!("the event at {from} is missing")
            } else {
                format!("the events from {from} to {to} are missing")
            };
            let fault = Fault::in_chain(Wrong::Missing, &self.chain.id, says);
            faults.push(Fault { seq: Some(from), ..fault });
        }
        for (seq, events) in &self.places {
            // Of several at one position, `places` shows which does not belong there.
            if let [event] = events.as_slice()
                && *seq > 0
                && !self.is_wrong(event)
                && !self.follows(event)
            {
                let says = if *seq == 1 {
                    "the event at 1 does not begin this chain".to_owned()
                } else {
                    format!("the event at {seq} does not follow the one at {}", seq - 1)
                };
                faults.push(self.fault(Wrong::Broken, event, says));
            }
        }
        faults
    }

    /// What the head says against what is there.
    fn head(&self) -> Vec<Fault> {
        let id = &self.chain.id;
        let last = self.places.keys().next_back().copied();
        let Some(head) = &self.chain.head else {
            let says = match last {
                Some(last) => format!("the chain of {id} with events up to {last} has no head"),
                None => return Vec::new(),
            };
            return vec![Fault::in_chain(Wrong::NoHead, id, says)];
        };
        let mut faults = Vec::new();
        for (seq, events) in &self.places {
            for event in events.iter().filter(|_| *seq > head.seq) {
                let says =
                    format!("an event at {seq} stands behind the chain's end at {}", head.seq);
                faults.push(self.fault(Wrong::Inserted, event, says));
            }
        }
        let ends = self.places.get(&head.seq);
        let fits = ends
            .is_none_or(|events| events.iter().any(|it| self.is_wrong(it) || it.hash == head.hash));
        if head.seq == 0 || !fits {
            let Head { seq, hash, .. } = head;
            let says = format!("the head says that {hash} is the hash at {seq}: it is not");
            let fault = Fault::in_chain(Wrong::HeadDiffers, id, says);
            faults.push(Fault { seq: Some(*seq), ..fault });
        }
        faults
    }
}

/// Reads an event of this form or an older one.
pub(super) fn read(body: &str) -> Result<AuditEvent, String> {
    let event: AuditEvent = serde_json::from_str(body).map_err(|error| error.to_string())?;
    if event.format > FORMAT {
        return Err(format!("its format {} is newer than this version's {FORMAT}", event.format));
    }
    Ok(event)
}

/// Whether what is there can be read, belongs there, and has not waited long.
fn contents(chain: &Chain, wrong: &BTreeSet<(u64, &str)>, now: Timestamp) -> Vec<Fault> {
    let id = &chain.id;
    let mut faults = Vec::new();
    for stray in &chain.strays {
        let says = format!("there is something that is no event: {}", stray.why);
        let fault = Fault::in_chain(Wrong::Unreadable, id, says);
        faults.push(Fault { key: Some(stray.key.clone()), ..fault });
    }
    let chained = chain
        .events
        .iter()
        .filter(|event| !wrong.contains(&(event.seq, event.key.as_str())))
        .map(|event| (Some(event.seq), &event.key, &event.body));
    let waiting = chain.waiting.iter().map(|event| (None, &event.key, &event.body));
    for (seq, key, body) in chained.chain(waiting) {
        let fault = |wrong, says: String, response| Fault {
            seq,
            key: Some(key.clone()),
            response,
            ..Fault::in_chain(wrong, id, says)
        };
        let event = match read(body) {
            Ok(event) => event,
            Err(why) => {
                faults.push(fault(
                    Wrong::Unreadable,
                    format!("an event cannot be read: {why}"),
                    None,
                ));
                continue;
            }
        };
        let its = ChainId { account: event.account.clone(), day: day_of(event.at) };
        if its != *id {
            let says = format!("an event of {its} stands in the chain of {id}");
            faults.push(fault(Wrong::Misplaced, says, event.response.clone()));
        }
        if seq.is_none() && now.duration_since(event.at) > WAITS {
            let says = format!("an event of {} is not chained yet", event.at);
            faults.push(fault(Wrong::Unchained, says, event.response));
        }
    }
    faults
}
