//! One run of a scenario, with at most one stop, to its end.

use std::time::Duration;

use firebreak_hub::cli::demo::world::{Member, World, event};
use firebreak_hub::lambda;
use firebreak_hub::policy::{ActionFacts, read_files};
use firebreak_hub::record::{Drift, State, Undo};
use firebreak_hub::respond::Responder;
use firebreak_simulation::{Effect, Fault, Options};
use firebreak_tests::canonical::canonical;
use firebreak_tests::truth;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::scenarios::{Act, Scenario};

/// What came of a run.
pub(crate) struct Played {
    /// Every call of the acts, in order.
    pub(crate) calls: Vec<String>,
    /// Whether the stop was met.
    pub(crate) stopped: bool,
    /// The accounts, the hub's table and Security Hub, comparable.
    pub(crate) state: Value,
    pub(crate) responses: usize,
    pub(crate) reaches_internet: bool,
    pub(crate) lost: Vec<String>,
    pub(crate) doubled: Vec<String>,
    pub(crate) open: Vec<String>,
}

/// After the lease, a message is visible again and a sweep may resume.
const AFTER_THE_LEASE: Duration = Duration::from_secs(301);

/// How often a message is delivered: the queue's maxReceiveCount.
const TRIES: u32 = 8;

/// What two runs may differ in: counters of writes, and ids that a cluster never
/// gives twice.
const MAY_DIFFER: [&str; 2] = ["revision", "uid"];

struct Stage {
    world: World,
    responder: Responder,
    stopped: bool,
}

impl Stage {
    fn member(&self) -> &Member {
        self.world.members.last().unwrap()
    }

    async fn another_process(&mut self) {
        let config = self.world.hub_config().await.unwrap();
        self.responder = Responder::new(&config, self.world.settings());
    }

    /// Does something until it is done, in one process after another.
    async fn until_done(&mut self, act: &Act) -> Result<(), String> {
        let mut last = String::new();
        for _ in 0..TRIES {
            let ended = tokio::select! {
                biased;
                () = self.world.organization.crashed() => None,
                ended = self.once(act) => Some(ended),
            };
            match ended {
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) => last = error,
                None => {
                    "it died".clone_into(&mut last);
                    self.stopped = true;
                    self.another_process().await;
                }
            }
            tokio::time::sleep(AFTER_THE_LEASE).await;
            // An expiry or a stuck lease is the sweep's as well.
            drop(lambda::sweep(&self.responder).await);
        }
        Err(last)
    }

    /// Lets what is still under way in the account (RDS, snapshots) come to its
    /// end, sweeps, and sees each finding once more: GuardDuty repeats them. What
    /// Security Hub was not told because a worker died is told then.
    async fn settle(&self, scenario: &Scenario) -> Vec<String> {
        self.world.organization.advance(SignedDuration::from_mins(30));
        let mut failed: Vec<String> = Vec::new();
        failed.extend(self.once(&Act::Sweep).await.err());
        for act in scenario.acts.iter().filter(|act| matches!(act, Act::Deliver(_))) {
            failed.extend(self.once(act).await.err());
        }
        failed
    }

    async fn once(&self, act: &Act) -> Result<(), String> {
        match act {
            Act::Deliver(finding) => {
                let message = event(&finding(self.member())).to_string();
                let run = firebreak_hub::respond::Run::Act;
                let handled = lambda::handle_message(&self.responder, &message, run).await;
                let errors: Vec<String> = handled.errors.iter().map(ToString::to_string).collect();
                if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
            }
            Act::Undo => {
                let responses = truth::responses(&self.world).await;
                let response = responses.first().ok_or("there is no response")?;
                let request = Undo {
                    by: "a test".to_owned(),
                    step: None,
                    drift: Drift::Leave,
                    hold_until: None,
                };
                match self.responder.undo(&response.id, request).await {
                    Ok(undone) if undone.state == State::Undone => Ok(()),
                    // "try it again" is what it says of a failure.
                    Ok(undone) => Err(undone.reason),
                    Err(error) => Err(error.to_string()),
                }
            }
            Act::Pass(time) => {
                self.world.organization.advance(*time);
                Ok(())
            }
            Act::Sweep => lambda::sweep(&self.responder).await.map_err(|it| it.to_string()),
        }
    }
}

/// Plays a scenario, stopped at one of its calls if that is asked for.
pub(crate) async fn play(scenario: &Scenario, stop: Option<(usize, &Effect)>) -> Played {
    let world = World::new(scenario.member + 1, Options::default());
    let files = [("policy.yaml".to_owned(), scenario.document.to_owned())];
    let policy = read_files(&files, &ActionFacts::all()).unwrap();
    let responder = world.responder(&policy).await.unwrap();
    (scenario.arrange)(&world, world.members.last().unwrap());
    for act in scenario.acts {
        if let Act::Deliver(finding) = act {
            world.import(&finding(world.members.last().unwrap()));
        }
    }
    if let Some((nth, effect)) = stop {
        let after = u32::try_from(nth).unwrap();
        let fault = Fault { after, times: 1, effect: effect.clone(), ..Fault::default() };
        world.organization.inject(fault);
    }
    let mut stage = Stage { world, responder, stopped: false };
    let mut lost = Vec::new();
    for act in scenario.acts {
        if let Err(why) = stage.until_done(act).await {
            lost.push(format!("{act:?} did not come to its end: {why}"));
        }
    }
    let calls = stage.world.organization.calls();
    let calls: Vec<String> =
        calls.iter().map(|call| format!("{}:{}", call.service, call.operation)).collect();
    lost.extend(stage.settle(scenario).await);

    let world = &stage.world;
    let responses = truth::responses(world).await;
    let unended = responses.iter().filter(|it| !truth::is_terminal(it.state));
    lost.extend(unended.map(|it| format!("{} is still {}", it.id, it.state)));
    let member = stage.member();
    let lost_answer =
        stop.is_some_and(|(nth, effect)| *effect == Effect::LostAnswer && nth < calls.len());
    Played {
        stopped: stage.stopped || lost_answer,
        state: state(world).await,
        responses: responses.len(),
        reaches_internet: world.organization.edit(|state| {
            state.ec2(&member.account, &member.region).reaches_internet(&member.instance)
        }),
        doubled: truth::doubled(world, &responses),
        open: truth::open(world, &responses),
        lost,
        calls,
    }
}

/// All that has to be the same at the end.
async fn state(world: &World) -> Value {
    let accounts: Vec<Value> =
        world.members.iter().map(|it| world.organization.snapshot(&it.account)).collect();
    let told: Vec<Value> = world.organization.edit(|state| {
        state.security_hub.findings.values().flat_map(|it| it.values().cloned()).collect()
    });
    let mut items = truth::items(world).await;
    items.sort_by_key(|item| format!("{}{}", item["pk"], item["sk"]));
    for item in &mut items {
        forget_what_was_put_back(item);
    }
    canonical(&json!({ "accounts": accounts, "table": items, "security_hub": told }), &MAY_DIFFER)
}

/// An undone step tells what its last worker put back; what one before it put
/// back, and died, is back as well, which the account's own state shows.
fn forget_what_was_put_back(item: &mut Value) {
    let Some(body) = item.pointer_mut("/body/S") else { return };
    let read = body.as_str().and_then(|it| serde_json::from_str::<Value>(it).ok());
    let Some(mut record) = read.filter(|it| it["steps"].is_array()) else { return };
    for step in record["steps"].as_array_mut().into_iter().flatten() {
        if step["state"] == "undone" {
            step["detail"] = Value::Null;
        }
    }
    *body = record.to_string().into();
}
