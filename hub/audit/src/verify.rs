//! Detects tampering with a chain: changed, missing, reordered, inserted and duplicated
//! events, and a head that does not match. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::chain::{Chain, ChainId, Chained, Head, day_of};
use firebreak_response::audit_event::{AuditEvent, FORMAT};
use firebreak_response::record::ResponseId;

/// How long an event may be unchained: the sweep runs each minute.
const MAX_UNCHAINED: SignedDuration = SignedDuration::from_mins(10);

/// Search window (events) when locating a reordered event.
const SEARCH_WINDOW: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// An event or its link was changed.
    Changed,
    Missing,
    /// An event was moved to another position.
    Moved,
    /// An event was inserted.
    Inserted,
    /// Two events at one position, or one event twice.
    Duplicated,
    /// An event does not follow the one before it.
    Broken,
    /// The chain's end does not match its head.
    HeadDiffers,
    NoHead,
    /// A later chain or the account's item refers to something missing.
    NoChain,
    /// A chain does not match a link in a later chain or in the account's item.
    LinkDiffers,
    /// Nothing refers to a chain's end.
    Unlinked,
    /// The account has chains but no item.
    NoAccount,
    /// An event is unchained for too long.
    Unchained,
    /// An event of another account or day.
    Misplaced,
    Unreadable,
    /// A response's record differs from the recorded one.
    RecordChanged,
    RecordMissing,
    /// A response's record is older than the recorded one.
    RecordBehind,
    /// A response's record is in a state that was not recorded.
    RecordAhead,
    /// A response without audit events.
    Unrecorded,
    /// Something in an export is missing now.
    Cut,
    /// Something in an export was changed since.
    Rewritten,
}

impl FaultKind {
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

/// One fault, and its exact place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub fault: FaultKind,
    pub account: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<Date>,
    /// The number of the event in the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<ResponseId>,
    pub message: String,
}

impl Fault {
    /// A fault of a whole account.
    pub fn of(fault: FaultKind, account: &str, message: impl Into<String>) -> Self {
        let account = account.to_owned();
        Self {
            fault,
            account,
            day: None,
            seq: None,
            key: None,
            response: None,
            message: message.into(),
        }
    }

    /// A fault of a chain.
    pub fn in_chain(fault: FaultKind, id: &ChainId, message: impl Into<String>) -> Self {
        Self { day: Some(id.day), ..Self::of(fault, &id.account, message) }
    }

    #[must_use]
    pub fn at(self, seq: u64, key: &str) -> Self {
        Self { seq: Some(seq), key: Some(key.to_owned()), ..self }
    }

