//! Plays Lambda's event source mapping between the simulated SQS and the
//! handler: receives a batch, hands it over, deletes what did not fail. What
//! failed is there again when its visibility timeout is over, and in the
//! dead-letter queue after it was received too often (Lambda developer guide,
//! "Using Lambda with Amazon SQS").

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lambda_events::event::sqs::SqsEvent;
use firebreak_aws::settings::Settings;
use firebreak_demo::world::{Attack, HOME, HUB, Member, World, event};
use firebreak_engine::{Disposition, Engine, SweepReport};
use firebreak_function::{self as lambda, Handled};
use firebreak_policy::Policy;
use firebreak_response::outbox::OutboxKey;
use firebreak_response::record::Response;
use firebreak_simulation::Options;
use firebreak_simulation::sqs::{Address, Counts, Message};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::Instant;

/// How often a finding is received before it is a dead letter, as in hub.yaml.
pub(crate) const RECEIVED_AT_MOST: u32 = 4;
const VISIBILITY: SignedDuration = SignedDuration::from_mins(6);
/// The function's timeout.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What SQS may do beside delivering once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// Nothing.
    None,
    /// Every message is in its batch twice.
    InTheBatch,
    /// Every batch is delivered once more after it was deleted.
    InTheNext,
}

/// A queue with its dead-letter queue, before one handler.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    pub(crate) queue: Address,
    pub(crate) dead: Address,
    pub(crate) batch: usize,
    pub(crate) repeats: Repeats,
}

/// An organization with a hub behind its queues.
pub(crate) struct Hub {
    pub(crate) world: World,
    pub(crate) engine: Engine,
    pub(crate) settings: Settings,
    pub(crate) intake: Mapping,
    pub(crate) write_back: Mapping,
}

/// What became of all that was delivered, a handling each, in order.
pub(crate) type Ended = Vec<(String, Handled)>;

impl Mapping {
    fn new(world: &World, name: &str, batch: usize, received_at_most: u32) -> Self {
        let queue = Address::new(HUB, HOME, name);
        let dead = Address::new(HUB, HOME, &format!("{name}-dead"));
        let now = world.organization.now();
        world.organization.edit(|state| {
            let made = state.sqs.create_with_dead_letters(&queue, &dead, received_at_most, now);
            made.visibility = VISIBILITY;
        });
        Self { queue, dead, batch, repeats: Repeats::None }
    }

    pub(crate) fn send(&self, world: &World, body: &str, group: Option<&str>) -> String {
        let now = world.organization.now();
        world.organization.edit(|state| state.sqs.send(&self.queue, body, group, now)).unwrap()
    }

    pub(crate) fn counts(&self, world: &World) -> Counts {
        let now = world.organization.now();
        world.organization.edit(|state| state.sqs.counts(&self.queue, now)).unwrap()
    }

    pub(crate) fn messages(&self, world: &World) -> Vec<Message> {
        world.organization.edit(|state| state.sqs.messages(&self.queue))
    }

    pub(crate) fn dead_letters(&self, world: &World) -> Vec<Message> {
        world.organization.edit(|state| state.sqs.messages(&self.dead))
    }

    /// Receives a batch and hands it over; `None` where nothing could be received.
    pub(crate) async fn poll(&self, world: &World, engine: &Engine) -> Option<Ended> {
        let now = world.organization.now();
        let received = world
            .organization
            .edit(|state| state.sqs.receive(&self.queue, self.batch, now))
            .unwrap();
        if received.is_empty() {
            return None;
        }
        let times = if self.repeats == Repeats::InTheBatch { 2 } else { 1 };
        let records: Vec<Value> = received
            .iter()
            .map(|it| record(it, &self.queue))
            .cycle()
            .take(received.len() * times)
            .collect();
        let (failed, mut ended) = hand_to_sweep(engine, &records).await;
        if self.repeats == Repeats::InTheNext {
            ended.extend(hand_to_sweep(engine, &records).await.1);
        }
        world.organization.edit(|state| {
            for message in received.iter().filter(|it| !failed.contains(&it.id)) {
                state.sqs.delete(&self.queue, &message.receipt).unwrap();
            }
        });
        Some(ended)
    }

    /// Goes on until the queue is empty, however long that takes.
    pub(crate) async fn drain(&self, world: &World, engine: &Engine) -> Ended {
        let mut ended = Vec::new();
        for _ in 0..1_000 {
            if let Some(handled) = self.poll(world, engine).await {
                ended.extend(handled);
            } else if self.counts(world) == Counts::default() {
                return ended;
            } else {
                world.organization.advance(SignedDuration::from_secs(30));
            }
        }
        panic!("the queue never gets empty: {:?}", self.counts(world));
    }
}

/// A message as Lambda hands it over.
fn record(message: &Message, queue: &Address) -> Value {
    let mut attributes = json!({
        "ApproximateReceiveCount": message.receive_count.to_string(),
        "SentTimestamp": message.sent.as_millisecond().to_string(),
    });
    if let Some(group) = &message.group {
        attributes["MessageGroupId"] = group.as_str().into();
    }
    json!({
        "messageId": message.id, "receiptHandle": message.receipt, "body": message.body,
        "attributes": attributes, "messageAttributes": {}, "eventSource": "aws:sqs",
        "eventSourceARN": queue.arn(), "awsRegion": queue.region,
    })
}

