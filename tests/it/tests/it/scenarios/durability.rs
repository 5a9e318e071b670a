//! Write ahead, fencing, and entries that never go back: whatever stalls or
//! dies, what was before is on record, and nobody writes after a successor.

use std::collections::BTreeMap;
use std::time::Duration;

use firebreak_aws::config::ATTEMPTS;
use firebreak_aws::store::Written;
use firebreak_demo::world::{Attack, event};
use firebreak_engine::Disposition;
use firebreak_policy::Policy;
use firebreak_response::record::{Response, ResponseId, State, StepState};
use firebreak_response::target::{KeySubject, TargetKey, TargetState};
use firebreak_response::transition::{Record, Transition, Write};
use firebreak_simulation::{Effect, Fault, Options};
use jiff::SignedDuration;
use serde_json::json;

use crate::scenarios::stage::{Stage, deliver_to, policy, stage_with, whole_undo};

fn acting(actions: &str) -> Policy {
    policy(&[&format!(
        "attach: r-fb01\nrules:\n  - {{ name: act, mode: auto, then: [{actions}] }}\n"
    )])
}

async fn acting_stage(actions: &str) -> Stage {
    stage_with(acting(actions), Options::default()).await
}

/// A read that fails for all of the SDK's tries, once.
fn unread(operation: &str) -> Fault {
    let throttled = Effect::Error { status: 503, code: "RequestLimitExceeded".to_owned() };
    Fault { times: ATTEMPTS, ..Fault::once(operation, throttled) }
}

async fn target(stage: &Stage, response: &Response) -> TargetState {
    let resource = &response.resource;
    stage.engine.store.target(&resource.arn(), &resource.account).await.unwrap()
}

fn count(stage: &Stage, operation: &str) -> usize {
    stage.calls().iter().filter(|call| call.operation == operation).count()
}

