//! Taking responses back: whole or by step, over drift, with holds, by the clock.

use firebreak_demo::world::Attack;
use firebreak_engine::Disposition;
use firebreak_response::record::{Drift, State, StepState, Undo, UndoCause};
use firebreak_simulation::{Effect, Fault, Options};
use jiff::SignedDuration;

use crate::scenarios::stage::{Stage, policy, stage, stage_with, whole_undo};
use firebreak_testkit::arrange::put_into_another_group;

async fn contained(stage: &Stage) -> firebreak_response::record::Response {
    let member = stage.member("sandbox", 0);
    let delivered = stage.deliver(&stage.finding(Attack::Instance, member, 1)).await;
    assert_eq!(delivered.state(), State::Contained, "{}", delivered.response().reason);
    delivered.response().clone()
}

#[tokio::test(start_paused = true)]
async fn after_an_undo_with_a_suppression_no_finding_of_the_type_contains_until_it_expires() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let response = contained(&stage).await;
    let until = stage.engine.now() + SignedDuration::from_hours(24);
    let request = Undo { suppress_until: Some(until), ..whole_undo() };
    let undone = stage.engine.undo(&response.id, request).await.unwrap();
    assert_eq!(undone.state, State::Undone);
    let other = stage.finding(Attack::Instance, member, 2);
    let delivered = stage.deliver(&other).await;
    assert_eq!(delivered.disposition(), Disposition::Suppressed);
    assert!(delivered.outcome().reason.contains("a test"), "{}", delivered.outcome().reason);
    assert!(stage.reaches_internet(member));
    // Of another type it is answered.
    let mut another = stage.finding(Attack::Instance, member, 3);
    another["type"] = "CryptoCurrency:EC2/BitcoinTool.B!DNS".into();
    assert_eq!(stage.deliver(&another).await.state(), State::Contained);
}

#[tokio::test(start_paused = true)]
async fn a_suppression_expires() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let response = contained(&stage).await;
    let until = stage.engine.now() + SignedDuration::from_hours(24);
    let request = Undo { suppress_until: Some(until), ..whole_undo() };
    stage.engine.undo(&response.id, request).await.unwrap();
    stage.world.organization.advance(SignedDuration::from_hours(25));
    let other = stage.finding(Attack::Instance, member, 2);
    assert_eq!(stage.deliver(&other).await.state(), State::Contained);
}

#[tokio::test(start_paused = true)]
async fn after_a_release_the_same_finding_contains_again() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let response = contained(&stage).await;
    let until = stage.engine.now() + SignedDuration::from_hours(24);
    let request = Undo { suppress_until: Some(until), ..whole_undo() };
    stage.engine.undo(&response.id, request).await.unwrap();
    let finding = stage.finding(Attack::Instance, member, 1);
    assert_eq!(stage.deliver(&finding).await.disposition(), Disposition::Repeat);
    stage.engine.release(&response.id).await.unwrap();
    assert_eq!(stage.deliver(&finding).await.state(), State::Contained);
}

#[tokio::test(start_paused = true)]
async fn a_suppression_without_an_undo_leaves_what_is_contained() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let response = contained(&stage).await;
    let until = stage.engine.now() + SignedDuration::from_hours(1);
    let reason = Some("a forensics team is at it".to_owned());
    stage.engine.suppress(&response.id, until, reason).await.unwrap();
    let delivered = stage.deliver(&stage.finding(Attack::Instance, member, 2)).await;
    assert_eq!(delivered.disposition(), Disposition::Suppressed);
    assert!(delivered.outcome().reason.contains("a forensics team"));
    assert!(!stage.reaches_internet(member));
}

