//! Plays Lambda's event source mapping between the simulated SQS and the handler:
//! receives a batch, hands it over, deletes what did not fail. What failed is there
//! again when its visibility timeout is over, and in the dead-letter queue after it
//! was received too often (Lambda developer guide, "Using Lambda with Amazon SQS").
//!
//! The queue is the one that stacksets/hub.yaml makes in the simulated organization,
//! and batch size, concurrency and timeout are those that it gives the function. There
//! is no other model of a queue: what the hub itself asks of SQS (the write-back queue,
//! a message brought back early, a redrive) is asked of the same one.

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use firebreak_demo::world::{HOME, HUB, World};
use firebreak_engine::Engine;
use firebreak_function::{self as lambda, Handled};
use firebreak_simulation::sqs::{Address, Counts, Message, Order};
use futures::future::join_all;
use jiff::SignedDuration;
use tokio::time::Instant;

/// The queue of findings.
pub const INTAKE: &str = "firebreak-intake";
/// The queue of what is to be delivered to Security Hub and the notices' channels.
pub const WRITE_BACK: &str = "firebreak-write-back";

/// What SQS may do beside delivering once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// Nothing.
    None,
    /// Every message is in its batch twice.
    InTheBatch,
    /// Every batch is delivered once more after it was deleted.
    InTheNext,
}

/// What Lambda does when a batch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failures {
    /// `ReportBatchItemFailures`: it deletes what the answer does not name.
    Reported,
    /// It reads no answer and deletes all.
    Unread,
}

/// One queue with its dead letters, and the event source that empties it.
#[derive(Clone, Debug)]
pub struct Player {
    /// The queue.
    pub queue: Address,
    /// Where it moves what was received too often.
    pub dead: Address,
    /// How many messages a batch has at most.
    pub batch: usize,
    /// How many batches are handled at once.
    pub at_once: usize,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// What becomes of the answer.
    pub failures: Failures,
    /// What is delivered more than once.
    pub repeats: Repeats,
}

/// What became of all that was delivered, a handling each, in order.
pub type Ended = Vec<(String, Handled)>;

impl Player {
    /// The event source of one of the hub's queues, as its template makes it.
    pub fn of(world: &World, queue: &str) -> Self {
        let queue = Address::new(HUB, HOME, queue);
        world.organization.edit(|state| {
            let made = &state.sqs.queues[&queue];
            let dead = made.redrive.as_ref().unwrap().dead_letter.clone();
            let lambda = &state.regional(HUB, HOME).lambda;
            let source = lambda.sources.values().find(|it| it.queue == queue.arn()).unwrap();
            let function = &lambda.functions[&source.function];
            let timeout = function.configuration.as_ref().unwrap().timeout;
            Self {
                dead,
                batch: source.batch,
                at_once: source.at_once.unwrap().try_into().unwrap(),
                timeout: Duration::from_secs(timeout.try_into().unwrap()),
                failures: if source.reports_failures {
                    Failures::Reported
                } else {
                    Failures::Unread
                },
                repeats: Repeats::None,
                queue,
            }
        })
    }

    /// How often a message is received before it is a dead letter.
    pub fn received_at_most(&self, world: &World) -> u32 {
        world
            .organization
            .edit(|state| state.sqs.queues[&self.queue].redrive.as_ref().unwrap().max_receive_count)
    }

    /// Has messages received so often before they are dead letters.
    pub fn receive_at_most(&self, world: &World, times: u32) {
        world.organization.edit(|state| {
            let queue = state.sqs.queues.get_mut(&self.queue).unwrap();
            queue.redrive.as_mut().unwrap().max_receive_count = times;
        });
    }

    /// Gives an invocation another timeout than the template's default; a message is hidden
    /// for six times as long, as in the template.
    pub fn set_timeout(&mut self, world: &World, timeout: Duration) {
        self.timeout = timeout;
        world.organization.edit(|state| {
            let queue = state.sqs.queues.get_mut(&self.queue).unwrap();
            queue.visibility = SignedDuration::try_from(timeout).unwrap() * 6;
        });
    }

    /// Takes accounts in turn, for messages that are all sent at one moment.
    pub fn take_in_turn(&self, world: &World) {
        world.organization.edit(|state| {
            state.sqs.queues.get_mut(&self.queue).unwrap().order = Order::InTurn;
        });
    }

    /// Sends a message; its id.
    pub fn send(&self, world: &World, body: &str, group: Option<&str>) -> String {
        let now = world.organization.now();
        world.organization.edit(|state| state.sqs.send(&self.queue, body, group, now)).unwrap()
    }

