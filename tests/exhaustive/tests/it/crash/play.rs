//! One run of a scenario, with at most one stop, to its end.

use std::collections::BTreeSet;
use std::time::Duration;

use firebreak_demo::world::{Member, World, event};
use firebreak_engine::Engine;
use firebreak_function as lambda;
use firebreak_response::record::{ResponseId, State};
use firebreak_simulation::{Effect, Fault, Options};
use firebreak_testkit::arrange::{policy, whole_undo};
use firebreak_testkit::canonical::canonical;
use firebreak_testkit::truth;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::crash::scenarios::{Act, Scenario};

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

/// How often a message is delivered: more often than a queue does, because each
/// crash takes one of them.
const TRIES: u32 = 8;

/// What two runs may differ in: counters of writes, ids that a cluster never
/// gives twice, and whether it was reported meanwhile that other steps go on: whoever
/// comes after a crash may find them ended.
const MAY_DIFFER: [&str; 4] = ["revision", "uid", "tries", "containment_reported"];

struct Stage {
    world: World,
    engine: Engine,
    stopped: bool,
}

impl Stage {
    fn member(&self) -> &Member {
        self.world.members.last().unwrap()
    }

    async fn another_process(&mut self) {
        let config = self.world.hub_config().await.unwrap();
        self.engine = Engine::new(&config, self.world.settings().unwrap());
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
            drop(lambda::sweep(&self.engine).await);
        }
        Err(last)
    }

    /// Lets what is still under way in the account (RDS, snapshots) come to its
    /// end, and sweeps, as the schedule does each minute. No finding is seen
    /// again: what is left is the sweep's.
    async fn settle(&self) -> Vec<String> {
        let mut failed: Vec<String> = Vec::new();
        for _ in 0..2 {
            self.world.organization.advance(SignedDuration::from_mins(20));
            failed = self.once(&Act::Sweep).await.err().into_iter().collect();
        }
        failed
    }

    async fn once(&self, act: &Act) -> Result<(), String> {
        match act {
            Act::Deliver(finding) => {
                let message = event(&finding(self.member())).to_string();
                let run = firebreak_engine::Run::Act;
                let handled = lambda::handle_message(&self.engine, &message, run).await;
                let errors: Vec<String> = handled.errors.iter().map(ToString::to_string).collect();
                if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
            }
            Act::Undo => {
                let responses = truth::responses(&self.world).await;
                let response = responses.first().ok_or("there is no response")?;
                match self.engine.undo(&response.id, whole_undo()).await {
                    Ok(undone) if undone.state == State::Undone => Ok(()),
                    // "try it again" is what it says of a failure.
                    Ok(undone) => Err(undone.reason),
                    Err(error) => Err(error.to_string()),
                }
            }
            Act::Approve => {
                let id = self.only_response().await?;
                match self.engine.approve(&id, None, None).await {
                    Ok(_) => Ok(()),
                    // The worker that died may have approved it: then the sweep continues.
                    Err(error) if error.to_string().contains("does not await approval") => Ok(()),
                    Err(error) => Err(error.to_string()),
                }
            }
            Act::Deny => {
                let id = self.only_response().await?;
                match self.engine.deny(&id, None).await {
                    Ok(_) => Ok(()),
                    Err(error) if error.to_string().contains("does not await approval") => Ok(()),
                    Err(error) => Err(error.to_string()),
                }
            }
            Act::Pass(time) => {
                self.world.organization.advance(*time);
                Ok(())
            }
            Act::Sweep => lambda::sweep(&self.engine).await.map_err(|it| it.to_string()),
        }
    }
}

impl Stage {
    async fn only_response(&self) -> Result<ResponseId, String> {
        let responses = truth::responses(&self.world).await;
        let response = responses.first().ok_or("there is no response")?;
        Ok(response.id.clone())
    }
}

/// Plays a scenario, stopped at one of its calls if that is asked for.
pub(crate) async fn play(scenario: &Scenario, stop: Option<(usize, &Effect)>) -> Played {
    let world = World::new(scenario.member + 1, Options::default());
    let engine = world.engine(&policy(&[scenario.document])).await.unwrap();
    (scenario.arrange)(&world, world.members.last().unwrap());
    for act in scenario.acts {
        if let Act::Deliver(finding) = act {
            let finding = finding(world.members.last().unwrap());
            world.raise(&finding);
            world.import(&finding);
        }
    }
    if let Some((nth, effect)) = stop {
        let after = u32::try_from(nth).unwrap();
        let fault = Fault { after, times: 1, effect: effect.clone(), ..Fault::default() };
        world.organization.inject(fault);
    }
    let mut stage = Stage { world, engine, stopped: false };
    let mut lost = Vec::new();
    for act in scenario.acts {
        if let Err(why) = stage.until_done(act).await {
            lost.push(format!("{act:?} did not come to its end: {why}"));
        }
    }
    let calls = stage.world.organization.calls();
    let calls: Vec<String> =
        calls.iter().map(|call| format!("{}:{}", call.service, call.operation)).collect();
    lost.extend(stage.settle().await);

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
        reaches_internet: truth::reaches_internet(world, member),
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
    let findings: Vec<Value> = world.organization.edit(|state| {
        state.security_hub.findings.values().flat_map(|it| it.values().cloned()).collect()
    });
    let (recorded, items): (Vec<Value>, Vec<Value>) =
        truth::items(world).await.into_iter().partition(|item| is(item, "audit#"));
    let mut items: Vec<Value> = items.into_iter().filter_map(comparable).collect();
    items.sort_by_key(|item| format!("{}{}", item["pk"], item["sk"]));
    for item in &mut items {
        forget_what_was_restored(item);
    }
    let recorded: BTreeSet<String> = recorded.iter().filter_map(event_of).collect();
    let all = json!({
        "accounts": accounts, "table": items, "security_hub": findings, "record": recorded,
    });
    canonical(&all, &MAY_DIFFER)
}

fn is(item: &Value, prefix: &str) -> bool {
    item.pointer("/pk/S").and_then(Value::as_str).is_some_and(|pk| pk.starts_with(prefix))
}

/// What of an item of the hub's table has to be the same.
fn comparable(item: Value) -> Option<Value> {
    if is(&item, "places") || is(&item, "rate#") {
        return None;
    }
    if is(&item, "budget#") {
        // Its marks are named by their times.
        return Some(json!({ "pk": item["pk"], "sk": item["sk"], "total": item["total"] }));
    }
    Some(item)
}

/// An event of the record, without when and how often.
fn event_of(item: &Value) -> Option<String> {
    let event: Value = serde_json::from_str(item.pointer("/body/S")?.as_str()?).ok()?;
    // The head of a chain and its account have no events.
    event.get("what")?;
    Some(json!([event["what"], event["state"], event["finding"], event["target"]]).to_string())
}

/// The detail of an undone step says what its last worker restored; what one before it
/// restored, and died, is restored as well, which the account's own state shows.
fn forget_what_was_restored(item: &mut Value) {
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
