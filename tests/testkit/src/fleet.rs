//! Lambda in front of the hub's own code: processes that take batches from a
//! queue, are killed when their time is over, die when a crash hits one of their
//! calls, and are replaced by new ones; and the sweep, once a minute.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use firebreak_aws::settings::Settings;
use firebreak_demo::world::{HOME, HUB, World};
use firebreak_engine::{Disposition, Engine};
use firebreak_function::{self as lambda, Handled};
use firebreak_response::record::{ResponseId, State};
use firebreak_simulation::Process;
use firebreak_simulation::sqs::Address;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use crate::queue::{Message, Queue};

/// How many messages of the write-back queue are in a batch: Security Hub takes
/// that many updates in a call.
const WRITTEN_BACK_AT_ONCE: usize = 100;

/// A message that failed so often is told at once: what is in its way may last.
const FAILED_OFTEN: u32 = 5;

/// How many processes there are and how they work.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// Processes at once: the event source's MaximumConcurrency.
    pub workers: u32,
    /// Messages in a batch.
    pub batch: usize,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// Who tells what is to be told.
    pub told_by: ToldBy,
}

/// Who tells Security Hub how responses stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToldBy {
    /// Whoever responded.
    Responders,
    /// One more process, through the write-back queue.
    WriteBackQueue,
}

/// What became of a message that was acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// The message.
    pub message: u64,
    /// When it was acknowledged.
    pub at: Timestamp,
    /// For each target of its finding what became of it, by which response, and
    /// in which state that ended.
    pub outcomes: Vec<(Disposition, Option<(ResponseId, State)>)>,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Report {
    /// The messages that were acknowledged.
    pub acknowledged: Vec<Acknowledged>,
    /// Why each message was not acknowledged when it was delivered last.
    pub errors: BTreeMap<u64, String>,
    /// How many processes died.
    pub crashes: u64,
    /// How many invocations were killed because their time was over.
    pub killed: u64,
    /// What sweeps said that failed.
    pub sweeps: Vec<String>,
}

/// One process of the hub.
struct Worker {
    process: Process,
    engine: Engine,
}

struct Shared {
    world: World,
    config: SdkConfig,
    settings: Settings,
    fleet: Fleet,
    queue: Rc<RefCell<Queue>>,
    report: RefCell<Report>,
    over: Cell<bool>,
}

impl Shared {
    fn worker(&self) -> Worker {
        let process = self.world.organization.process();
        let config = self.config.to_builder().http_client(process.http_client()).build();
        let engine = Engine::new(&config, self.settings.clone());
        Worker { process, engine }
    }

    /// One invocation; `None` where its process died or was killed.
    async fn invoke<T>(&self, worker: &Worker, work: impl Future<Output = T>) -> Option<T> {
        worker.engine.deadline.set(tokio::time::Instant::now() + self.fleet.timeout);
        tokio::select! {
            biased;
            () = worker.process.died() => {
                self.report.borrow_mut().crashes += 1;
                None
            }
            () = tokio::time::sleep(self.fleet.timeout) => {
                self.report.borrow_mut().killed += 1;
                None
            }
            ended = work => Some(ended),
        }
    }

    fn now(&self) -> Timestamp {
        self.world.organization.now()
    }

    fn acknowledge(&self, batch: &[Message], failed: &[String], handled: Vec<(String, Handled)>) {
        let mut report = self.report.borrow_mut();
        let mut queue = self.queue.borrow_mut();
        for (id, handled) in handled {
            let Ok(message) = id.parse::<u64>() else { continue };
            if failed.contains(&id) {
                let described: Vec<String> =
                    handled.errors.iter().map(ToString::to_string).collect();
                let described = described.join("; ");
                if batch.iter().any(|it| it.id == message && it.receives == FAILED_OFTEN) {
                    eprintln!("message {message} failed {FAILED_OFTEN} times, last: {described}");
                }
                report.errors.insert(message, described);
                continue;
            }
            let outcomes = handled
                .outcomes
                .into_iter()
                .map(|outcome| (outcome.disposition, outcome.response.map(|it| (it.id, it.state))));
            let outcomes = outcomes.collect();
            report.acknowledged.push(Acknowledged { message, at: self.now(), outcomes });
            queue.delete(message);
        }
        drop(queue);
        for message in batch {
            let known = failed.contains(&message.id.to_string());
            assert!(known || report.acknowledged.iter().rev().any(|it| it.message == message.id));
        }
    }

