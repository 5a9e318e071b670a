//! What SQS holds, and what a test does with it that plays the part of Lambda's
//! event source mapping: send, receive, delete, release, count.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::queue::{Held, Next, read_receipt};
pub use super::queue::{Queue, Redrive};
use crate::wire::ServiceError;

/// The largest message, and the largest batch in total: 1 MiB (SQS developer
/// guide, "Message quotas").
pub const MESSAGE_BYTES: usize = 1_048_576;
/// The most messages in flight of a standard queue (same place).
const IN_FLIGHT: usize = 120_000;

/// A queue's account, Region and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The account.
    pub account: String,
    /// The Region.
    pub region: String,
    /// The name.
    pub name: String,
}

impl Address {
    /// A queue of this name.
    pub fn new(account: &str, region: &str, name: &str) -> Self {
        let own = str::to_owned;
        Self { account: own(account), region: own(region), name: own(name) }
    }

    /// `arn:aws:sqs:<region>:<account>:<name>`.
    pub fn arn(&self) -> String {
        let Self { account, region, name } = self;
        format!("arn:aws:sqs:{region}:{account}:{name}")
    }

    /// `https://sqs.<region>.amazonaws.com/<account>/<name>`.
    pub fn url(&self) -> String {
        let Self { account, region, name } = self;
        format!("https://sqs.{region}.amazonaws.com/{account}/{name}")
    }

    /// The queue of an ARN.
    pub fn of_arn(arn: &str) -> Option<Self> {
        match arn.split(':').collect::<Vec<_>>().as_slice() {
            ["arn", _, "sqs", region, account, name] => Some(Self::new(account, region, name)),
            _ => None,
        }
    }

    /// The queue of a URL, called in a Region.
    pub fn of_url(url: &str, region: &str) -> Option<Self> {
        let mut parts = url.rsplit('/');
        let (name, account) = (parts.next()?, parts.next()?);
        let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| Self::new(account, region, name))
    }
}

/// What is sent.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// The body.
    pub body: String,
    /// `MessageGroupId`: the tenant, on a standard queue.
    pub group: Option<String>,
    /// `DelaySeconds`, where it is not the queue's.
    pub delay: Option<SignedDuration>,
    /// `MessageAttributes`, as the call has them.
    pub attributes: Value,
}

/// What is received.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// The body.
    pub body: String,
    /// The receipt handle of its last receipt.
    pub receipt: String,
    /// `ApproximateReceiveCount`.
    pub receive_count: u32,
    /// `MessageGroupId`.
    pub group: Option<String>,
    /// When it was sent.
    pub sent: Timestamp,
    /// When it was first received.
    pub first_received: Option<Timestamp>,
    /// `MessageAttributes`.
    pub attributes: Value,
}

/// How many messages a queue holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Which can be received now.
    pub visible: usize,
    /// Which were received and not deleted, and are hidden still.
    pub in_flight: usize,
    /// Which were sent with a delay that is not over.
    pub delayed: usize,
}

/// All queues of the organization.
#[derive(Clone, Debug, Default)]
pub struct Sqs {
    /// Queues by where they are.
    pub queues: BTreeMap<Address, Queue>,
    next: u64,
}

/// An error as SQS's JSON protocol codes it.
pub(super) fn error(code: &str, message: impl Into<String>) -> ServiceError {
    ServiceError::new(400, code, message)
}

impl Sqs {
    /// Makes a queue as AWS does without attributes; leaves one that is there.
    pub fn create(&mut self, queue: &Address, now: Timestamp) -> &mut Queue {
        self.queues.entry(queue.clone()).or_insert_with(|| Queue::new(now))
    }

    /// Makes a queue and its dead-letter queue, which gets what was received
    /// `max_receive_count` times without being deleted.
    pub fn create_with_dead_letters(
        &mut self,
        queue: &Address,
        dead_letter: &Address,
        max_receive_count: u32,
        now: Timestamp,
    ) -> &mut Queue {
        self.create(dead_letter, now);
        let made = self.create(queue, now);
        made.redrive = Some(Redrive { dead_letter: dead_letter.clone(), max_receive_count });
        made
    }

    pub(super) fn queue(&mut self, queue: &Address) -> Result<&mut Queue, ServiceError> {
        self.queues
            .get_mut(queue)
            .ok_or_else(|| error("QueueDoesNotExist", "The specified queue does not exist."))
    }

    /// Sends a message; its id.
    pub fn send(
        &mut self,
        queue: &Address,
        body: &str,
        group: Option<&str>,
        now: Timestamp,
    ) -> Result<String, ServiceError> {
        let group = group.map(str::to_owned);
        self.put(queue, Outgoing { body: body.to_owned(), group, ..Outgoing::default() }, now)
    }

