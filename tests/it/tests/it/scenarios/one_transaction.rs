//! What a person changes and its audit event are written together or not at all.

use std::collections::BTreeMap;

use firebreak_demo::world::Attack;
use firebreak_response::pauses::{Pause, PauseScope};
use firebreak_response::record::{Response, State, Suppression, Undo};
use firebreak_simulation::{Effect, Fault};
use jiff::SignedDuration;

use crate::scenarios::stage::{Stage, stage, whole_undo};

/// The calls that write to the table.
const WRITES: [&str; 3] = ["PutItem", "UpdateItem", "TransactWriteItems"];

/// What people change beside responses.
type Changed = (BTreeMap<String, Suppression>, BTreeMap<PauseScope, Pause>);

async fn changed(stage: &Stage, response: &Response) -> Changed {
    let account = &response.resource.account;
    let target = stage.engine.store.target(&response.resource.arn(), account).await.unwrap();
    (target.suppressions, target.pauses.0)
}

/// The number of audit events since the last time.
async fn new_events(stage: &Stage) -> usize {
    Box::pin(stage.engine.store.chain_due(stage.engine.now(), 1_000)).await.unwrap()
}

/// Makes the change once for each write, while every such write fails, and at last
/// without a failure: each time it has an effect or none, with one event or none.
async fn is_audited(change: impl AsyncFn(&Stage, &Response)) {
    let stage = Box::pin(stage()).await;
    let finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    let delivered = Box::pin(stage.deliver(&finding)).await;
    assert_eq!(delivered.state(), State::Contained);
    let response = delivered.response();
    Box::pin(stage.engine.undo(&response.id, whole_undo())).await.unwrap();
    let scope = PauseScope::Account(stage.member("production", 0).account.parse().unwrap());
    stage.engine.pause(&scope, None, None).await.unwrap();
    new_events(&stage).await;
    for write in WRITES.map(Some).into_iter().chain([None]) {
        let before = changed(&stage, response).await;
        if let Some(operation) = write {
            let broken = Effect::Error { status: 400, code: "ValidationException".to_owned() };
            stage.world.organization.inject(Fault::always(operation, broken));
        }
        change(&stage, response).await;
        stage.world.organization.clear_faults();
        let is_changed = changed(&stage, response).await != before;
        let events = new_events(&stage).await;
        assert_eq!(events, usize::from(is_changed), "while {write:?} fails");
        assert!(is_changed || write.is_some(), "without a failure there is no effect");
        if is_changed {
            return;
        }
    }
}

fn tomorrow(stage: &Stage) -> jiff::Timestamp {
    stage.engine.now() + SignedDuration::from_hours(24)
}

#[tokio::test(start_paused = true)]
async fn a_suppression_has_its_audit_event() {
    is_audited(async |stage, response| {
        let _ = stage.engine.suppress(&response.id, tomorrow(stage), None).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_suppression_of_what_is_undone_already_has_its_audit_event() {
    is_audited(async |stage, response| {
        let request = Undo { suppress_until: Some(tomorrow(stage)), ..whole_undo() };
        let _ = stage.engine.undo(&response.id, request).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_has_its_audit_event() {
    is_audited(async |stage, _| {
        let _ = stage.engine.pause(&PauseScope::Organization, None, None).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_pause_has_its_audit_event() {
    is_audited(async |stage, _| {
        let account = stage.member("production", 0).account.parse().unwrap();
        let _ = stage.engine.end_pause(&PauseScope::Account(account)).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_is_not_recorded_suppresses_nothing() {
    let stage = Box::pin(stage()).await;
    let finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    let delivered = Box::pin(stage.deliver(&finding)).await;
    let response = delivered.response();
    let broken = Effect::Error { status: 400, code: "ValidationException".to_owned() };
    stage.world.organization.inject(Fault::always("TransactWriteItems", broken));
    let request = Undo { suppress_until: Some(tomorrow(&stage)), ..whole_undo() };
    Box::pin(stage.engine.undo(&response.id, request)).await.unwrap_err();
    stage.world.organization.clear_faults();
    assert!(changed(&stage, response).await.0.is_empty());
}