#[tokio::test(start_paused = true)]
async fn one_step_is_undone_and_the_others_stay_in_force() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let before = stage.snapshot(member);
    let response = contained(&stage).await;
    let step = Some("revoke-instance-credentials".to_owned());
    let request = Undo { step, ..whole_undo() };
    let after = stage.engine.undo(&response.id, request).await.unwrap();
    // One of the two that cut the attacker off is off: that is not contained.
    assert_eq!(after.state, State::PartiallyContained, "{}", after.reason);
    assert!(!stage.reaches_internet(member));
    let of = |name: &str| after.steps.iter().find(|it| it.action == name).unwrap().state;
    assert_eq!(of("revoke-instance-credentials"), StepState::Undone);
    assert_eq!(of("isolate-instance"), StepState::Done);
    // The rest comes back with the whole.
    let whole = stage.engine.undo(&response.id, whole_undo()).await.unwrap();
    assert_eq!(whole.state, State::Undone, "{}", whole.reason);
    assert_eq!(stage.snapshot(member), before);
}

#[tokio::test(start_paused = true)]
async fn undoing_one_step_leaves_a_response_with_a_failed_step_partially_contained() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let denied = Effect::Error { status: 403, code: "AccessDenied".to_owned() };
    stage.world.organization.inject(Fault::always("PutRolePolicy", denied));
    let delivered = stage.deliver(&stage.finding(Attack::Instance, member, 1)).await;
    assert_eq!(delivered.state(), State::PartiallyContained, "{}", delivered.response().reason);
    stage.world.organization.clear_faults();
    let request = Undo { step: Some("isolate-instance".to_owned()), ..whole_undo() };
    let after = stage.engine.undo(&delivered.response().id, request).await.unwrap();
    // The failed step took the instance profile off before it failed.
    assert_eq!(after.state, State::PartiallyContained, "{}", after.reason);
    assert!(after.reason.contains("revoke-instance-credentials"), "{}", after.reason);
}