/// Who resumes after a crash would take our own change for the original.
#[tokio::test(start_paused = true)]
async fn a_state_that_the_plan_could_not_read_is_recorded_before_it_is_changed() {
    let stage = acting_stage("deactivate-access-key").await;
    let member = stage.member("sandbox", 0);
    let before = stage.snapshot(member);
    let finding = stage.finding(Attack::UserKey, member, 1);
    stage.world.organization.inject(unread("ListAccessKeys"));
    stage.world.organization.inject(Fault::once("UpdateAccessKey", Effect::CrashAfter));
    tokio::select! {
        delivered = stage.deliver(&finding) => panic!("it should have died: {:?}", delivered.handled),
        () = stage.world.organization.crashed() => {}
    }
    assert_ne!(stage.snapshot(member), before, "the key is off");
    stage.world.organization.advance(SignedDuration::from_secs(301));
    // That process is dead for good.
    let another = stage.another_responder().await;
    let resumed = deliver_to(&another, &event(&finding).to_string()).await;
    assert_eq!(resumed.state(), State::Contained, "{}", resumed.response().reason);
    another.undo(&resumed.response().id, whole_undo()).await.unwrap();
    assert_eq!(stage.snapshot(member), before);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_the_plan_could_not_read_is_read_under_the_same_guardrails() {
    let documents = policy(&[
        "attach: r-fb01\nprotect: { principals: [\"arn:*:iam::*:role/web-*\"] }\nrules:\n  - { name: act, mode: auto, then: [revoke-instance-credentials] }\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let member = stage.member("sandbox", 0);
    let before = stage.snapshot(member);
    stage.world.organization.inject(unread("DescribeIamInstanceProfileAssociations"));
    let delivered = stage.deliver(&stage.finding(Attack::Instance, member, 1)).await;
    assert_eq!(delivered.state(), State::Failed);
    let step = &delivered.response().steps[0];
    assert_eq!(step.state, StepState::Failed);
    assert!(step.detail.contains("is protected by r-fb01"), "{}", step.detail);
    assert_eq!(stage.snapshot(member), before);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_worker_does_not_write_over_the_next_epoch_s_entry() {
    let stage = acting_stage("isolate-instance").await;
    let member = stage.member("sandbox", 0);
    let first = stage.deliver(&stage.finding(Attack::Instance, member, 1)).await;
    let id = first.response().id.clone();
    let mut stalled = stage.engine.undo(&id, whole_undo()).await.unwrap();
    let entry = target(&stage, &stalled).await.entries[&stalled.key].clone();
    let second = stage.deliver(&stage.finding(Attack::Instance, member, 2)).await;
    assert_eq!((second.state(), second.response().epoch), (State::Contained, 2));
    let present = target(&stage, &stalled).await;
    // Its own record is as it left it; the entry is another response's by now.
    stalled.revision += 1;
    let commit = stage.engine.store.commit(stage.engine.now());
    let record = Record { response: stalled.clone(), findings: entry.findings };
    let (write, outbox, audit) = (Write::RecordAndEntry, Vec::new(), None);
    let late = Transition { record, write, suppression: None, outbox, audit };
    let written = commit.transition(&late).unwrap().write().await.unwrap();
    assert_eq!(written, Written::Lost);
    assert_eq!(target(&stage, &stalled).await, present);
    assert_eq!(present.entries[&stalled.key].response, second.response().id);
}

/// A new plan would record our own half-made change as the original state.
#[tokio::test(start_paused = true)]
async fn over_half_a_change_no_other_policy_makes_a_new_plan() {
    let stage = acting_stage("isolate-instance").await;
    let member = stage.member("sandbox", 1);
    let managed = |by_service: bool| {
        stage.world.organization.edit(|state| {
            let ec2 = state.ec2(&member.account, &member.region);
            let mut own = ec2.interfaces.values_mut();
            let last = own.rfind(|it| it.instance.as_deref() == Some(&member.instance));
            last.unwrap().requester_managed = by_service;
        });
    };
    let before = stage.snapshot(member);
    managed(true);
    let first = stage.deliver(&stage.finding(Attack::Instance, member, 1)).await;
    assert_eq!(first.state(), State::Failed, "{}", first.response().reason);
    managed(false);
    assert_ne!(stage.snapshot(member), before, "half of it is changed");
    stage.push(&acting("isolate-instance, protect-instance")).await;
    let second = stage.deliver(&stage.finding(Attack::Instance, member, 2)).await;
    assert_eq!(second.disposition(), Disposition::ExistingResponse, "{}", second.outcome().reason);
    assert_eq!(second.response().id, first.response().id);
    stage.engine.undo(&first.response().id, whole_undo()).await.unwrap();
    assert_eq!(stage.snapshot(member), before);
}

/// The item of a target has a limit.
#[tokio::test(start_paused = true)]
async fn on_a_crowded_target_one_more_is_refused_and_the_others_stay() {
    let stage = acting_stage("block-remote-ip").await;
    let member = stage.member("sandbox", 0);
    let probed = |number: usize, address: &str| {
        let mut finding = stage.finding(Attack::Instance, member, number);
        finding["service"]["action"] = json!({
            "networkConnectionAction": { "remoteIpDetails": { "ipAddressV4": address } },
        });
        finding
    };
    let first = stage.deliver(&probed(1, "198.51.100.7")).await;
    let response = first.response();
    assert_eq!(first.state(), State::Contained, "{}", response.reason);
    let arn = response.resource.arn();
    for number in 1..200 {
        let seen = target(&stage, response).await;
        let subject = KeySubject::Addresses(format!("{number:08x}"));
        let key = TargetKey { rule: "r-fb01/act".to_owned(), subject };
        let id = ResponseId::of(&arn, &key, 1);
        let record = Record {
            response: Response { id, key, ..response.clone() },
            findings: BTreeMap::from([(format!("f-{number}"), None)]),
        };
        let write = Write::Entry { target_revision: seen.revision };
        let (outbox, audit) = (Vec::new(), None);
        let other = Transition { record, write, suppression: None, outbox, audit };
        let commit = stage.engine.store.commit(stage.engine.now());
        let written = commit.transition(&other).unwrap().write().await.unwrap();
        assert_eq!(written, Written::Yes);
    }
    let before = target(&stage, response).await;
    assert_eq!(before.entries.len(), 200);
    let acls = stage.snapshot(member);
    let refused = stage.deliver(&probed(2, "198.51.100.8")).await;
    assert_eq!(refused.state(), State::Refused);
    let reason = &refused.response().reason;
    assert!(reason.contains("too many responses to single findings"), "{reason}");
    assert_eq!(stage.snapshot(member), acls);
    let mut after = target(&stage, response).await;
    assert_eq!(
        after.entries.remove(&TargetKey::from("r-fb01/act#too-many".to_owned())).unwrap().state,
        State::Refused
    );
    assert_eq!(after.entries, before.entries);
    // What is known is answered as ever.
    let again = stage.deliver(&probed(3, "198.51.100.7")).await;
    assert_eq!(again.disposition(), Disposition::ExistingResponse);
}

/// Delivers, while somebody else does something a second or two later.
async fn meanwhile(
    stage: &Stage,
    finding: &serde_json::Value,
    then: impl Future<Output = ()>,
) -> crate::scenarios::stage::Delivered {
    let (delivered, ()) = tokio::join!(stage.deliver(finding), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        then.await;
    });
    delivered
}

fn slow(operation: &str, after: u32) -> Fault {
    Fault { after, ..Fault::once(operation, Effect::Slow(Duration::from_secs(8))) }
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_lease_ran_out_begins_nothing() {
    let stage = acting_stage("isolate-instance").await;
    let member = stage.member("sandbox", 0);
    let before = stage.snapshot(member);
    let finding = stage.finding(Attack::Instance, member, 1);
    // The second session is the one that changes.
    stage.world.organization.inject(slow("AssumeRole", 1));
    let delivered = meanwhile(&stage, &finding, async {
        stage.world.organization.advance(SignedDuration::from_secs(300));
    })
    .await;
    let error = delivered.error();
    let taken_over = error.contains("another worker took over response");
    assert!(taken_over, "{error}");
    assert!(stage.changes().iter().all(|it| it == "sts:AssumeRole"), "{:?}", stage.changes());
    assert_eq!(stage.snapshot(member), before);
    // Whoever comes next goes on.
    assert_eq!(stage.deliver(&finding).await.state(), State::Contained);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_another_took_over_from_carries_nothing_further_out() {
    let actions = "isolate-instance, protect-instance";
    let undisturbed = acting_stage(actions).await;
    let finding = undisturbed.finding(Attack::Instance, undisturbed.member("sandbox", 0), 1);
    assert_eq!(undisturbed.deliver(&finding).await.state(), State::Contained);
    let stage = acting_stage(actions).await;
    let member = stage.member("sandbox", 0);
    let before = stage.snapshot(member);
    let finding = stage.finding(Attack::Instance, member, 1);
    let successor = stage.another_responder().await;
    stage.world.organization.inject(slow("ModifyNetworkInterfaceAttribute", 0));
    let delivered = meanwhile(&stage, &finding, async {
        stage.world.organization.advance(SignedDuration::from_secs(300));
        let resumed = deliver_to(&successor, &event(&finding).to_string()).await;
        assert_eq!(resumed.state(), State::Contained, "{}", resumed.response().reason);
    })
    .await;
    let error = delivered.error();
    let taken_over = error.contains("another worker took over response");
    assert!(taken_over, "{error}");
    let protected = |stage: &Stage| count(stage, "ModifyInstanceAttribute");
    assert_eq!(protected(&stage), protected(&undisturbed), "the protecting step ran once");
    assert!(!stage.reaches_internet(member));
    let again = stage.deliver(&finding).await;
    assert_eq!(again.disposition(), Disposition::Repeat);
    let (since, until) = (stage.world.began(), stage.engine.now());
    let all = stage.engine.store.responses(since, until).await.unwrap();
    assert_eq!((all.len(), all[0].state), (1, State::Contained));
    stage.engine.undo(&all[0].id, whole_undo()).await.unwrap();
    assert_eq!(stage.snapshot(member), before);
}
