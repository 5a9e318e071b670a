//! An SQS queue as Lambda's event source mapping reads it: at least once, with a
//! visibility timeout, fair between message groups, and a dead-letter queue.
//! Plain data: whoever holds it says what time it is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

/// How the queue is set up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a message that was received is hidden.
    pub visibility: SignedDuration,
    /// How often a message is received before it goes to the dead-letter queue.
    pub max_receives: u32,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its id.
    pub id: u64,
    /// Its text.
    pub body: Arc<str>,
    /// Its message group.
    pub group: Arc<str>,
    /// When it was sent.
    pub sent: Timestamp,
    /// How often it was received.
    pub receives: u32,
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    settings: Settings,
    waiting: BTreeMap<Arc<str>, VecDeque<Message>>,
    flying: BTreeMap<u64, (Timestamp, Message)>,
    in_flight: BTreeMap<Arc<str>, usize>,
    /// Groups with something waiting: fewest in flight first, then by turn.
    order: BTreeSet<(usize, u64, Arc<str>)>,
    place: BTreeMap<Arc<str>, (usize, u64)>,
    returns: BTreeSet<(Timestamp, u64)>,
    dead: Vec<Message>,
    sent: u64,
    turn: u64,
    waits: Vec<SignedDuration>,
}

impl Queue {
    /// An empty queue.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            waiting: BTreeMap::new(),
            flying: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            order: BTreeSet::new(),
            place: BTreeMap::new(),
            returns: BTreeSet::new(),
            dead: Vec::new(),
            sent: 0,
            turn: 0,
            waits: Vec::new(),
        }
    }

    /// Takes a message in; returns its id.
    pub fn send(&mut self, group: &str, body: String, now: Timestamp) -> u64 {
        self.sent += 1;
        let (id, group) = (self.sent, Arc::from(group));
        self.put(Message { id, body: body.into(), group, sent: now, receives: 0 });
        id
    }

    /// Hands out up to `max` messages. "Fair queues": groups with the fewest
    /// messages in flight come first (SQS developer guide).
    pub fn receive(&mut self, max: usize, now: Timestamp) -> Vec<Message> {
        self.take_back(now);
        let mut received = Vec::new();
        while received.len() < max {
            let Some((_, _, group)) = self.order.pop_first() else { break };
            self.place.remove(&group);
            let Some(mut message) = self.waiting.get_mut(&group).and_then(VecDeque::pop_front)
            else {
                continue;
            };
            if message.receives == 0 {
                self.waits.push(now.duration_since(message.sent));
            }
            message.receives += 1;
            *self.in_flight.entry(group.clone()).or_default() += 1;
            let returns = now + self.settings.visibility;
            self.returns.insert((returns, message.id));
            self.flying.insert(message.id, (returns, message.clone()));
            self.line_up(&group);
            received.push(message);
        }
        received
    }

    /// Acknowledges a message; without effect on one that is not in flight.
    pub fn delete(&mut self, id: u64) {
        if let Some(message) = self.land(id) {
            self.line_up(&message.group);
        }
    }

    /// Whether nothing waits and nothing is in flight.
    pub fn is_over(&self) -> bool {
        self.flying.is_empty() && self.order.is_empty()
    }

    /// How many messages wait or are in flight.
    pub fn left(&self) -> usize {
        self.flying.len() + self.waiting.values().map(VecDeque::len).sum::<usize>()
    }

    /// What was received too often.
    pub fn dead(&self) -> &[Message] {
        &self.dead
    }

    /// How long each message waited until it was received first.
    pub fn waits(&self) -> &[SignedDuration] {
        &self.waits
    }

    fn take_back(&mut self, now: Timestamp) {
        while let Some((_, id)) = self.returns.first().copied().filter(|(at, _)| *at <= now) {
            let Some(message) = self.land(id) else { continue };
            if message.receives >= self.settings.max_receives {
                self.line_up(&message.group);
                self.dead.push(message);
            } else {
                self.put(message);
            }
        }
    }

    fn land(&mut self, id: u64) -> Option<Message> {
        let (returns, message) = self.flying.remove(&id)?;
        self.returns.remove(&(returns, id));
        if let Some(count) = self.in_flight.get_mut(&message.group) {
            *count = count.saturating_sub(1);
        }
        Some(message)
    }

    fn put(&mut self, message: Message) {
        let group = message.group.clone();
        self.waiting.entry(group.clone()).or_default().push_back(message);
        self.line_up(&group);
    }

    fn line_up(&mut self, group: &Arc<str>) {
        if let Some((flying, turn)) = self.place.remove(group) {
            self.order.remove(&(flying, turn, group.clone()));
        }
        if self.waiting.get(group).is_none_or(VecDeque::is_empty) {
            return;
        }
        self.turn += 1;
        let place = (self.in_flight.get(group).copied().unwrap_or_default(), self.turn);
        self.place.insert(group.clone(), place);
        self.order.insert((place.0, place.1, group.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn queue() -> Queue {
        Queue::new(Settings { visibility: SignedDuration::from_secs(30), max_receives: 2 })
    }

    fn texts(received: &[Message]) -> Vec<&str> {
        received.iter().map(|it| &*it.body).collect()
    }

    #[test]
    fn what_is_not_deleted_comes_again_and_then_goes_to_the_dead_letter_queue() {
        let mut queue = queue();
        queue.send("a", "one".to_owned(), START);
        assert_eq!(texts(&queue.receive(10, START)), ["one"]);
        assert!(queue.receive(10, START).is_empty() && !queue.is_over());
        let later = START + SignedDuration::from_secs(30);
        assert_eq!(texts(&queue.receive(10, later)), ["one"]);
        assert!(queue.receive(10, later + SignedDuration::from_secs(30)).is_empty());
        assert_eq!(texts(queue.dead()), ["one"]);
        assert!(queue.is_over());
    }

    #[test]
    fn what_is_deleted_does_not_come_again() {
        let mut queue = queue();
        let id = queue.send("a", "one".to_owned(), START);
        queue.receive(10, START);
        queue.delete(id);
        assert!(queue.is_over());
        assert!(queue.receive(10, START + SignedDuration::from_secs(60)).is_empty());
    }

    #[test]
    fn a_quiet_group_does_not_wait_behind_a_loud_one() {
        let mut queue = queue();
        for number in 0..100 {
            queue.send("loud", format!("loud {number}"), START);
        }
        queue.receive(10, START);
        queue.send("quiet", "quiet".to_owned(), START);
        assert_eq!(texts(&queue.receive(2, START)), ["quiet", "loud 10"]);
    }
}