    /// Sends a message with all that may go with it; its id.
    pub fn put(
        &mut self,
        queue: &Address,
        outgoing: Outgoing,
        now: Timestamp,
    ) -> Result<String, ServiceError> {
        let limit = self.queue(queue)?.max_bytes;
        if outgoing.bytes() > limit {
            let message = format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes."
            );
            return Err(error("InvalidParameterValue", message));
        }
        let number = self.number();
        let id = format!("{:08x}-0000-4000-8000-{number:012x}", 0xf1b0_0000_u32);
        let Outgoing { body, group, delay, attributes } = outgoing;
        let held = Held { group, attributes, ..Held::new(id.clone(), body, now) };
        let queue = self.queue(queue)?;
        queue.put(number, held, delay.unwrap_or(queue.delay), now);
        Ok(id)
    }

    /// Receives up to `max` messages, each hidden for the queue's visibility
    /// timeout. What was received too often goes to the dead-letter queue.
    pub fn receive(
        &mut self,
        queue: &Address,
        max: usize,
        now: Timestamp,
    ) -> Result<Vec<Message>, ServiceError> {
        let visibility = self.queue(queue)?.visibility;
        self.receive_hidden(queue, max, visibility, now)
    }

    /// The same, each hidden for this long.
    pub fn receive_hidden(
        &mut self,
        queue: &Address,
        max: usize,
        visibility: SignedDuration,
        now: Timestamp,
    ) -> Result<Vec<Message>, ServiceError> {
        let (mut taken, mut dead) = (Vec::new(), Vec::new());
        // Without its dead-letter queue a message stays and is received again.
        let redrive = self.queue(queue)?.redrive.clone();
        let redrive = redrive.filter(|redrive| self.queues.contains_key(&redrive.dead_letter));
        let limit = redrive.as_ref().map(|redrive| redrive.max_receive_count);
        let from = self.queue(queue)?;
        while taken.len() < max {
            if from.all_in_flight() >= IN_FLIGHT {
                if taken.is_empty() {
                    return Err(error("OverLimit", "Too many messages in flight."));
                }
                break;
            }
            match from.next(visibility, limit, now) {
                Some(Next::Message(message)) => taken.push(message),
                Some(Next::TooOften(held)) => dead.push(held),
                None => break,
            }
        }
        for held in dead {
            let number = self.number();
            // Its age stays what it was (SQS developer guide, "Dead-letter
            // queues": the enqueue timestamp of a standard queue is unchanged).
            let held = Held { receive_count: 0, from: Some(queue.clone()), ..held };
            if let Some(redrive) = &redrive {
                self.queue(&redrive.dead_letter)?.put(number, held, SignedDuration::ZERO, now);
            }
        }
        Ok(taken)
    }

    /// Deletes a message. An outdated receipt deletes nothing and is no error.
    pub fn delete(&mut self, queue: &Address, receipt: &str) -> Result<(), ServiceError> {
        let (number, count) = well_formed(receipt)?;
        self.queue(queue)?.delete(number, count);
        Ok(())
    }

    /// Makes a message in flight visible again at once, as Lambda does with
    /// what a batch reports as failed when it sets the visibility to zero.
    pub fn release(
        &mut self,
        queue: &Address,
        receipt: &str,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        self.hide(queue, receipt, SignedDuration::ZERO, now)
    }

    /// Hides a message in flight for this long from now.
    pub fn hide(
        &mut self,
        queue: &Address,
        receipt: &str,
        visibility: SignedDuration,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        let (number, count) = well_formed(receipt)?;
        if self.queue(queue)?.rehide(number, count, visibility, now) {
            return Ok(());
        }
        Err(error("MessageNotInflight", "The specified message isn't in flight."))
    }

    /// How many messages a queue holds.
    pub fn counts(&mut self, queue: &Address, now: Timestamp) -> Result<Counts, ServiceError> {
        Ok(self.queue(queue)?.counts(now))
    }

    /// All that a queue holds, in the order of sending, without receiving it:
    /// for a test that looks into a dead-letter queue.
    pub fn messages(&self, queue: &Address) -> Vec<Message> {
        self.queues.get(queue).map(|queue| queue.messages().collect()).unwrap_or_default()
    }

    /// Moves what a dead-letter queue can hand out to `destination`, or back to
    /// the queue that each message came from; how many were moved. They become
    /// new messages with new ids (SQS developer guide, "Dead-letter queue
    /// redrive"). On AWS this takes its time; here it is done at once.
    pub fn redrive(
        &mut self,
        dead_letter: &Address,
        destination: Option<&Address>,
        now: Timestamp,
    ) -> Result<usize, ServiceError> {
        let letters = self.queue(dead_letter)?.drain(now);
        let mut moved = 0;
        for held in letters {
            let target = destination.or(held.from.as_ref()).cloned();
            let Some(target) = target.filter(|target| self.queues.contains_key(target)) else {
                let number = self.number();
                self.queue(dead_letter)?.put(number, held, SignedDuration::ZERO, now);
                continue;
            };
            let Held { body, group, attributes, .. } = held;
            self.put(&target, Outgoing { body, group, delay: None, attributes }, now)?;
            moved += 1;
        }
        Ok(moved)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

fn well_formed(receipt: &str) -> Result<(u64, u32), ServiceError> {
    read_receipt(receipt)
        .ok_or_else(|| error("ReceiptHandleIsInvalid", "The input receipt handle is invalid."))
}

impl Outgoing {
    /// What counts against the limit: the body, and of each attribute its name,
    /// type and value (SQS developer guide, "Message metadata").
    pub fn bytes(&self) -> usize {
        let attributes = self.attributes.as_object().into_iter().flatten().map(|(name, value)| {
            let values = value.as_object().into_iter().flat_map(|parts| parts.values());
            name.len() + values.filter_map(Value::as_str).map(str::len).sum::<usize>()
        });
        self.body.len() + attributes.sum::<usize>()
    }
}
