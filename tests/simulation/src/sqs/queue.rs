//! One queue: which message is handed out next, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::model::{Address, Counts, Message};

/// Where a queue moves what was received too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    /// The dead-letter queue.
    pub dead_letter: Address,
    /// How often a message may be received before it is moved.
    pub max_receive_count: u32,
}

/// Who a message belongs to: its `MessageGroupId`, or nobody else's (SQS
/// developer guide, "How fair queues work": without one, its own tenant).
type Tenant = (Option<String>, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    Visible,
    Delayed(Timestamp),
    InFlight(Timestamp),
}

/// A message and what the queue knows of it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) id: String,
    pub(super) body: String,
    pub(super) group: Option<String>,
    pub(super) attributes: Value,
    pub(super) sent: Timestamp,
    pub(super) first_received: Option<Timestamp>,
    pub(super) receive_count: u32,
    /// The queue that it was moved from, of a dead letter.
    pub(super) from: Option<Address>,
    pub(super) whereabouts: Whereabouts,
}

impl Held {
    pub(super) fn new(id: String, body: String, sent: Timestamp) -> Self {
        Self {
            id,
            body,
            group: None,
            attributes: Value::Null,
            sent,
            first_received: None,
            receive_count: 0,
            from: None,
            whereabouts: Whereabouts::Visible,
        }
    }

    pub(super) fn rendered(&self, number: u64) -> Message {
        Message {
            id: self.id.clone(),
            body: self.body.clone(),
            receipt: receipt(number, self.receive_count),
            receive_count: self.receive_count,
            group: self.group.clone(),
            sent: self.sent,
            first_received: self.first_received,
            attributes: self.attributes.clone(),
        }
    }
}

/// Whose message is next. AWS promises no order on a standard queue, so a test may
/// choose one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The oldest message of a tenant that is not noisy.
    #[default]
    Oldest,
    /// The tenant with the fewest messages in flight; among several, whose turn it is.
    /// For messages that are all sent at one moment, where none is the oldest.
    InTurn,
}

#[derive(Clone, Debug, Default)]
struct Group {
    visible: BTreeSet<u64>,
    in_flight: usize,
    /// Where it stands among tenants with as many messages in flight.
    place: u64,
}

/// A standard queue.
#[derive(Clone, Debug)]
pub struct Queue {
    /// `VisibilityTimeout`.
    pub visibility: SignedDuration,
    /// `DelaySeconds`.
    pub delay: SignedDuration,
    /// `RedrivePolicy`.
    pub redrive: Option<Redrive>,
    /// `MaximumMessageSize`, in bytes.
    pub max_bytes: usize,
    /// `Policy`.
    pub policy: Option<Value>,
    /// The ARNs of the queues that may have it as their dead-letter queue, where
    /// `RedriveAllowPolicy` says so; without one all may.
    pub redrive_allowed: Option<Vec<String>>,
    /// From how many of its own messages in flight a tenant can be noisy: AWS's
    /// 30. A test with few messages may set less.
    pub noisy_from: usize,
    /// Whose message is next: set before the first is sent.
    pub order: Order,
    created: Timestamp,
    messages: BTreeMap<u64, Held>,
    groups: BTreeMap<Tenant, Group>,
    /// Tenants with visible messages and few in flight, by their place.
    quiet: BTreeSet<(u64, Tenant)>,
    /// The others, by how many are in flight and their place.
    busy: BTreeSet<(usize, u64, Tenant)>,
    /// How many turns were taken, where tenants are taken in turn.
    turns: u64,
    /// What becomes visible by itself, and when.
    waiting: BTreeSet<(Timestamp, u64)>,
    visible: usize,
    in_flight: usize,
}

/// The next message, or one that was received too often.
pub(super) enum Next {
    Message(Message),
    TooOften(Held),
}

