//! The engine: repeats, both paths, races, crashes, the number of calls.

use std::time::Duration;

use firebreak_demo::world::{Attack, asff, event};
use firebreak_engine::Disposition;
use firebreak_response::record::State;
use firebreak_simulation::{CallRecord, Effect, Fault, Options};
use firebreak_testkit::sample::sample;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::scenarios::stage::{Stage, deliver_to, policy, stage, stage_with, whole_undo};

#[tokio::test(start_paused = true)]
async fn a_repeat_costs_one_read_and_changes_nothing() {
    let stage = stage().await;
    for (number, (attack, unit)) in [
        (Attack::Instance, "sandbox"),
        (Attack::UserKey, "production"),
        (Attack::Bucket, "observe"),
        (Attack::RoleSession, "security"),
    ]
    .into_iter()
    .enumerate()
    {
        let finding = stage.finding(attack, stage.member(unit, 0), number + 1);
        stage.deliver(&finding).await.response();
        stage.world.organization.forget_calls();
        let again = stage.deliver(&finding).await;
        assert_eq!(again.disposition(), Disposition::Repeat, "{unit}");
        let calls: Vec<String> = stage.calls().iter().map(|call| call.operation.clone()).collect();
        assert_eq!(calls, ["BatchGetItem"], "{unit}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_of_a_contained_finding_is_a_repeat() {
    let stage = stage().await;
    let mut finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    stage.deliver(&finding).await.response();
    finding["updatedAt"] = "2026-01-01T06:00:00.000Z".into();
    finding["service"]["count"] = json!(7);
    stage.world.organization.forget_calls();
    assert_eq!(stage.deliver(&finding).await.disposition(), Disposition::Repeat);
    assert_eq!(stage.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn by_guardduty_and_by_security_hub_there_is_one_response() {
    for attack in Attack::ALL {
        let stage = stage().await;
        let finding = stage.finding(attack, stage.member("sandbox", 0), 1);
        let imported = json!({
            "id": "e-2", "source": "aws.securityhub", "account": "100000000002",
            "detail-type": "Security Hub Findings - Imported", "region": finding["region"],
            "detail": { "findings": [asff(&finding)] },
        });
        let first = stage.deliver(&finding).await;
        assert_eq!(first.state(), State::Contained, "{attack:?}");
        stage.world.organization.forget_calls();
        let second = stage.deliver_message(&imported.to_string()).await;
        assert_eq!(second.disposition(), Disposition::Repeat, "{attack:?}");
        assert_eq!(stage.calls().len(), 1, "{attack:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_events_that_our_own_updates_raise_are_not_acted_on() {
    let stage = stage().await;
    let finding = stage.finding(Attack::Instance, stage.member("production", 0), 1);
    stage.deliver(&finding).await.response();
    let raised = stage.world.organization.edit(|state| state.security_hub.events.clone());
    let last = raised.last().unwrap();
    assert_eq!(last["detail"]["findings"][0]["Workflow"]["Status"], "NOTIFIED");
    stage.world.organization.forget_calls();
    let delivered = stage.deliver_message(&last.to_string()).await;
    assert_eq!(delivered.disposition(), Disposition::Nothing);
    assert_eq!(stage.calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn another_finding_of_a_contained_target_adds_nothing() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let first = stage.deliver(&stage.finding(Attack::Instance, member, 1)).await;
    stage.world.organization.forget_calls();
    let second = stage.finding(Attack::Instance, member, 2);
    let delivered = stage.deliver(&second).await;
    assert_eq!(delivered.disposition(), Disposition::ExistingResponse);
    let id = first.response().id.as_str();
    assert!(delivered.outcome().reason.contains(id), "{}", delivered.outcome().reason);
    // Security Hub is updated for this finding too, and nothing else is touched.
    assert_eq!(stage.world.security_hub_status(&second).as_deref(), Some("RESOLVED"));
    let is_update = |call: &String| call == "securityhub:BatchUpdateFindings";
    assert!(stage.changes().iter().all(is_update), "{:?}", stage.changes());
    // An undo opens both again.
    stage.engine.undo(&first.response().id, whole_undo()).await.unwrap();
    assert_eq!(stage.world.security_hub_status(&second).as_deref(), Some("NEW"));
}

#[tokio::test(start_paused = true)]
async fn after_an_undo_the_same_finding_does_not_contain_again_and_another_does() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let mut finding = stage.finding(Attack::Instance, member, 1);
    let delivered = stage.deliver(&finding).await;
    stage.engine.undo(&delivered.response().id, whole_undo()).await.unwrap();
    finding["updatedAt"] = "2026-01-01T06:00:00.000Z".into();
    assert_eq!(stage.deliver(&finding).await.disposition(), Disposition::Repeat);
    assert!(stage.reaches_internet(member));
    let other = stage.finding(Attack::Instance, member, 2);
    let again = stage.deliver(&other).await;
    assert_eq!(again.state(), State::Contained);
    assert_ne!(again.response().id, delivered.response().id);
}

/// What failed is taken up again from what was recorded: a new plan would take
/// our own half of the change for the original.
#[tokio::test(start_paused = true)]
async fn an_update_of_a_finding_resumes_its_failed_response() {
    let rule = "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    then: [isolate-instance, revoke-instance-credentials]\n";
    let stage = stage_with(policy(&[rule]), Options::default()).await;
    let member = stage.member("sandbox", 0);
    let before = stage.snapshot(member);
    let mut finding = stage.finding(Attack::Instance, member, 1);
    let denied = Effect::Error { status: 403, code: "AccessDenied".to_owned() };
    stage.world.organization.inject(Fault::always("PutRolePolicy", denied));
    let first = stage.deliver(&finding).await;
    assert_eq!(first.state(), State::PartiallyContained, "{}", first.response().reason);
    stage.world.organization.clear_faults();
    finding["updatedAt"] = "2026-01-01T06:00:00.000Z".into();
    let again = stage.deliver(&finding).await;
    assert_eq!(again.state(), State::Contained, "{}", again.response().reason);
    assert_eq!(again.response().id, first.response().id);
    stage.engine.undo(&first.response().id, whole_undo()).await.unwrap();
    assert_eq!(stage.snapshot(member), before);
}

#[tokio::test(start_paused = true)]
async fn a_partly_applied_isolation_is_never_recorded_as_the_original() {
    let documents = policy(&[
        "attach: r-fb01\nrules:\n  - { name: act, mode: auto, then: [isolate-instance] }\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let member = stage.member("sandbox", 1);
    let managed = |stage: &Stage, by_service: bool| {
        stage.world.organization.edit(|state| {
            let ec2 = state.ec2(&member.account, &member.region);
            let mut own = ec2.interfaces.values_mut();
            let last = own.rfind(|it| it.instance.as_deref() == Some(&member.instance));
            last.unwrap().requester_managed = by_service;
        });
    };
    let before = stage.snapshot(member);
    managed(&stage, true);
    let mut finding = stage.finding(Attack::Instance, member, 1);
    let first = stage.deliver(&finding).await;
    assert_eq!(first.state(), State::Failed, "{}", first.response().reason);
    managed(&stage, false);
    finding["updatedAt"] = "2026-01-01T06:00:00.000Z".into();
    let again = stage.deliver(&finding).await;
    // The recorded plan leaves that interface alone: it says so, and undoes the rest.
    assert_eq!(again.response().id, first.response().id);
    stage.engine.undo(&first.response().id, whole_undo()).await.unwrap();
    assert_eq!(stage.snapshot(member), before);
}

#[tokio::test(start_paused = true)]
async fn a_finding_that_meets_an_abandoned_response_resumes_it_first() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let finding = stage.finding(Attack::Instance, member, 1);
    stage
        .world
        .organization
        .inject(Fault::once("ModifyNetworkInterfaceAttribute", Effect::CrashAfter));
    tokio::select! {
        _ = stage.deliver(&finding) => panic!("it should have died"),
        () = stage.world.organization.crashed() => {}
    }
    stage.world.organization.clear_faults();
    stage.world.organization.advance(SignedDuration::from_secs(301));
    let other = stage.finding(Attack::Instance, member, 2);
    // That process is dead for good.
    let another = stage.another_responder().await;
    let other = event(&other).to_string();
    let delivered = deliver_to(&another, &other).await;
    assert_eq!(delivered.disposition(), Disposition::ExistingResponse);
    assert_eq!(deliver_to(&another, &other).await.disposition(), Disposition::Repeat);
    assert!(!stage.reaches_internet(member));
}

#[tokio::test(start_paused = true)]
async fn another_remote_address_makes_another_response() {
    let documents = policy(&[
        "attach: r-fb01\nrules:\n  - { name: act, mode: auto, then: [block-remote-ip] }\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let member = stage.member("sandbox", 0);
    let probed = |number: usize, address: &str| {
        let mut finding = stage.finding(Attack::Instance, member, number);
        finding["service"]["action"] = serde_json::json!({
            "networkConnectionAction": { "remoteIpDetails": { "ipAddressV4": address } },
        });
        finding
    };
    let first = stage.deliver(&probed(1, "198.51.100.7")).await;
    let second = stage.deliver(&probed(2, "198.51.100.8")).await;
    assert_eq!((first.state(), second.state()), (State::Contained, State::Contained));
    let again = stage.deliver(&probed(3, "198.51.100.8")).await;
    assert_eq!(again.disposition(), Disposition::ExistingResponse);
    stage.engine.undo(&first.response().id, whole_undo()).await.unwrap();
    let left: usize = stage.world.organization.edit(|state| {
        let acls = &state.ec2(&member.account, &member.region).acls;
        let denied = |block: &str| block == "198.51.100.8/32";
        acls.values().flat_map(|acl| acl.entries.values()).filter(|it| denied(&it.block)).count()
    });
    assert_eq!(left, 2, "the second address stays denied, both ways");
}

#[tokio::test(start_paused = true)]
async fn undoing_twice_changes_nothing_the_second_time() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let before = stage.snapshot(member);
    let finding = stage.finding(Attack::Instance, member, 1);
    let id = stage.deliver(&finding).await.response().id.clone();
    stage.engine.undo(&id, whole_undo()).await.unwrap();
    stage.world.organization.forget_calls();
    assert_eq!(stage.engine.undo(&id, whole_undo()).await.unwrap().state, State::Undone);
    assert!(stage.changes().is_empty());
    assert_eq!(stage.snapshot(member), before);
}

#[tokio::test(start_paused = true)]
async fn sixteen_workers_with_the_same_finding_make_one_response() {
    let options = Options { latency: Duration::from_millis(5), ..Options::default() };
    let stage = stage_with(firebreak_demo::example_policy().unwrap(), options).await;
    let member = stage.member("sandbox", 0);
    let message = event(&stage.finding(Attack::Instance, member, 1)).to_string();
    let mut responders = Vec::new();
    for _ in 0..16 {
        responders.push(stage.another_responder().await);
    }
    let mut deliveries = Vec::new();
    for engine in &responders {
        deliveries.push(deliver_to(engine, &message));
    }
    let mut contained = 0;
    for delivered in futures_join(deliveries).await {
        // Whoever comes while another is at it gets the message again.
        if delivered.failed {
            assert!(
                delivered.error().contains("under way") || delivered.error().contains("claimed")
            );
        } else if delivered.disposition() == Disposition::Responded {
            contained += 1;
        }
    }
    assert_eq!(contained, 1);
    let swaps = stage
        .calls()
        .iter()
        .filter(|call| call.operation == "ModifyNetworkInterfaceAttribute")
        .count();
    assert_eq!(swaps, 3, "one interface: closed, opened and closed again, once");
}

async fn futures_join<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// A worker dies at each call in turn, before it and after it; the message is
/// delivered again when the lease has run out.
#[tokio::test(start_paused = true)]
async fn a_crash_at_any_call_ends_contained_and_undone_exactly() {
    let total = {
        let stage = stage().await;
        let finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
        stage.deliver(&finding).await.response();
        stage.calls().len()
    };
    let deaths: Vec<(u32, Effect)> = (0..u32::try_from(total).unwrap())
        .flat_map(|after| [(after, Effect::CrashBefore), (after, Effect::CrashAfter)])
        .collect();
    let deaths = sample("deaths at every call of a containment", deaths);
    for (after, effect) in &deaths {
        let stage = stage().await;
        let member = stage.member("sandbox", 0);
        let before = stage.snapshot(member);
        let finding = stage.finding(Attack::Instance, member, 1);
        let (after, effect) = (*after, effect.clone());
        let death = format!("call {after} {effect:?}");
        stage.world.organization.inject(Fault { after, times: 1, effect, ..Fault::default() });
        let crashed = tokio::select! {
            delivered = stage.deliver(&finding) => { assert!(!delivered.failed); false }
            () = stage.world.organization.crashed() => true,
        };
        assert!(crashed, "{death}");
        stage.world.organization.advance(SignedDuration::from_secs(301));
        let engine = stage.another_responder().await;
        let again = deliver_to(&engine, &event(&finding).to_string()).await;
        assert!(!again.failed, "{death}: {:?}", again.handled.errors);
        stage.settle_with(&engine).await;
        assert!(!stage.reaches_internet(member), "{death}: left open");
        assert_eq!(stage.world.security_hub_status(&finding).as_deref(), Some("RESOLVED"));
        let since = stage.world.began();
        let responses = engine.store.responses(since, engine.now()).await.unwrap();
        assert_eq!(responses.len(), 1, "{death}");
        assert_eq!(responses[0].state, State::Contained, "{death}");
        engine.undo(&responses[0].id, whole_undo()).await.unwrap();
        assert_eq!(stage.snapshot(member), before, "{death}");
    }
    println!("pairs={} lost=0 doubled=0 open=0", deaths.len());
}

/// "Receipt of a finding to the network being cut, warm, calls one after
/// another: <= 5": measured by a latency that is the same for every call.
#[tokio::test(start_paused = true)]
async fn the_network_is_cut_within_five_calls_one_after_another() {
    let latency = Duration::from_millis(100);
    let options = Options { latency, ..Options::default() };
    let stage = stage_with(firebreak_demo::example_policy().unwrap(), options).await;
    let member = stage.member("sandbox", 0);
    // Warm: policy, place and reading session are cached, the VPC has its groups.
    let first = stage.deliver(&stage.finding(Attack::Instance, member, 1)).await;
    assert_eq!(first.state(), State::Contained);
    let target = stage.world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        let vpc = ec2.vpcs.keys().next().unwrap().clone();
        let web = ec2.groups.iter().find(|(_, group)| group.name == "web").unwrap().0.clone();
        ec2.add_instance(&vpc, &[&web])
    });
    let mut second = Attack::Instance.finding(member, 2);
    second["resource"]["instanceDetails"]["instanceId"] = target.as_str().into();
    stage.world.raise(&second);
    stage.world.import(&second);
    stage.world.organization.forget_calls();
    assert_eq!(stage.deliver(&second).await.state(), State::Contained);
    let calls = stage.calls();
    let began = calls.iter().map(|call| call.began).min().unwrap();
    let ends = |operation: &str| -> Vec<Timestamp> {
        calls.iter().filter(|call| call.operation == operation).map(|call| call.ended).collect()
    };
    let after = |at: Timestamp| {
        at.duration_since(began).as_millis() / i128::try_from(latency.as_millis()).unwrap()
    };
    // No new connection is possible; then the tracked ones are ended, and it is read back.
    let swaps = ends("ModifyNetworkInterfaceAttribute");
    let one_after_another = after(*swaps.iter().min().unwrap());
    let ended = after(*swaps.iter().max().unwrap());
    let last = *swaps.iter().max().unwrap();
    let verified = |call: &&CallRecord| call.service == "ec2" && call.began >= last;
    let verified = calls.iter().filter(verified).map(|call| call.ended).min().unwrap();
    let verified = verified + SignedDuration::try_from(latency).unwrap();
    let to_contained = calls.iter().filter(|call| call.ended <= verified).count();
    println!(
        "warm EC2 containment: {to_contained} calls, {one_after_another} one after another from receipt to no new connection, {ended} to the end of tracked ones"
    );
    for call in &calls {
        println!("  {} {}:{}", call.began, call.service, call.operation);
    }
    assert!(one_after_another <= 5, "{one_after_another}");
    assert!(ended <= 8, "{ended}");
    assert!(to_contained <= 20, "{to_contained} calls");
}
