//! Each action: contained, verified by what the attacker can still do, undone exactly.

use aws_credential_types::Credentials;
use firebreak_demo::world::Attack;
use firebreak_response::record::{State, StepState};
use firebreak_simulation::Options;
use firebreak_simulation::ec2::model::{Peer, Rule};
use firebreak_simulation::s3::model::PublicAccessBlock;
use serde_json::json;

use crate::scenarios::stage::{Stage, policy, stage, stage_with, whole_undo};
use firebreak_testkit::arrange::put_into_another_group;

async fn contain_and_undo(stage: &Stage, attack: Attack, unit: &str, nth: usize) {
    let member = stage.member(unit, nth);
    let before = stage.snapshot(member);
    let finding = stage.finding(attack, member, 1);
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.state(), State::Contained, "{}", delivered.response().reason);
    assert_eq!(stage.world.security_hub_status(&finding).as_deref(), Some("RESOLVED"));
    assert_ne!(stage.snapshot(member), before);
    let undone = stage.engine.undo(&delivered.response().id, whole_undo()).await.unwrap();
    assert_eq!(undone.state, State::Undone, "{}", undone.reason);
    assert_eq!(stage.world.security_hub_status(&finding).as_deref(), Some("NEW"));
    assert_eq!(stage.snapshot(member), before);
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_isolated_and_restored() {
    contain_and_undo(&stage().await, Attack::Instance, "sandbox", 0).await;
}

#[tokio::test(start_paused = true)]
async fn every_interface_in_every_vpc_is_isolated() {
    let stage = stage().await;
    let member = stage.member("sandbox", 1);
    let interfaces = stage.world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        ec2.interfaces_of(&member.instance).map(|(_, it)| it.vpc.clone()).collect::<Vec<_>>()
    });
    assert_eq!(interfaces.len(), 3);
    assert_ne!(interfaces[0], interfaces[2]);
    let finding = stage.finding(Attack::Instance, member, 1);
    assert!(stage.reaches_internet(member));
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.state(), State::Contained, "{}", delivered.response().reason);
    assert!(!stage.reaches_internet(member));
    stage.world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        for (id, interface) in ec2.interfaces_of(&member.instance) {
            let [group] = interface.groups.as_slice() else { panic!("{id}: {interface:?}") };
            let group = &ec2.groups[group];
            assert!(group.ingress.is_empty() && group.egress.is_empty(), "{id}: {group:?}");
        }
    });
}

#[tokio::test(start_paused = true)]
async fn an_instance_of_three_interfaces_is_restored_exactly() {
    contain_and_undo(&stage().await, Attack::Instance, "sandbox", 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_isolation_group_with_added_rules_is_repaired() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    stage.world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        let vpc = ec2.vpcs.keys().next().unwrap().clone();
        let group = ec2.add_group(&vpc, "firebreak-isolation");
        let rule = Rule::all(Peer::Ipv4("0.0.0.0/0".to_owned()));
        ec2.groups.get_mut(&group).unwrap().ingress.insert(rule);
    });
    let finding = stage.finding(Attack::Instance, member, 1);
    assert_eq!(stage.deliver(&finding).await.state(), State::Contained);
    assert!(!stage.reaches_internet(member));
}

#[tokio::test(start_paused = true)]
async fn stolen_instance_credentials_stop_working_and_other_instances_keep_working() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    let organization = &stage.world.organization;
    let neighbour = organization.role_session(&member.account, "web-server", "i-0neighbour");
    let arn = format!("arn:aws:s3:::{}", member.bucket);
    let reads = |credentials: &Credentials| {
        organization.attempt(credentials, &member.region, "s3:ListBucket", &arn).is_ok()
    };
    assert!(reads(&member.instance_credentials) && reads(&neighbour));
    let finding = stage.finding(Attack::Instance, &member, 1);
    assert_eq!(stage.deliver(&finding).await.state(), State::Contained);
    assert!(!reads(&member.instance_credentials));
    assert!(reads(&neighbour), "a session of the same role on another instance was hit");
}

#[tokio::test(start_paused = true)]
async fn a_user_s_key_stops_working_and_the_role_of_the_same_name_keeps_working() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    let organization = &stage.world.organization;
    let arn = format!("arn:aws:s3:::{}", member.bucket);
    let reads = |credentials: &Credentials| {
        organization.attempt(credentials, &member.region, "s3:ListBucket", &arn).is_ok()
    };
    let key = organization.user_credentials(&member.key);
    assert!(reads(&key) && reads(&member.role_session));
    let finding = stage.finding(Attack::UserKey, &member, 1);
    assert_eq!(stage.deliver(&finding).await.state(), State::Contained);
    assert!(!reads(&key));
    assert!(reads(&member.role_session), "the role of the same name was hit");
}

