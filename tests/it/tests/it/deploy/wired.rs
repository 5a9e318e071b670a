//! Plays Lambda for the function that the hub's template makes: its environment
//! and role, its event source mappings, its schedule. Nothing is set up here.

use std::time::Duration;

use aws_lambda_events::event::sqs::SqsEvent;
use firebreak_aws::config;
use firebreak_aws::settings::Settings;
use firebreak_demo::world::{HOME, HUB, World};
use firebreak_engine::Engine;
use firebreak_function::{self as lambda, Handled};
use firebreak_policy::Policy;
use firebreak_simulation::Options;
use firebreak_simulation::events::deliver;
use firebreak_simulation::regional::lambda::{Configuration, Function, Source};
use firebreak_simulation::sqs::{Address, Counts, Message};
use futures::future::join_all;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::Instant;

pub(crate) struct Wired {
    pub(crate) world: World,
    configuration: Configuration,
    sources: Vec<Source>,
}

/// What became of all that was delivered.
pub(crate) type Ended = Vec<(String, Handled)>;

impl Wired {
    pub(crate) async fn new(accounts: usize, policy: &Policy) -> Self {
        let world = World::new(accounts, Options::default());
        world.engine(policy).await.unwrap();
        let (configuration, sources) = world.organization.edit(|state| {
            let lambda = &state.regional(HUB, HOME).lambda;
            let configuration = lambda.functions["firebreak"].configuration.clone().unwrap();
            (configuration, lambda.sources.values().cloned().collect())
        });
        Self { world, configuration, sources }
    }

    pub(crate) fn function(&self) -> Function {
        self.world
            .organization
            .edit(|state| state.regional(HUB, HOME).lambda.functions["firebreak"].clone())
    }

    /// A process of the function, as Lambda starts it.
    pub(crate) async fn process(&self) -> Engine {
        let Configuration { role, environment, .. } = &self.configuration;
        let settings = Settings::read(|name| environment.get(name).cloned()).unwrap();
        let role = role.rsplit('/').next().unwrap();
        let organization = &self.world.organization;
        let session = organization.role_session(HUB, role, "firebreak");
        let (client, time) = (organization.http_client(), organization.time_source());
        let region = HOME.parse().unwrap();
        let config = config::with_http_client(client, session, time, &region).await;
        Engine::new(&config, settings)
    }

    pub(crate) fn source(&self, queue: &str) -> &Source {
        self.sources.iter().find(|source| source.queue.ends_with(queue)).unwrap()
    }

    pub(crate) fn counts(&self, queue: &str) -> Counts {
        let now = self.world.organization.now();
        let queue = Address::new(HUB, HOME, queue);
        self.world.organization.edit(|state| state.sqs.counts(&queue, now)).unwrap()
    }

    pub(crate) fn messages(&self, region: &str, queue: &str) -> Vec<Message> {
        let queue = Address::new(HUB, region, queue);
        self.world.organization.edit(|state| state.sqs.messages(&queue))
    }

    /// GuardDuty has a finding, in a detector of the member's, and sends its event
    /// to the member's bus and to the administrator's, in the finding's Region.
    pub(crate) fn emit(&self, finding: &Value) {
        self.world.raise(finding);
        self.world.import(finding);
        let event = firebreak_demo::world::event(finding);
        let region = finding["region"].as_str().unwrap();
        let member = finding["accountId"].as_str().unwrap();
        if member != HUB {
            self.emit_event((member, region), &event);
        }
        self.emit_event((HUB, region), &event);
    }

    pub(crate) fn emit_event(&self, place: (&str, &str), event: &Value) {
        let now = self.world.organization.now();
        self.world.organization.edit(|state| deliver::emit(state, place, event, now));
    }

    /// What the rule with the schedule does each minute.
    pub(crate) async fn tick(&self) {
        let now = self.world.organization.now();
        self.world.organization.edit(|state| {
            let rules = state.events.rules.iter();
            let scheduled: Vec<String> =
                rules.filter(|(_, rule)| rule.schedule.is_some()).map(|it| it.0.clone()).collect();
            for rule in scheduled {
                deliver::tick(state, &rule, now);
            }
        });
        let event = self.function().invoked.last().unwrap().clone();
        assert!(lambda::is_schedule(&event), "{event}");
        lambda::sweep(&self.process().await).await.unwrap();
    }

    /// Receives from a queue and hands over, as many batches at once as the event
    /// source may, until the queue is empty.
    pub(crate) async fn drain(&self, queue: &str) -> Ended {
        let source = self.source(queue);
        let at_once = usize::try_from(source.at_once.unwrap()).unwrap();
        let mut processes = Vec::new();
        for _ in 0..at_once {
            processes.push(self.process().await);
        }
        let mut ended = Vec::new();
        for _ in 0..1_000 {
            let batches: Vec<Vec<Message>> =
                (0..at_once).map_while(|_| self.batch(source)).collect();
            if batches.is_empty() {
                if self.counts(queue) == Counts::default() {
                    return ended;
                }
                self.world.organization.advance(SignedDuration::from_secs(30));
                continue;
            }
            let invoked = batches.iter().zip(&processes);
            let invoked = invoked.map(|(batch, process)| self.invoke(source, process, batch));
            ended.extend(join_all(invoked).await.into_iter().flatten());
        }
        panic!("the queue never gets empty: {:?}", self.counts(queue));
    }

    fn batch(&self, source: &Source) -> Option<Vec<Message>> {
        let (queue, now) = (Address::of_arn(&source.queue).unwrap(), self.world.organization.now());
        let received = self
            .world
            .organization
            .edit(|state| state.sqs.receive(&queue, source.batch, now))
            .unwrap();
        (!received.is_empty()).then_some(received)
    }

    async fn invoke(&self, source: &Source, process: &Engine, batch: &[Message]) -> Ended {
        let queue = Address::of_arn(&source.queue).unwrap();
        let records: Vec<Value> = batch
            .iter()
            .map(|message| {
                json!({
                    "messageId": message.id, "receiptHandle": message.receipt,
                    "body": message.body, "eventSource": "aws:sqs",
                    "eventSourceARN": source.queue, "awsRegion": HOME, "messageAttributes": {},
                    "attributes": {
                        "ApproximateReceiveCount": message.receive_count.to_string(),
                        "SentTimestamp": message.sent.as_millisecond().to_string(),
                    },
                })
            })
            .collect();
        let event: SqsEvent = serde_json::from_value(json!({ "Records": records })).unwrap();
        let timeout = Duration::from_secs(self.configuration.timeout.try_into().unwrap());
        let ends = Instant::now() + timeout;
        process.deadline.set(ends);
        let (response, handled) = lambda::handle_batch(process, event).await;
        assert!(Instant::now() < ends, "Lambda would have killed it");
        process.deadline.clear();
        let failed: Vec<String> =
            response.batch_item_failures.into_iter().map(|it| it.item_identifier).collect();
        // Without ReportBatchItemFailures Lambda reads no answer: all is deleted.
        let stays = |message: &&Message| source.reports_failures && failed.contains(&message.id);
        self.world.organization.edit(|state| {
            for message in batch.iter().filter(|message| !stays(message)) {
                state.sqs.delete(&queue, &message.receipt).unwrap();
            }
        });
        handled
    }
}