    /// How many messages the queue holds.
    pub fn counts(&self, world: &World) -> Counts {
        let now = world.organization.now();
        world.organization.edit(|state| state.sqs.counts(&self.queue, now)).unwrap()
    }

    /// Whether nothing waits and nothing is in flight.
    pub fn is_over(&self, world: &World) -> bool {
        self.counts(world) == Counts::default()
    }

    /// All that the queue holds.
    pub fn messages(&self, world: &World) -> Vec<Message> {
        world.organization.edit(|state| state.sqs.messages(&self.queue))
    }

    /// What was received too often.
    pub fn dead_letters(&self, world: &World) -> Vec<Message> {
        world.organization.edit(|state| state.sqs.messages(&self.dead))
    }

    /// Puts the dead letters back into the queue, as an operator does; how many.
    pub fn redrive(&self, world: &World) -> usize {
        let now = world.organization.now();
        world.organization.edit(|state| state.sqs.redrive(&self.dead, None, now)).unwrap()
    }

    /// Receives a batch.
    pub fn receive(&self, world: &World) -> Vec<Message> {
        let now = world.organization.now();
        world.organization.edit(|state| state.sqs.receive(&self.queue, self.batch, now)).unwrap()
    }

    /// The event that Lambda makes of a batch.
    pub fn event(&self, batch: &[Message]) -> SqsEvent {
        let times = if self.repeats == Repeats::InTheBatch { 2 } else { 1 };
        let mut event = SqsEvent::default();
        event.records =
            batch.iter().map(|it| self.record(it)).cycle().take(batch.len() * times).collect();
        event
    }

    fn record(&self, message: &Message) -> SqsMessage {
        let mut record = SqsMessage::default();
        record.message_id = Some(message.id.clone());
        record.receipt_handle = Some(message.receipt.clone());
        record.body = Some(message.body.clone());
        record.event_source = Some("aws:sqs".to_owned());
        record.event_source_arn = Some(self.queue.arn());
        record.aws_region = Some(self.queue.region.clone());
        let mut attribute = |name: &str, value| record.attributes.insert(name.to_owned(), value);
        attribute("ApproximateReceiveCount", message.receive_count.to_string());
        attribute("SentTimestamp", message.sent.as_millisecond().to_string());
        if let Some(group) = &message.group {
            attribute("MessageGroupId", group.clone());
        }
        record
    }

    /// Has a process handle a batch; gives back the ids of what failed.
    pub async fn invoke(&self, engine: &Engine, batch: &[Message]) -> (Vec<String>, Ended) {
        let ends = Instant::now() + self.timeout;
        engine.deadline.set(ends);
        let (response, handled) = lambda::handle_batch(engine, self.event(batch)).await;
        assert!(Instant::now() < ends, "Lambda would have killed it");
        engine.deadline.clear();
        let failed = response.batch_item_failures.into_iter().map(|it| it.item_identifier);
        (failed.collect(), handled)
    }

    /// Deletes what a batch did not report as failed.
    pub fn delete(&self, world: &World, batch: &[Message], failed: &[String]) {
        let stays = |it: &Message| self.failures == Failures::Reported && failed.contains(&it.id);
        world.organization.edit(|state| {
            for message in batch.iter().filter(|it| !stays(it)) {
                state.sqs.delete(&self.queue, &message.receipt).unwrap();
            }
        });
    }

    /// Receives a batch and hands it over; `None` where nothing could be received.
    pub async fn poll(&self, world: &World, engine: &Engine) -> Option<Ended> {
        let batch = self.receive(world);
        if batch.is_empty() {
            return None;
        }
        let (failed, mut ended) = self.invoke(engine, &batch).await;
        if self.repeats == Repeats::InTheNext {
            ended.extend(self.invoke(engine, &batch).await.1);
        }
        self.delete(world, &batch, &failed);
        Some(ended)
    }

    /// Goes on until the queue is empty, however long that takes, with as many batches
    /// at once as there are processes.
    pub async fn drain(&self, world: &World, processes: &[Engine]) -> Ended {
        let mut ended = Vec::new();
        for _ in 0..1_000 {
            let polls = processes.iter().map(|process| self.poll(world, process));
            let polled: Vec<Ended> = join_all(polls).await.into_iter().flatten().collect();
            if !polled.is_empty() {
                ended.extend(polled.into_iter().flatten());
            } else if self.is_over(world) {
                return ended;
            } else {
                world.organization.advance(SignedDuration::from_secs(30));
            }
        }
        panic!("the queue never gets empty: {:?}", self.counts(world));
    }
}
