//! A batch as Lambda hands it over: the deadline, fairness between accounts,
//! messages that are no findings, and what is measured of it.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_lambda_events::event::sqs::SqsEvent;
use firebreak_client::rate_limit::Class;
use firebreak_demo::example_policy;
use firebreak_demo::world::{Attack, Member, World, event};
use firebreak_engine::Engine;
use firebreak_function::metrics;
use firebreak_function::{self as lambda, Handled, MessageError};
use firebreak_response::record::State;
use firebreak_simulation::{Effect, Fault, Options};
use firebreak_testkit::truth;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::scenarios::stage::{Stage, stage, take_tokens};

fn record(id: &str, body: &str) -> Value {
    json!({ "messageId": id, "eventSource": "aws:sqs", "body": body })
}

/// Hands records over; which message ids failed, and what became of each.
async fn invoke(engine: &Engine, records: &[Value]) -> (Vec<String>, Vec<(String, Handled)>) {
    let batch: SqsEvent = serde_json::from_value(json!({ "Records": records })).unwrap();
    let (response, handled) = lambda::handle_batch(engine, batch).await;
    let failed = response.batch_item_failures.into_iter().map(|it| it.item_identifier).collect();
    (failed, handled)
}

fn is_handed_back(handled: &Handled) -> bool {
    handled.errors.iter().any(|error| matches!(error, MessageError::OutOfTime(_)))
}

/// One finding of each kind for each member: no two about the same target.
fn findings(world: &World, members: &[Member]) -> Vec<(String, Value)> {
    let mut records = Vec::new();
    for member in members {
        for attack in Attack::ALL {
            let number = records.len() + 1;
            let finding = attack.finding(member, number);
            world.raise(&finding);
            world.import(&finding);
            let id = format!("m-{number}");
            records.push((id.clone(), record(&id, &event(&finding).to_string())));
        }
    }
    records
}

/// What was begun and handed over is the sweep's.
async fn sweep_all(world: &World, engine: &Engine) {
    for _ in 0..10 {
        engine.deadline.clear();
        Box::pin(engine.sweep()).await;
        world.organization.advance(SignedDuration::from_mins(5));
    }
}

