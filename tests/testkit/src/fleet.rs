//! Several processes of the function at once: they take batches from the queue, are
//! killed when their time is over, die when a crash hits one of their calls, and are
//! replaced by new ones; and the sweep, once a minute.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use aws_config::SdkConfig;
use firebreak_aws::settings::Settings;
use firebreak_demo::world::World;
use firebreak_engine::{Disposition, Engine};
use firebreak_function::{self as lambda, Handled};
use firebreak_response::record::{ResponseId, State};
use firebreak_simulation::Process;
use firebreak_simulation::sqs::Message;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use crate::player::{Player, WRITE_BACK};

/// A message that failed so often is printed at once: what is in its way may last.
const FAILED_OFTEN: u32 = 5;

/// How many processes there are and how they deliver.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// Processes at once: the event source's MaximumConcurrency.
    pub workers: u32,
    /// Who delivers.
    pub delivered_by: DeliveredBy,
}

/// Who delivers to Security Hub how responses stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveredBy {
    /// Whoever responded.
    Responders,
    /// One more process, through the write-back queue.
    WriteBackQueue,
}

/// What became of a message that was acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// The message's id.
    pub message: String,
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
    pub errors: BTreeMap<String, String>,
    /// How long each message waited until it was received first.
    pub waits: Vec<SignedDuration>,
    /// How many processes died.
    pub crashes: u64,
    /// How many invocations were killed because their time was over.
    pub killed: u64,
    /// How sweeps failed.
    pub sweeps: Vec<String>,
}

/// One process of the hub.
struct Worker {
    process: Process,
    engine: Engine,
}

/// A batch that was handled.
struct Batch {
    messages: Vec<Message>,
    failed: Vec<String>,
    handled: Vec<(String, Handled)>,
}

struct Shared {
    world: World,
    config: SdkConfig,
    settings: Settings,
    intake: Player,
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

    /// One invocation; `None` where its process died or was killed, and another one
    /// takes its place.
    async fn invoke<T>(
        &self,
        worker: &mut Worker,
        work: impl AsyncFnOnce(&Engine) -> T,
    ) -> Option<T> {
        let ended = tokio::select! {
            biased;
            () = worker.process.died() => {
                self.report.borrow_mut().crashes += 1;
                None
            }
            () = tokio::time::sleep(self.intake.timeout) => {
                self.report.borrow_mut().killed += 1;
                None
            }
            ended = work(&worker.engine) => Some(ended),
        };
        if ended.is_none() {
            *worker = self.worker();
        }
        ended
    }

    /// Receives a batch and has it handled. Without one a second passes.
    async fn next(&self, player: &Player, worker: &mut Worker) -> Option<Batch> {
        let messages = player.receive(&self.world);
        if messages.is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            return None;
        }
        if player.queue == self.intake.queue {
            let now = self.world.organization.now();
            let first = messages.iter().filter(|it| it.receive_count == 1);
            let waits = first.map(|it| now.duration_since(it.sent));
            self.report.borrow_mut().waits.extend(waits);
        }
        let work = async |engine: &Engine| player.invoke(engine, &messages).await;
        let (failed, handled) = self.invoke(worker, work).await?;
        player.delete(&self.world, &messages, &failed);
        Some(Batch { messages, failed, handled })
    }

    fn report(&self, batch: Batch) {
        let Batch { messages, failed, handled } = batch;
        let mut report = self.report.borrow_mut();
        for message in &messages {
            let is_known = handled.iter().any(|(id, _)| *id == message.id);
            assert!(is_known, "nothing was said of message {}", message.id);
        }
        for (message, handled) in handled {
            if failed.contains(&message) {
                let errors: Vec<String> = handled.errors.iter().map(ToString::to_string).collect();
                let errors = errors.join("; ");
                if handled.deliveries == FAILED_OFTEN {
                    eprintln!("message {message} failed {FAILED_OFTEN} times, last: {errors}");
                }
                report.errors.insert(message, errors);
                continue;
            }
            let outcomes = handled
                .outcomes
                .into_iter()
                .map(|outcome| (outcome.disposition, outcome.response.map(|it| (it.id, it.state))));
            let (at, outcomes) = (self.world.organization.now(), outcomes.collect());
            report.acknowledged.push(Acknowledged { message, at, outcomes });
        }
    }

    /// Handles findings until the intake queue is empty.
    async fn take_in(self: Rc<Self>) {
        let mut worker = self.worker();
        while !self.intake.is_over(&self.world) {
            if let Some(batch) = self.next(&self.intake, &mut worker).await {
                self.report(batch);
            }
        }
    }

    /// Delivers what the write-back queue says until the intake queue is empty. What
    /// fails then is the sweep's.
    async fn write_back(self: Rc<Self>, player: Player) {
        let mut worker = self.worker();
        while !self.over.get() {
            self.next(&player, &mut worker).await;
        }
    }

    /// Sweeps each minute until the queue is empty.
    async fn sweep(self: Rc<Self>) {
        let mut worker = self.worker();
        while !self.over.get() {
            tokio::time::sleep(Duration::from_secs(60)).await;
            let work = async |engine: &Engine| {
                engine.deadline.set(tokio::time::Instant::now() + self.intake.timeout);
                lambda::sweep(engine).await
            };
            if let Some(Err(error)) = self.invoke(&mut worker, work).await {
                self.report.borrow_mut().sweeps.push(error.to_string());
            }
        }
    }
}

/// When the event source starts its next process: "five concurrent batches" at first, and
/// "up to 300 more each minute" (Lambda developer guide, "Configuring scaling behavior for
/// SQS event source mappings").
fn started_after(nth: u32) -> Duration {
    Duration::from_millis(200) * (nth + 1).saturating_sub(5)
}

impl Fleet {
    /// Works a queue off; `beside` is polled beside it, and dropped when all is done.
    pub async fn run(
        self,
        world: &World,
        intake: &Player,
        beside: impl Future<Output = ()>,
    ) -> Report {
        let write_back = (self.delivered_by == DeliveredBy::WriteBackQueue)
            .then(|| Player::of(world, WRITE_BACK));
        let settings = match self.delivered_by {
            DeliveredBy::WriteBackQueue => world.deployed_settings().unwrap(),
            DeliveredBy::Responders => world.settings().unwrap(),
        };
        let shared = Rc::new(Shared {
            world: world.clone(),
            config: world.hub_config().await.unwrap(),
            settings,
            intake: intake.clone(),
            report: RefCell::default(),
            over: Cell::new(false),
        });
        let all = async {
            let sweeps = tokio::task::spawn_local(shared.clone().sweep());
            let delivering = write_back.map(|player| shared.clone().write_back(player));
            let delivering = delivering.map(tokio::task::spawn_local);
            let mut workers = JoinSet::new();
            for nth in 0..self.workers {
                let work = shared.clone().take_in();
                workers.spawn_local(async move {
                    tokio::time::sleep(started_after(nth)).await;
                    work.await;
                });
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

/// Sweeps until nothing is left to do, with time passing between; how the
/// last one failed, if it did.
pub async fn settle(world: &World, rounds: u32) -> Option<String> {
    let engine = Engine::new(&world.hub_config().await.unwrap(), world.settings().unwrap());
    let mut failed = None;
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_secs(301)).await;
        failed = lambda::sweep(&engine).await.err().map(|error| error.to_string());
    }
    failed
}