    #[must_use]
    pub fn about(self, response: Option<ResponseId>) -> Self {
        Self { response, ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.fault.name(), self.message)?;
        if let Some(key) = &self.key {
            write!(formatter, " (key {key})")?;
        }
        match &self.response {
            Some(response) if !self.message.contains(response.as_str()) => {
                write!(formatter, " (response {response})")
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// All faults in one chain.
pub fn verify(chain: &Chain, now: Timestamp) -> Vec<Fault> {
    let view = ChainView::of(chain);
    let mut faults = view.changed();
    faults.extend(view.duplicates());
    faults.extend(view.order());
    faults.extend(view.head());
    faults.extend(contents(chain, &view.changed, now));
    faults.sort_by_key(|fault| (fault.seq, fault.fault));
    faults
}

/// A chain, indexed by position, and its changed events.
struct ChainView<'a> {
    chain: &'a Chain,
    /// The events at each position.
    positions: BTreeMap<u64, Vec<&'a Chained>>,
    /// The events whose hash does not match.
    changed: BTreeSet<(u64, &'a str)>,
}

impl<'a> ChainView<'a> {
    fn of(chain: &'a Chain) -> Self {
        let mut view = Self { chain, positions: BTreeMap::new(), changed: BTreeSet::new() };
        for event in &chain.events {
            let hash = chain.id.hash(&event.previous, event.seq, &event.key, &event.body);
            if hash != event.hash {
                view.changed.insert((event.seq, event.key.as_str()));
            }
            view.positions.entry(event.seq).or_default().push(event);
        }
        view
    }

    fn fault(&self, kind: FaultKind, event: &Chained, message: String) -> Fault {
        let response = parse_event(&event.body).ok().and_then(|event| event.response);
        Fault::in_chain(kind, &self.chain.id, message).at(event.seq, &event.key).about(response)
    }

    /// Whether an event links to the one before it.
    fn follows(&self, event: &Chained) -> bool {
        match event.seq.checked_sub(1) {
            None => false,
            Some(0) => self
                .chain
                .head
                .as_ref()
                .is_none_or(|head| self.chain.id.origin(&head.before) == event.previous),
            // A missing or changed event before it is reported there.
            Some(before) => self.positions.get(&before).is_none_or(|events| {
                events.iter().any(|it| self.is_changed(it) || it.hash == event.previous)
            }),
        }
    }

    /// Whether the next event, or the head, links to an event.
    fn is_followed(&self, event: &Chained) -> bool {
        if let Some(head) = &self.chain.head
            && head.seq == event.seq
        {
            return event.hash == head.hash;
        }
        let after = self.positions.get(&event.seq.saturating_add(1));
        after.is_some_and(|events| events.iter().any(|it| it.previous == event.hash))
    }

    fn is_changed(&self, event: &Chained) -> bool {
        self.changed.contains(&(event.seq, event.key.as_str()))
    }

    /// The one event at a position that its neighbours link to.
    fn fitting(&self, events: &[&'a Chained]) -> Option<&'a Chained> {
        let mut fitting = events
            .iter()
            .filter(|it| !self.is_changed(it) && self.follows(it) && self.is_followed(it));
        let first = fitting.next()?;
        fitting.next().is_none().then_some(*first)
    }

    /// The empty positions up to the head's, as ranges.
    fn gaps(&self) -> Vec<(u64, u64)> {
        let (mut gaps, mut next) = (Vec::new(), 1);
        let end = self.chain.head.as_ref().map_or(0, |head| head.seq);
        for seq in self.positions.keys().copied() {
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

    /// Events whose hash does not match; where it matches another position, the event was
    /// moved.
    fn changed(&self) -> Vec<Fault> {
        let mut positions: Vec<u64> =
            self.changed.iter().map(|(seq, _)| *seq).take(SEARCH_WINDOW).collect();
        for (from, to) in self.gaps() {
            positions.extend((from..=to).take(SEARCH_WINDOW.saturating_sub(positions.len())));
        }
        let wrong = self.chain.events.iter().filter(|event| self.is_changed(event));
        wrong
            .map(|event| {
                let Chained { seq, previous, key, body, hash } = event;
                let from = positions
                    .iter()
                    .find(|from| self.chain.id.hash(previous, **from, key, body) == *hash);
                if let Some(from) = from {
                    let message = format!("event {seq} was chained as event {from}");
                    return self.fault(FaultKind::Moved, event, message);
                }
                let message = format!("event {seq} was changed after it was chained");
                self.fault(FaultKind::Changed, event, message)
            })
            .collect()
    }

    /// Positions with several events, and events at several positions.
    fn duplicates(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
        for (seq, events) in &self.positions {
            let fitting = self.fitting(events);
            let distinct: BTreeSet<&str> = events.iter().map(|it| it.key.as_str()).collect();
            for event in events {
                if let Some(first) = seen.insert(&event.key, *seq) {
                    let message = format!("event {seq} appears twice: it is also event {first}");
                    faults.push(self.fault(FaultKind::Duplicated, event, message));
                } else if *seq == 0 {
                    let message = "event 0 was inserted: events count from 1".to_owned();
                    faults.push(self.fault(FaultKind::Inserted, event, message));
                } else if distinct.len() > 1 && fitting.is_none() {
                    let message = format!("{} events have the number {seq}", distinct.len());
                    faults.push(self.fault(FaultKind::Duplicated, event, message));
                } else if let Some(fitting) = fitting
                    && fitting.key != event.key
                {
                    let key = &fitting.key;
                    let message =
                        format!("an event was inserted as event {seq}, where {key} was chained");
                    faults.push(self.fault(FaultKind::Inserted, event, message));
                }
            }
        }
        faults
    }

    /// Gaps, and events that do not link to the one before.
    fn order(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (from, to) in self.gaps() {
            let message = if from == to {
                format!("event {from} is missing")
            } else {
                format!("events {from} to {to} are missing")
            };
            let fault = Fault::in_chain(FaultKind::Missing, &self.chain.id, message);
            faults.push(Fault { seq: Some(from), ..fault });
        }
        for (seq, events) in &self.positions {
            // `duplicates` reports several events at one position.
            if let [event] = events.as_slice()
                && *seq > 0
                && !self.is_changed(event)
                && !self.follows(event)
            {
                let message = if *seq == 1 {
                    "event 1 does not link to the origin of this chain".to_owned()
                } else {
                    format!("event {seq} does not link to event {}", seq - 1)
                };
                faults.push(self.fault(FaultKind::Broken, event, message));
            }
        }
        faults
    }

    /// Compares the head with the events.
    fn head(&self) -> Vec<Fault> {
        let id = &self.chain.id;
        let last = self.positions.keys().next_back().copied();
        let Some(head) = &self.chain.head else {
            let message = match last {
                Some(last) => format!("the chain of {id}, with events up to {last}, has no head"),
                None => return Vec::new(),
            };
            return vec![Fault::in_chain(FaultKind::NoHead, id, message)];
        };
        let mut faults = Vec::new();
        for (seq, events) in &self.positions {
            for event in events.iter().filter(|_| *seq > head.seq) {
                let message = format!("event {seq} comes after the chain's end at {}", head.seq);
                faults.push(self.fault(FaultKind::Inserted, event, message));
            }
        }
        let ends = self.positions.get(&head.seq);
        let matches = ends.is_none_or(|events| {
            events.iter().any(|it| self.is_changed(it) || it.hash == head.hash)
        });
        if head.seq == 0 || !matches {
            let Head { seq, hash, .. } = head;
            let message =
                format!("the head has the hash {hash} for event {seq}, which has another");
            let fault = Fault::in_chain(FaultKind::HeadDiffers, id, message);
            faults.push(Fault { seq: Some(*seq), ..fault });
        }
        faults
    }
}

/// Parses an event of this format or an older one.
pub(super) fn parse_event(body: &str) -> Result<AuditEvent, String> {
    let event: AuditEvent = serde_json::from_str(body).map_err(|error| error.to_string())?;
    if event.format > FORMAT {
        return Err(format!("format {} is newer than the supported format {FORMAT}", event.format));
    }
    Ok(event)
}

/// Unreadable and misplaced events, and events that are unchained for too long.
fn contents(chain: &Chain, wrong: &BTreeSet<(u64, &str)>, now: Timestamp) -> Vec<Fault> {
    let id = &chain.id;
    let mut faults = Vec::new();
    for stray in &chain.strays {
        let message = format!("an item is not an event: {}", stray.why);
        let fault = Fault::in_chain(FaultKind::Unreadable, id, message);
        faults.push(Fault { key: Some(stray.key.clone()), ..fault });
    }
    let chained = chain
        .events
        .iter()
        .filter(|event| !wrong.contains(&(event.seq, event.key.as_str())))
        .map(|event| (Some(event.seq), &event.key, &event.body));
    let waiting = chain.waiting.iter().map(|event| (None, &event.key, &event.body));
    for (seq, key, body) in chained.chain(waiting) {
        let fault = |kind, message: String, response| Fault {
            seq,
            key: Some(key.clone()),
            response,
            ..Fault::in_chain(kind, id, message)
        };
        let event = match parse_event(body) {
            Ok(event) => event,
            Err(why) => {
                faults.push(fault(
                    FaultKind::Unreadable,
                    format!("an event cannot be read: {why}"),
                    None,
                ));
                continue;
            }
        };
        let its = ChainId { account: event.account.clone(), day: day_of(event.at) };
        if its != *id {
            let message = format!("an event of {its} is in the chain of {id}");
            faults.push(fault(FaultKind::Misplaced, message, event.response.clone()));
        }
        if seq.is_none() && now.duration_since(event.at) > MAX_UNCHAINED {
            let message = format!("an event of {} is not chained yet", event.at);
            faults.push(fault(FaultKind::Unchained, message, event.response));
        }
    }
    faults
}