#[tokio::test(start_paused = true)]
async fn under_a_short_deadline_every_message_is_handled_or_handed_back_and_none_is_lost() {
    let options = Options { latency: Duration::from_millis(700), ..Options::default() };
    let world = World::new(50, options);
    let engine = world.engine(&example_policy().unwrap()).await.unwrap();
    let mut waiting = findings(&world, &world.members);
    assert_eq!(waiting.len(), 200);
    let (mut rounds, mut dropped) = (0, 0);
    while !waiting.is_empty() {
        rounds += 1;
        assert!(rounds < 60, "{} messages never end", waiting.len());
        let ends = Instant::now() + Duration::from_secs(25);
        engine.deadline.set(ends);
        let records: Vec<Value> = waiting.iter().map(|(_, record)| record.clone()).collect();
        let (failed, handled) = invoke(&engine, &records).await;
        assert!(Instant::now() < ends, "the answer comes before the deadline");
        let failed: BTreeSet<String> = failed.into_iter().collect();
        assert_eq!(handled.len(), records.len());
        for (id, handled) in &handled {
            assert_eq!(failed.contains(id), !handled.errors.is_empty(), "{id}");
            assert!(
                !handled.outcomes.is_empty() || !handled.errors.is_empty(),
                "{id} ended with nothing"
            );
            if is_handed_back(handled) && handled.times.started.is_some() {
                dropped += 1;
            }
        }
        waiting.retain(|(id, _)| failed.contains(id));
        // What was dropped is resumed when its lease has run out.
        world.organization.advance(SignedDuration::from_secs(301));
    }
    println!("rounds={rounds} dropped={dropped}");
    assert!(rounds > 1, "the deadline was never in the way");
    sweep_all(&world, &engine).await;
    // Everything that policy contains is contained.
    for member in world.members.iter().filter(|member| member.unit == "ou-fb01-sandbox1") {
        assert!(!truth::reaches_internet(&world, member), "{}", member.account);
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_takes_too_long_is_handed_back_before_the_deadline_and_resumed() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    let finding = stage.finding(Attack::Instance, &member, 1);
    let slow = Effect::Slow(Duration::from_secs(600));
    stage.world.organization.inject(Fault::always("ModifyNetworkInterfaceAttribute", slow));
    let ends = Instant::now() + Duration::from_secs(30);
    stage.engine.deadline.set(ends);
    let records = [record("m-1", &event(&finding).to_string())];
    let (failed, _) = invoke(&stage.engine, &records).await;
    assert_eq!(failed, ["m-1"]);
    assert!(Instant::now() < ends);
    // The call into the account ended first, so that this could be recorded:
    // the next delivery need not wait for a lease.
    stage.world.organization.clear_faults();
    stage.engine.deadline.clear();
    stage.world.organization.advance(SignedDuration::from_secs(1));
    assert_eq!(stage.deliver(&finding).await.state(), State::Contained);
    assert!(!stage.reaches_internet(&member));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_rate_limit_at_the_deadline_is_dropped_and_continued() {
    let world = World::new(4, Options::default());
    world.engine(&example_policy().unwrap()).await.unwrap();
    let engine = Engine::new(&world.hub_config().await.unwrap(), world.settings().unwrap());
    let member = world.members[0].clone();
    // What waits for a token makes no call that could end before the deadline.
    take_tokens(&world, &member, Class::Ec2Read, SignedDuration::from_mins(20)).await;
    let mut waiting = findings(&world, std::slice::from_ref(&member));
    for number in 0..12 {
        let mut finding = Attack::Instance.finding(&member, 100 + number);
        finding["resource"]["instanceDetails"]["instanceId"] = format!("i-{number:017x}").into();
        world.raise(&finding);
        world.import(&finding);
        let id = format!("gone-{number}");
        waiting.push((id.clone(), record(&id, &event(&finding).to_string())));
    }
    let (mut rounds, mut dropped) = (0, 0);
    while !waiting.is_empty() {
        rounds += 1;
        assert!(rounds < 60, "{} messages never end", waiting.len());
        let ends = Instant::now() + Duration::from_secs(16);
        engine.deadline.set(ends);
        let records: Vec<Value> = waiting.iter().map(|(_, record)| record.clone()).collect();
        let (failed, handled) = invoke(&engine, &records).await;
        assert!(Instant::now() < ends, "the answer comes before the deadline");
        let is_dropped =
            |handled: &Handled| is_handed_back(handled) && handled.times.started.is_some();
        dropped += handled.iter().filter(|(_, handled)| is_dropped(handled)).count();
        waiting.retain(|(id, _)| failed.contains(id));
        world.organization.advance(SignedDuration::from_secs(301));
    }
    println!("rounds={rounds} dropped={dropped}");
    assert!(dropped > 0, "nothing was dropped");
    sweep_all(&world, &engine).await;
    assert!(!truth::reaches_internet(&world, &member));
}

#[tokio::test(start_paused = true)]
async fn without_time_nothing_is_started_and_no_call_is_made() {
    let stage = stage().await;
    let finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    stage.engine.deadline.set(Instant::now() + Duration::from_secs(9));
    let records = [record("m-1", &event(&finding).to_string())];
    let (failed, handled) = invoke(&stage.engine, &records).await;
    assert_eq!(failed, ["m-1"]);
    assert_eq!(
        handled[0].1.errors[0].to_string(),
        "handed back, because the invocation ran out of time: it was not started"
    );
    assert_eq!(stage.calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_account_s_storm_does_not_delay_another_account() {
    let stage = stage().await;
    let (stormy, quiet) = (stage.member("sandbox", 0).clone(), stage.member("sandbox", 1).clone());
    let slow = Effect::Slow(Duration::from_secs(5));
    for operation in ["DescribeInstances", "ModifyNetworkInterfaceAttribute", "CreateTags"] {
        let fault = Fault::always(operation, slow.clone()).in_account(&stormy.account);
        stage.world.organization.inject(fault);
    }
    let mut records: Vec<Value> = (0..60)
        .map(|number| {
            // Findings of sixty instances, as a worm would raise them.
            let mut finding = stage.finding(Attack::Instance, &stormy, number + 1);
            let instance = format!("i-{number:017x}");
            finding["resource"]["instanceDetails"]["instanceId"] = instance.into();
            record(&format!("storm-{number}"), &event(&finding).to_string())
        })
        .collect();
    let finding = stage.finding(Attack::Instance, &quiet, 1_000);
    records.push(record("quiet", &event(&finding).to_string()));
    let (_, handled) = invoke(&stage.engine, &records).await;
    let took = |id: &str| {
        let (_, handled) = handled.iter().find(|(it, _)| it == id).unwrap();
        handled.times.ended.unwrap().duration_since(handled.times.received).as_secs()
    };
    assert!(!stage.reaches_internet(&quiet));
    assert!(took("storm-59") >= 30, "the storm takes its time: {} s", took("storm-59"));
    assert!(took("quiet") < 5, "the quiet account waited {} s", took("quiet"));
    let contained = handled.iter().find(|(id, _)| id == "quiet").unwrap();
    assert_eq!(contained.1.outcomes[0].response.as_ref().unwrap().state, State::Contained);
}

#[tokio::test(start_paused = true)]
async fn the_queue_s_group_is_the_account() {
    let stage = stage().await;
    let finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    let mut grouped = record("m-1", &event(&finding).to_string());
    grouped["attributes"] = json!({
        "MessageGroupId": "one", "SentTimestamp": "1767225590000", "ApproximateReceiveCount": "3",
    });
    let (failed, handled) = invoke(&stage.engine, &[grouped]).await;
    assert!(failed.is_empty());
    let handled = &handled[0].1;
    assert_eq!(handled.deliveries, 3);
    let sent = handled.times.sent.unwrap();
    assert_eq!(handled.times.received.duration_since(sent).as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn poison_fails_alone_and_by_name_and_a_message_that_came_twice_is_handled_once() {
    let stage = stage().await;
    let finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    let good = record("good", &event(&finding).to_string());
    let mut bodiless = record("bodiless", "");
    bodiless.as_object_mut().unwrap().remove("body");
    let records = [
        record("poison", "\u{0}\u{1} not a finding"),
        good.clone(),
        good,
        record("poison", "\u{0}\u{1} not a finding"),
        record("poison", "[]"),
        record("huge", &" ".repeat(1_048_577)),
        bodiless,
    ];
    let (failed, handled) = invoke(&stage.engine, &records).await;
    assert_eq!(failed, ["poison", "huge", "bodiless"], "each is named once");
    let ids: Vec<&str> = handled.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["poison", "good", "poison", "huge", "bodiless"]);
    for (id, handled) in handled.iter().filter(|(id, _)| id != "good") {
        let error = handled.errors[0].to_string();
        assert!(error.starts_with(&format!("message `{id}`")), "{error}");
    }
    assert_eq!(handled[1].1.outcomes.len(), 1);
    assert_eq!(handled[1].1.outcomes[0].response.as_ref().unwrap().state, State::Contained);
}

#[tokio::test(start_paused = true)]
async fn a_batch_emits_metrics_of_its_outcomes() {
    let stage: Stage = stage().await;
    let organization = &stage.world.organization;
    let bare = stage.member("production", 1).clone();
    organization.edit(|state| state.iam(&bare.account).roles.remove("FirebreakSpoke"));
    let throttled = Effect::Error { status: 400, code: "ThrottlingException".to_owned() };
    organization.inject(Fault::once("GetItem", throttled));
    let contained = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    let uncovered = stage.finding(Attack::Instance, &bare, 2);
    stage.engine.counts.take();
    let mut records = vec![
        record("contained", &event(&contained).to_string()),
        record("uncovered", &event(&uncovered).to_string()),
        record("garbage", "not a finding"),
    ];
    records[0]["attributes"] = json!({ "SentTimestamp": "1767225595000" });
    let (_, handled) = invoke(&stage.engine, &records).await;
    let calls = stage.engine.counts.take();
    let lines = metrics::invocation(&handled, &calls, stage.engine.now());
    let first = &lines[0];
    for (name, expected) in [
        ("Received", 2),
        ("Messages", 3),
        ("Contained", 1),
        ("Rejected", 1),
        ("Throttles", 1),
        ("UncoveredAccounts", 1),
    ] {
        assert_eq!(first[name], expected, "{name}: {first}");
    }
    assert_eq!(first["QueueAge"], json!([5_000]));
    assert_eq!(first["ReceiptToContained"].as_array().unwrap().len(), 1);
    // Security Hub was updated with the refusal as well.
    assert_eq!(first["ReceiptToWrittenBack"].as_array().unwrap().len(), 2);
    let by_service = lines.iter().find(|line| line["Service"] == "dynamodb").unwrap();
    assert_eq!(by_service["ServiceThrottles"], 1);
    assert!(lines.iter().any(|line| line["Outcome"] == "contained" && line["Decided"] == 1));
    // What was sent is what AWS saw.
    let sent: u64 = calls.values().map(|count| count.calls).sum();
    assert_eq!(sent, u64::try_from(stage.calls().len()).unwrap());
}