#[tokio::test(start_paused = true)]
async fn a_role_s_sessions_end_and_the_user_of_the_same_name_keeps_working() {
    let rule = "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    then: [deactivate-access-key, revoke-sessions]\n";
    let stage = stage_with(policy(&[rule]), Options::default()).await;
    let member = stage.member("sandbox", 0).clone();
    let organization = &stage.world.organization;
    let arn = format!("arn:aws:s3:::{}", member.bucket);
    let reads = |credentials: &Credentials| {
        organization.attempt(credentials, &member.region, "s3:ListBucket", &arn).is_ok()
    };
    let finding = stage.finding(Attack::RoleSession, &member, 1);
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.state(), State::Contained);
    // A session has no key to turn off: said, not failed.
    let skipped = &delivered.response().steps[0];
    assert_eq!(
        (skipped.action.as_str(), skipped.state),
        ("deactivate-access-key", StepState::Skipped)
    );
    assert!(!reads(&member.role_session));
    assert!(reads(&organization.user_credentials(&member.key)), "the user was hit");
    // Whoever signs in again afterwards is let in.
    organization.advance(jiff::SignedDuration::from_secs(31));
    assert!(reads(&organization.role_session(&member.account, &member.user, "later")));
}

#[tokio::test(start_paused = true)]
async fn keys_and_sessions_are_restored_exactly() {
    let stage = stage().await;
    contain_and_undo(&stage, Attack::UserKey, "sandbox", 0).await;
    contain_and_undo(&stage, Attack::RoleSession, "sandbox", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_off_already_stays_off_after_the_undo() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    stage.world.organization.edit(|state| {
        let user = state.iam(&member.account).users.get_mut(&member.user).unwrap();
        user.keys.insert(member.key.clone(), false);
    });
    contain_and_undo(&stage, Attack::UserKey, "sandbox", 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_public_bucket_is_closed_and_its_absent_block_is_absent_again() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let open = || stage.world.organization.edit(|state| state.s3.anyone_can_read(&member.bucket));
    assert!(open());
    let finding = stage.finding(Attack::Bucket, member, 1);
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.state(), State::Contained, "{}", delivered.response().reason);
    assert!(!open());
    stage.engine.undo(&delivered.response().id, whole_undo()).await.unwrap();
    assert!(open());
    contain_and_undo(&stage, Attack::Bucket, "sandbox", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_whole_account_is_closed_by_parameter_and_its_flags_are_restored() {
    let documents = policy(&[
        "attach: r-fb01\nrules:\n  - name: close-account\n    when: { resource: { type: [S3Bucket] } }\n    mode: auto\n    then:\n      - block-public-access: { account: true }\n",
    ]);
    let stage = stage_with(documents, firebreak_simulation::Options::default()).await;
    let member = stage.member("sandbox", 0);
    let before = PublicAccessBlock { block_public_acls: true, ..PublicAccessBlock::default() };
    stage.world.organization.edit(|state| {
        state.s3.account_blocks.insert(member.account.clone(), before);
    });
    contain_and_undo(&stage, Attack::Bucket, "sandbox", 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_later_change_is_reported_and_not_overwritten() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let finding = stage.finding(Attack::Instance, member, 1);
    let delivered = stage.deliver(&finding).await;
    let chosen = put_into_another_group(&stage.world, member);
    let undone = stage.engine.undo(&delivered.response().id, whole_undo()).await.unwrap();
    assert_eq!(undone.state, State::Undone);
    let step = undone.steps.iter().find(|step| step.action == "isolate-instance").unwrap();
    assert_eq!(step.state, StepState::Drifted, "{}", step.detail);
    assert!(step.detail.contains(&chosen), "{}", step.detail);
    stage.world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        assert!(ec2.interfaces.values().all(|it| it.groups == [chosen.clone()]));
    });
}

#[tokio::test(start_paused = true)]
async fn a_response_carries_its_id_into_the_member_s_trail() {
    let stage = stage().await;
    let finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    let delivered = stage.deliver(&finding).await;
    let id = delivered.response().id.to_string();
    let changes: Vec<_> = stage
        .calls()
        .into_iter()
        .filter(|call| call.mutating && matches!(call.service.as_str(), "ec2" | "iam"))
        .collect();
    assert!(changes.len() >= 4, "{changes:?}");
    for call in changes {
        assert_eq!(call.source_identity.as_deref(), Some(id.as_str()), "{call:?}");
    }
    // The shared session reads and could not change anything if it tried.
    let reading = stage
        .calls()
        .into_iter()
        .filter(|call| call.source_identity.as_deref() == Some("firebreak-read"));
    assert!(reading.into_iter().all(|call| !call.mutating));
    assert_eq!(json!(delivered.response().state), json!("contained"));
}
