//! The sweep: what fails again and again waits longer each time, and is in
//! nobody's way.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use firebreak_client::rate_limit::Class;
use firebreak_demo::world::Attack;
use firebreak_response::record::{Response, State};
use firebreak_simulation::{Effect, Fault, Options};
use jiff::SignedDuration;
use tokio::time::Instant;

use crate::scenarios::stage::{Stage, policy, stage, stage_with, take_tokens};

async fn now(stage: &Stage, response: &Response) -> Response {
    stage.engine.store.response(&response.id).await.unwrap().unwrap()
}

async fn recorded(stage: &Stage) -> Vec<Response> {
    let (since, until) = (stage.world.began(), stage.engine.now());
    stage.engine.store.responses(since, until).await.unwrap()
}

/// Puts things into the index of what is due, first of all, that can be looked
/// at as often as one likes.
async fn add_poison(stage: &Stage, count: u32) {
    let client = Client::new(&stage.world.hub_config().await.unwrap());
    let text = |value: &str| AttributeValue::S(value.to_owned());
    for number in 0..count {
        let id = format!("r-{number:016x}");
        let shard = id.bytes().last().unwrap() % 4;
        client
            .put_item()
            .table_name("firebreak")
            .item("pk", text(&format!("response#{id}")))
            .item("sk", text("record"))
            .item("due_shard", text(&format!("response-{shard}")))
            .item("due", text("2025-01-01T00:00:00.000Z"))
            .send()
            .await
            .unwrap();
    }
}

/// A sweep looks at a hundred at once.
#[tokio::test(start_paused = true)]
async fn however_many_fail_each_time_what_is_due_after_them_is_looked_at() {
    let documents = policy(&[
        "attach: r-fb01\nrules:\n  - name: ask\n    mode: approve\n    approve: { within: 30m, otherwise: deny }\n    then: [isolate-instance]\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let delivered =
        stage.deliver(&stage.finding(Attack::Instance, stage.member("sandbox", 0), 1)).await;
    let plan = delivered.response();
    add_poison(&stage, 130).await;
    stage.world.organization.advance(SignedDuration::from_mins(31));
    let swept = stage.engine.sweep().await;
    assert_eq!(swept.failures().len(), 130, "each is told, once");
    assert_eq!(now(&stage, plan).await.state, State::Denied);
}

#[tokio::test(start_paused = true)]
async fn a_repeatedly_failing_item_waits_longer_each_time_and_delays_nothing_else() {
    let stage = stage().await;
    let (failing, fine) = (stage.member("sandbox", 0), stage.member("sandbox", 1));
    let organization = &stage.world.organization;
    let throttled = Effect::Error { status: 503, code: "RequestLimitExceeded".to_owned() };
    let fault = Fault::always("ModifyNetworkInterfaceAttribute", throttled);
    organization.inject(fault.clone());
    for (number, member) in [failing, fine].into_iter().enumerate() {
        stage.deliver(&stage.finding(Attack::Instance, member, number + 1)).await.error();
    }
    organization.clear_faults();
    organization.inject(fault.in_account(&failing.account));
    let mut all = recorded(&stage).await;
    assert_eq!(all.len(), 2);
    let other = all.iter().position(|it| it.resource.account.as_str() == fine.account).unwrap();
    let (other, mut response) = (all.remove(other), all.remove(0));
    let mut waits = Vec::new();
    for _ in 0..8 {
        let due = response.due.unwrap();
        waits.push(due.duration_since(response.updated).as_secs());
        // Both are due by then.
        organization.advance(due.duration_since(organization.now()) + SignedDuration::from_mins(1));
        stage.engine.sweep().await;
        response = now(&stage, &response).await;
        assert_eq!(response.state, State::Running, "{}", response.reason);
        assert_eq!(now(&stage, &other).await.state, State::Contained);
    }
    assert_eq!(waits, [15, 30, 60, 120, 240, 480, 600, 600]);
    organization.clear_faults();
    organization.advance(SignedDuration::from_mins(11));
    stage.engine.sweep().await;
    assert_eq!(now(&stage, &response).await.state, State::Contained);
    assert!(!stage.reaches_internet(failing) && !stage.reaches_internet(fine));
}

/// The rate limit of an account is waited for without a call that could end in time.
#[tokio::test(start_paused = true)]
async fn a_sweep_that_runs_out_of_time_is_dropped_before_the_deadline_and_the_next_continues() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    let finding = stage.finding(Attack::Instance, &member, 1);
    let unreachable = Fault::always("ModifyNetworkInterfaceAttribute", Effect::Unreachable);
    stage.world.organization.inject(unreachable);
    stage.deliver(&finding).await.error();
    stage.world.organization.clear_faults();
    stage.world.organization.advance(SignedDuration::from_mins(6));

    // The process drops the tokens that it has not used.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let for_long = SignedDuration::from_mins(2);
    take_tokens(&stage.world, &member, Class::NetworkInterface, for_long).await;
    let ends = Instant::now() + Duration::from_secs(40);
    stage.engine.deadline.set(ends);
    let swept = stage.engine.sweep().await;
    stage.engine.deadline.clear();
    assert!(Instant::now() < ends);
    assert!(swept.responses.is_empty(), "{swept:?}");
    let response = recorded(&stage).await.remove(0);
    assert_eq!(response.state, State::Running);

    stage.world.organization.advance(SignedDuration::from_mins(6));
    stage.engine.sweep().await;
    assert_eq!(now(&stage, &response).await.state, State::Contained);
    assert!(!stage.reaches_internet(&member));
}