async fn hand_to_sweep(engine: &Engine, records: &[Value]) -> (Vec<String>, Ended) {
    let batch: SqsEvent = serde_json::from_value(json!({ "Records": records })).unwrap();
    let ends = Instant::now() + TIMEOUT;
    engine.deadline.set(ends);
    let (response, handled) = lambda::handle_batch(engine, batch).await;
    assert!(Instant::now() < ends, "Lambda would have killed it");
    engine.deadline.clear();
    (response.batch_item_failures.into_iter().map(|it| it.item_identifier).collect(), handled)
}

/// Makes an organization whose hub tells through the write-back queue if
/// `settings` says so, which is asked with the queue's URL.
pub(crate) async fn hub(
    accounts: usize,
    policy: &Policy,
    options: Options,
    settings: impl FnOnce(Settings, String) -> Settings,
) -> Hub {
    let world = World::new(accounts, options);
    // It makes the table and pushes the policy.
    world.engine(policy).await.unwrap();
    let intake = Mapping::new(&world, "firebreak-intake", 10, RECEIVED_AT_MOST);
    let write_back = Mapping::new(&world, "firebreak-write-back", 100, 3);
    let intake_queue = Some(intake.queue.url());
    let settings = settings(Settings { intake_queue, ..world.settings() }, write_back.queue.url());
    let config = world.hub_config().await.unwrap();
    let engine = Engine::new(&config, settings.clone());
    Hub { world, engine, settings, intake, write_back }
}

/// The settings of a hub that tells everybody itself.
pub(crate) fn at_once(settings: Settings, _: String) -> Settings {
    settings
}

/// The settings of a hub with a write-back queue.
pub(crate) fn through_the_queue(settings: Settings, url: String) -> Settings {
    Settings { write_back_queue: Some(url), ..settings }
}

impl Hub {
    /// A member of the sandboxes, where everything is contained at once.
    pub(crate) fn sandbox(&self, nth: usize) -> &Member {
        &self.world.members[4 * nth]
    }

    /// A finding that GuardDuty and Security Hub know.
    pub(crate) fn finding(&self, member: &Member, number: usize) -> Value {
        self.raised(Attack::Instance.finding(member, number))
    }

    pub(crate) fn raised(&self, finding: Value) -> Value {
        self.world.raise(&finding);
        self.world.import(&finding);
        finding
    }

    /// Sends a finding as EventBridge does, in the group of its account.
    pub(crate) fn send(&self, finding: &Value) -> String {
        let group = finding["accountId"].as_str();
        self.intake.send(&self.world, &event(finding).to_string(), group)
    }

    /// Handles all of the intake, whatever the write-back queue holds.
    pub(crate) async fn take_in(&self) -> Ended {
        self.intake.drain(&self.world, &self.engine).await
    }

    /// Tells all that the write-back queue holds.
    pub(crate) async fn report(&self) -> Ended {
        self.write_back.drain(&self.world, &self.engine).await
    }

    /// What the schedule does each minute.
    pub(crate) async fn sweep(&self) -> SweepReport {
        Box::pin(self.engine.sweep()).await
    }

    /// Another process of the function.
    pub(crate) async fn another(&self) -> Engine {
        Engine::new(&self.world.hub_config().await.unwrap(), self.settings.clone())
    }

    /// One more instance of a member, in its group `web`.
    pub(crate) fn another_instance(&self, member: &Member) -> String {
        self.world.organization.edit(|state| {
            let ec2 = state.ec2(&member.account, &member.region);
            let vpc = ec2.vpcs.keys().next().unwrap().clone();
            let web = ec2.groups.iter().find(|(_, it)| it.name == "web").unwrap().0.clone();
            ec2.add_instance(&vpc, &[&web])
        })
    }

    pub(crate) fn reaches_internet(&self, member: &Member, instance: &str) -> bool {
        self.world
            .organization
            .edit(|state| state.ec2(&member.account, &member.region).reaches_internet(instance))
    }

    pub(crate) fn count(&self, operation: &str) -> usize {
        let calls = self.world.organization.calls();
        calls.iter().filter(|call| call.operation == operation && call.error.is_none()).count()
    }

    /// Every response that is recorded.
    pub(crate) async fn responses(&self) -> Vec<Response> {
        let (since, until) = (self.world.began(), self.engine.now());
        self.engine.store.responses(since, until).await.unwrap()
    }

    /// What nobody was told yet, due or not.
    pub(crate) async fn outbox(&self) -> Vec<OutboxKey> {
        let later = self.engine.now() + SignedDuration::from_hours(48);
        self.engine.store.due_outbox_items(later, 1_000).await.unwrap()
    }
}

/// How often each disposition was come to.
pub(crate) fn dispositions(ended: &Ended) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for outcome in ended.iter().flat_map(|(_, handled)| &handled.outcomes) {
        *counted.entry(format!("{:?}", outcome.disposition)).or_default() += 1;
    }
    counted
}

/// How often a response was opened or carried to its end.
pub(crate) fn responded(ended: &Ended) -> usize {
    let outcomes = ended.iter().flat_map(|(_, handled)| &handled.outcomes);
    outcomes.filter(|outcome| outcome.disposition == Disposition::Responded).count()
}