    /// Takes batches until the queue is empty.
    async fn work(self: Rc<Self>) {
        let mut worker = self.worker();
        loop {
            let batch = self.queue.borrow_mut().receive(self.fleet.batch, self.now());
            if batch.is_empty() {
                if self.queue.borrow().is_over() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            let event = event(&batch);
            let work = lambda::handle_batch(&worker.engine, event);
            let ended = self.invoke(&worker, work).await;
            match ended {
                Some((response, handled)) => {
                    let failed = response.batch_item_failures.into_iter();
                    let failed: Vec<String> = failed.map(|it| it.item_identifier).collect();
                    self.acknowledge(&batch, &failed, handled);
                }
                None => worker = self.worker(),
            }
        }
    }

    /// Tells what the write-back queue says is to be told, a hundred at a time.
    async fn write_back(self: Rc<Self>, queue: Address) {
        let mut worker = self.worker();
        while !self.over.get() {
            let now = self.now();
            let received = self
                .world
                .organization
                .edit(|state| state.sqs.receive(&queue, WRITTEN_BACK_AT_ONCE, now))
                .unwrap();
            if received.is_empty() {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            let mut batch = SqsEvent::default();
            for message in &received {
                let mut record = SqsMessage::default();
                record.message_id = Some(message.id.clone());
                record.body = Some(message.body.clone());
                batch.records.push(record);
            }
            let work = lambda::handle_batch(&worker.engine, batch);
            let ended = self.invoke(&worker, work).await;
            let Some((response, _)) = ended else {
                worker = self.worker();
                continue;
            };
            let failed: Vec<String> =
                response.batch_item_failures.into_iter().map(|it| it.item_identifier).collect();
            self.world.organization.edit(|state| {
                for message in received.iter().filter(|it| !failed.contains(&it.id)) {
                    state.sqs.delete(&queue, &message.receipt).unwrap();
                }
            });
        }
    }

    /// Sweeps each minute until the queue is empty.
    async fn sweep(self: Rc<Self>) {
        let mut worker = self.worker();
        while !self.over.get() {
            tokio::time::sleep(Duration::from_secs(60)).await;
            let ended = self.invoke(&worker, lambda::sweep(&worker.engine)).await;
            match ended {
                Some(Ok(())) => {}
                Some(Err(error)) => self.report.borrow_mut().sweeps.push(error.to_string()),
                None => worker = self.worker(),
            }
        }
    }
}

impl Fleet {
    /// Works a queue off; `beside` is polled beside it, and dropped when all is done.
    pub async fn run(
        self,
        world: &World,
        queue: &Rc<RefCell<Queue>>,
        beside: impl Future<Output = ()>,
    ) -> Report {
        let mut settings = world.settings();
        // The sweep is a process of its own beside the workers.
        settings.concurrency = (self.workers + 1).try_into().unwrap();
        let write_back = (self.told_by == ToldBy::WriteBackQueue).then(|| {
            let queue = Address::new(HUB, HOME, "firebreak-write-back");
            let dead = Address::new(HUB, HOME, "firebreak-write-back-dead");
            let now = world.organization.now();
            world.organization.edit(|state| {
                let made = state.sqs.create_with_dead_letters(&queue, &dead, 20, now);
                made.visibility = SignedDuration::from_secs(360);
            });
            queue
        });
        settings.write_back_queue = write_back.as_ref().map(Address::url);
        let shared = Rc::new(Shared {
            world: world.clone(),
            config: world.hub_config().await.unwrap(),
            settings,
            fleet: self,
            queue: queue.clone(),
            report: RefCell::default(),
            over: Cell::new(false),
        });
        let all = async {
            let sweeps = tokio::task::spawn_local(shared.clone().sweep());
            let delivering = write_back.map(|queue| shared.clone().write_back(queue));
            let delivering = delivering.map(tokio::task::spawn_local);
            let mut workers = JoinSet::new();
            for _ in 0..self.workers {
                workers.spawn_local(shared.clone().work());
            }
            while let Some(ended) = workers.join_next().await {
                ended.unwrap();
            }
            shared.over.set(true);
            sweeps.await.unwrap();
            if let Some(delivering) = delivering {
                delivering.await.unwrap();
            }
        };
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                tokio::select! {
                    () = all => {}
                    () = async { beside.await; std::future::pending().await } => {}
                }
            })
            .await;
        shared.report.take()
    }
}

/// Sweeps until nothing is left to do, with time passing between; what sweeps
/// said that failed last.
pub async fn settle(world: &World, rounds: u32) -> Option<String> {
    let engine = Engine::new(&world.hub_config().await.unwrap(), world.settings());
    let mut failed = None;
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_secs(301)).await;
        failed = lambda::sweep(&engine).await.err().map(|error| error.to_string());
    }
    failed
}

/// The event that Lambda's event source mapping makes of a batch.
pub fn event(batch: &[Message]) -> SqsEvent {
    let mut event = SqsEvent::default();
    for message in batch {
        let mut record = SqsMessage::default();
        record.message_id = Some(message.id.to_string());
        record.event_source = Some("aws:sqs".to_owned());
        record.body = Some(message.body.to_string());
        record.attributes.insert("MessageGroupId".to_owned(), message.group.to_string());
        event.records.push(record);
    }
    event
}