impl Queue {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            visibility: SignedDuration::from_secs(30),
            delay: SignedDuration::ZERO,
            redrive: None,
            max_bytes: super::model::MESSAGE_BYTES,
            policy: None,
            redrive_allowed: None,
            noisy_from: 30,
            order: Order::Oldest,
            created: now,
            messages: BTreeMap::new(),
            groups: BTreeMap::new(),
            quiet: BTreeSet::new(),
            busy: BTreeSet::new(),
            turns: 0,
            waiting: BTreeSet::new(),
            visible: 0,
            in_flight: 0,
        }
    }

    /// When it was made.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// Whether its attributes are another's.
    pub(super) fn is_set_as(&self, other: &Self) -> bool {
        let set =
            |queue: &Self| (queue.visibility, queue.delay, queue.max_bytes, queue.redrive.clone());
        set(self) == set(other)
    }

    pub(super) fn put(
        &mut self,
        number: u64,
        mut held: Held,
        delay: SignedDuration,
        now: Timestamp,
    ) {
        let tenant = tenant(number, &held);
        if delay.is_positive() {
            held.whereabouts = Whereabouts::Delayed(now + delay);
            self.waiting.insert((now + delay, number));
        } else {
            held.whereabouts = Whereabouts::Visible;
            self.change(&tenant, |group| {
                group.visible.insert(number);
            });
        }
        self.messages.insert(number, held);
    }

    /// Takes the next message, and hides it until the visibility timeout is over.
    /// One that was received `limit` times is taken out instead.
    pub(super) fn next(
        &mut self,
        visibility: SignedDuration,
        limit: Option<u32>,
        now: Timestamp,
    ) -> Option<Next> {
        self.wake(now);
        let number = self.choose()?;
        let held = self.messages.get_mut(&number)?;
        if limit.is_some_and(|limit| held.receive_count >= limit) {
            return self.remove(number).map(Next::TooOften);
        }
        held.receive_count += 1;
        held.first_received.get_or_insert(now);
        let rendered = held.rendered(number);
        self.hide(number, visibility, now);
        Some(Next::Message(rendered))
    }

    /// The oldest message of a quiet tenant; where there is none, one of the
    /// noisy tenant with the fewest in flight. Noisy is who has more than a
    /// tenth of all messages in flight, and at least 30 (SQS developer guide,
    /// "How fair queues work"; the share of processing time is not modelled).
    fn choose(&self) -> Option<u64> {
        let fewest = || self.busy.first().map(|(_, place, tenant)| (*place, tenant));
        let (_, tenant) = match self.order {
            Order::Oldest => {
                let quiet = self.quiet.first().map(|(place, tenant)| (*place, tenant));
                let modest = self.busy.iter().take_while(|(own, _, _)| own * 10 <= self.in_flight);
                let modest = modest.map(|(_, place, tenant)| (*place, tenant)).min();
                quiet.into_iter().chain(modest).min().or_else(fewest)?
            }
            Order::InTurn => fewest()?,
        };
        self.groups.get(tenant)?.visible.first().copied()
    }

    /// What a receipt names, if it is of the message's last receipt and the
    /// message is in flight still.
    fn is_in_flight(&self, number: u64, count: u32) -> bool {
        self.messages.get(&number).is_some_and(|held| {
            held.receive_count == count && matches!(held.whereabouts, Whereabouts::InFlight(_))
        })
    }

    /// Deletes a message. A receipt that is not the last one deletes nothing,
    /// which is no error (SQS API reference, DeleteMessage).
    pub(super) fn delete(&mut self, number: u64, count: u32) {
        let last = self.messages.get(&number).is_some_and(|held| held.receive_count == count);
        if last {
            self.remove(number);
        }
    }

    /// Hides a message in flight for another while; false for one that is not.
    pub(super) fn rehide(
        &mut self,
        number: u64,
        count: u32,
        visibility: SignedDuration,
        now: Timestamp,
    ) -> bool {
        self.wake(now);
        if !self.is_in_flight(number, count) {
            return false;
        }
        self.hide(number, visibility, now);
        self.wake(now);
        true
    }

    pub(super) fn counts(&mut self, now: Timestamp) -> Counts {
        self.wake(now);
        let Self { visible, in_flight, .. } = *self;
        Counts { visible, in_flight, delayed: self.messages.len() - visible - in_flight }
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = Message> {
        self.messages.iter().map(|(number, held)| held.rendered(*number))
    }

    /// Takes every visible message out.
    pub(super) fn drain(&mut self, now: Timestamp) -> Vec<Held> {
        self.wake(now);
        let visible: Vec<u64> =
            self.groups.values().flat_map(|group| group.visible.iter().copied()).collect();
        visible.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    pub(super) fn all_in_flight(&self) -> usize {
        self.in_flight
    }

    fn hide(&mut self, number: u64, visibility: SignedDuration, now: Timestamp) {
        self.withdraw(number);
        let until = now + visibility;
        let Some(held) = self.messages.get_mut(&number) else { return };
        held.whereabouts = Whereabouts::InFlight(until);
        let tenant = tenant(number, held);
        self.waiting.insert((until, number));
        self.in_flight += 1;
        self.change(&tenant, |group| group.in_flight += 1);
    }

    /// Makes visible whose time has come.
    fn wake(&mut self, now: Timestamp) {
        while let Some((at, number)) = self.waiting.first().copied()
            && at <= now
        {
            self.withdraw(number);
            let Some(held) = self.messages.get_mut(&number) else { continue };
            held.whereabouts = Whereabouts::Visible;
            let tenant = tenant(number, held);
            self.change(&tenant, |group| {
                group.visible.insert(number);
            });
        }
    }

    fn remove(&mut self, number: u64) -> Option<Held> {
        self.withdraw(number);
        self.messages.remove(&number)
    }

    /// Takes a message out of where it is counted, whatever it waits for.
    fn withdraw(&mut self, number: u64) {
        let Some(held) = self.messages.get(&number) else { return };
        let (tenant, whereabouts) = (tenant(number, held), held.whereabouts);
        match whereabouts {
            Whereabouts::Visible => self.change(&tenant, |group| {
                group.visible.remove(&number);
            }),
            Whereabouts::Delayed(until) => {
                self.waiting.remove(&(until, number));
            }
            Whereabouts::InFlight(until) => {
                self.waiting.remove(&(until, number));
                self.in_flight -= 1;
                self.change(&tenant, |group| group.in_flight -= 1);
            }
        }
    }

    /// Changes a tenant's group and where it stands in the order.
    fn change(&mut self, tenant: &Tenant, change: impl FnOnce(&mut Group)) {
        let mut group = self.groups.remove(tenant).unwrap_or_default();
        if !group.visible.is_empty() {
            self.quiet.remove(&(group.place, tenant.clone()));
            self.busy.remove(&(group.in_flight, group.place, tenant.clone()));
        }
        self.visible -= group.visible.len();
        change(&mut group);
        self.visible += group.visible.len();
        if let Some(oldest) = group.visible.first() {
            group.place = match self.order {
                Order::Oldest => *oldest,
                Order::InTurn => {
                    self.turns += 1;
                    self.turns
                }
            };
            if self.order == Order::Oldest && group.in_flight < self.noisy_from {
                self.quiet.insert((group.place, tenant.clone()));
            } else {
                self.busy.insert((group.in_flight, group.place, tenant.clone()));
            }
        }
        if !group.visible.is_empty() || group.in_flight > 0 {
            self.groups.insert(tenant.clone(), group);
        }
    }
}

fn tenant(number: u64, held: &Held) -> Tenant {
    match &held.group {
        Some(group) => (Some(group.clone()), 0),
        None => (None, number),
    }
}

/// A receipt handle: the message and which of its receipts it is.
fn receipt(number: u64, count: u32) -> String {
    format!("AQEB{number:016x}{count:08x}")
}

/// The message's number and the receipt's, of a well-formed receipt handle.
pub(super) fn read_receipt(receipt: &str) -> Option<(u64, u32)> {
    let digits = receipt.strip_prefix("AQEB").filter(|digits| digits.len() == 24)?;
    let (number, count) = digits.split_at_checked(16)?;
    Some((u64::from_str_radix(number, 16).ok()?, u32::from_str_radix(count, 16).ok()?))
}