#[tokio::test(start_paused = true)]
async fn an_undo_of_a_missing_step_names_the_steps_that_there_are() {
    let stage = stage().await;
    let response = contained(&stage).await;
    let request = Undo { step: Some("snapshot-volumes".to_owned()), ..whole_undo() };
    let error = stage.engine.undo(&response.id, request).await.unwrap_err().to_string();
    assert!(error.contains("no step `snapshot-volumes`, but isolate-instance"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn drift_is_overwritten_by_an_undo_only_when_asked_for() {
    for drift in [Drift::Leave, Drift::Overwrite] {
        let stage = stage().await;
        let member = stage.member("sandbox", 0);
        let groups = |stage: &Stage| {
            stage.world.organization.edit(|state| {
                let ec2 = state.ec2(&member.account, &member.region);
                ec2.interfaces_of(&member.instance).map(|(_, it)| it.groups.clone()).next().unwrap()
            })
        };
        let before = groups(&stage);
        let response = contained(&stage).await;
        put_into_another_group(&stage.world, member);
        let theirs = groups(&stage);
        let request = Undo { drift, ..whole_undo() };
        let undone = stage.engine.undo(&response.id, request).await.unwrap();
        assert_eq!(undone.state, State::Undone, "{}", undone.reason);
        let expected = if drift == Drift::Leave { &theirs } else { &before };
        assert_eq!(groups(&stage), *expected, "{drift:?}: {}", undone.reason);
        assert_eq!(undone.reason.contains("changed meanwhile"), drift == Drift::Leave);
    }
}

fn expiring() -> firebreak_policy::Policy {
    policy(&[
        "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    then: [isolate-instance]\n    expires: 2h\n",
    ])
}

#[tokio::test(start_paused = true)]
async fn a_containment_is_undone_when_it_expires() {
    let stage = stage_with(expiring(), Options::default()).await;
    let member = stage.member("sandbox", 0);
    let before = stage.snapshot(member);
    let response = contained(&stage).await;
    assert_eq!(response.due, Some(response.updated + SignedDuration::from_hours(2)));
    assert!(stage.engine.sweep().await.responses.is_empty());
    assert!(!stage.reaches_internet(member));
    stage.world.organization.advance(SignedDuration::from_hours(2) + SignedDuration::from_secs(5));
    let ended = stage.engine.sweep().await.responses;
    let [Ok(undone)] = ended.as_slice() else { panic!("{ended:?}") };
    assert_eq!((undone.state, undone.id.clone()), (State::Expired, response.id));
    assert!(undone.reason.starts_with("expired after 2h"), "{}", undone.reason);
    assert_eq!(undone.undo.as_ref().unwrap().cause, UndoCause::Expiry);
    assert_eq!(stage.snapshot(member), before);
    assert!(stage.engine.sweep().await.responses.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_end_that_fails_is_tried_again_by_the_next_sweep() {
    let stage = stage_with(expiring(), Options::default()).await;
    let member = stage.member("sandbox", 0);
    let before = stage.snapshot(member);
    contained(&stage).await;
    stage.world.organization.advance(SignedDuration::from_hours(3));
    stage.world.organization.inject(Fault::always(
        "ModifyNetworkInterfaceAttribute",
        Effect::Error { status: 403, code: "UnauthorizedOperation".to_owned() },
    ));
    let ended = stage.engine.sweep().await.responses;
    let [Ok(failed)] = ended.as_slice() else { panic!("{ended:?}") };
    assert_eq!(failed.state, State::PartiallyContained, "{}", failed.reason);
    assert!(!stage.reaches_internet(member));
    stage.world.organization.clear_faults();
    stage.world.organization.advance(SignedDuration::from_secs(16));
    let ended = stage.engine.sweep().await.responses;
    let [Ok(undone)] = ended.as_slice() else { panic!("{ended:?}") };
    assert_eq!(undone.state, State::Expired, "{}", undone.reason);
    assert_eq!(stage.snapshot(member), before);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_a_person_undid_does_not_expire() {
    let stage = stage_with(expiring(), Options::default()).await;
    let response = contained(&stage).await;
    stage.engine.undo(&response.id, whole_undo()).await.unwrap();
    stage.world.organization.advance(SignedDuration::from_hours(3));
    assert!(stage.engine.sweep().await.responses.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_finding_that_recurs_after_expiry_is_handled_again() {
    let stage = stage_with(expiring(), Options::default()).await;
    let member = stage.member("sandbox", 0);
    let mut finding = stage.finding(Attack::Instance, member, 1);
    assert_eq!(stage.deliver(&finding).await.state(), State::Contained);
    stage.world.organization.advance(SignedDuration::from_hours(3));
    assert_eq!(stage.engine.sweep().await.failures(), Vec::<String>::new());
    // The same message once more says nothing new.
    assert_eq!(stage.deliver(&finding).await.disposition(), Disposition::Repeat);
    finding["updatedAt"] = "2026-01-02T00:00:00.000Z".into();
    assert_eq!(stage.deliver(&finding).await.state(), State::Contained);
    assert!(!stage.reaches_internet(member));
}

#[tokio::test(start_paused = true)]
async fn drift_that_an_undo_left_alone_can_be_overwritten_afterwards() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let before = stage.snapshot(member);
    let response = contained(&stage).await;
    let theirs = put_into_another_group(&stage.world, member);
    let left = stage.engine.undo(&response.id, whole_undo()).await.unwrap();
    assert!(left.reason.contains("changed meanwhile"), "{}", left.reason);
    let request = Undo { drift: Drift::Overwrite, ..whole_undo() };
    let whole = stage.engine.undo(&response.id, request).await.unwrap();
    assert_eq!(
        (whole.state, whole.reason.as_str()),
        (State::Undone, "restored to its state before the response")
    );
    stage.world.organization.edit(|state| {
        state.ec2(&member.account, &member.region).groups.remove(&theirs);
    });
    assert_eq!(stage.snapshot(member), before);
}

#[tokio::test(start_paused = true)]
async fn an_undo_of_what_never_succeeded_does_not_claim_that_the_prior_state_is_back() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    stage.world.organization.edit(|state| {
        state.ec2(&member.account, &member.region).terminate(&member.instance);
    });
    let finding = stage.finding(Attack::Instance, &member, 1);
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.state(), State::Failed);
    let undone = stage.engine.undo(&delivered.response().id, whole_undo()).await.unwrap();
    assert_eq!(undone.state, State::Undone);
    let reason = "no step had succeeded; any change that they made is restored";
    assert_eq!(undone.reason, reason);
}

#[tokio::test(start_paused = true)]
async fn a_forced_undo_of_a_deleted_resource_changes_nothing() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let response = contained(&stage).await;
    stage.world.organization.edit(|state| {
        state.ec2(&member.account, &member.region).terminate(&member.instance);
    });
    let request = Undo { drift: Drift::Overwrite, ..whole_undo() };
    let undone = stage.engine.undo(&response.id, request).await.unwrap();
    assert_eq!(undone.state, State::Undone, "{}", undone.reason);
    assert!(
        undone.reason.contains("not undone: 3 of 3 steps changed meanwhile"),
        "{}",
        undone.reason
    );
}

#[tokio::test(start_paused = true)]
async fn an_instance_returns_to_service_after_its_network_and_not_without_it() {
    let documents = policy(&[
        "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    then: [isolate-instance, protect-instance]\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let response = contained(&stage).await;
    let member = stage.member("sandbox", 0).clone();
    let denied = Effect::Error { status: 403, code: "UnauthorizedOperation".to_owned() };
    let refused =
        Fault::always("ModifyNetworkInterfaceAttribute", denied).in_account(&member.account);
    stage.world.organization.inject(refused);
    let undone = stage.engine.undo(&response.id, whole_undo()).await.unwrap();
    let of = |action: &str| undone.steps.iter().find(|it| it.action == action).unwrap().state;
    assert_eq!(of("protect-instance"), StepState::Done, "{}", undone.reason);
    assert!(undone.reason.contains("not returned to service"), "{}", undone.reason);
    stage.world.organization.clear_faults();
    stage.world.organization.take_calls();
    let undone = stage.engine.undo(&response.id, whole_undo()).await.unwrap();
    assert_eq!(undone.state, State::Undone, "{}", undone.reason);
    let calls = stage.world.organization.take_calls();
    let last = |operation: &str| calls.iter().rposition(|it| it.operation == operation).unwrap();
    let first = |operation: &str| calls.iter().position(|it| it.operation == operation).unwrap();
    assert!(last("ModifyNetworkInterfaceAttribute") < first("ModifyInstanceAttribute"));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_stays_isolated_by_drift_returns_to_service_only_by_force() {
    let documents = policy(&[
        "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    then: [isolate-instance, protect-instance]\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let response = contained(&stage).await;
    let member = stage.member("sandbox", 0).clone();
    put_into_another_group(&stage.world, &member);
    let state_of = |response: &firebreak_response::record::Response, action: &str| {
        response.steps.iter().find(|it| it.action == action).unwrap().state
    };
    let undone = stage.engine.undo(&response.id, whole_undo()).await.unwrap();
    assert_eq!(state_of(&undone, "isolate-instance"), StepState::Drifted);
    assert_eq!(state_of(&undone, "protect-instance"), StepState::Drifted, "{}", undone.reason);
    let protected = |stage: &Stage| {
        stage.world.organization.edit(|state| {
            let ec2 = state.ec2(&member.account, &member.region);
            ec2.instances[&member.instance].termination_protection
        })
    };
    assert!(protected(&stage));
    let request = Undo { drift: Drift::Overwrite, ..whole_undo() };
    let undone = stage.engine.undo(&response.id, request).await.unwrap();
    assert_eq!(state_of(&undone, "protect-instance"), StepState::Undone, "{}", undone.reason);
    assert!(!protected(&stage));
}
