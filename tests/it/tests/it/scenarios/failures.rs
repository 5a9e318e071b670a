//! What goes wrong is told, retried or refused; nothing is claimed that did not happen.

use firebreak_demo::world::Attack;
use firebreak_response::record::{State, StepState};
use firebreak_simulation::{Effect, Fault};
use jiff::SignedDuration;

use crate::scenarios::stage::stage;

#[tokio::test(start_paused = true)]
async fn a_missing_spoke_role_is_recorded_with_what_to_do() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    stage
        .world
        .organization
        .edit(|state| state.iam(&member.account).roles.remove("FirebreakSpoke"));
    let finding = stage.finding(Attack::Instance, &member, 1);
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.state(), State::Refused);
    let reason = &delivered.response().reason;
    assert!(
        reason.contains("FirebreakSpoke") && reason.contains("stacksets/spoke.yaml"),
        "{reason}"
    );
    // A storm in such an account does not become a storm of AssumeRole.
    let other = stage.finding(Attack::UserKey, &member, 2);
    stage.deliver(&other).await.response();
    let asked = stage.calls().iter().filter(|call| call.operation == "AssumeRole").count();
    assert!(asked <= 2, "{asked}");
    // Once the role is there, the finding's next update is acted on.
    firebreak_demo::world::add_spoke_role(&stage.world.organization, &member.account);
    stage.world.organization.advance(SignedDuration::from_secs(61));
    let mut update = finding;
    update["updatedAt"] = "2026-01-01T06:00:00.000Z".into();
    assert_eq!(stage.deliver(&update).await.state(), State::Contained);
}

#[tokio::test(start_paused = true)]
async fn a_session_of_another_account_is_not_used() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    let other = stage.member("production", 0).clone();
    let before = (stage.snapshot(&member), stage.snapshot(&other));
    stage.world.organization.edit(|state| {
        state.misdirected_sessions.insert(member.account.clone(), other.account.clone());
    });
    let finding = stage.finding(Attack::Instance, &member, 1);
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.state(), State::Refused);
    let reason = &delivered.response().reason;
    assert!(reason.contains("not of account 200000000001"), "{reason}");
    assert_eq!((stage.snapshot(&member), stage.snapshot(&other)), before);
}

#[tokio::test(start_paused = true)]
async fn a_terminated_or_missing_instance_is_reported_and_nothing_is_changed() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    stage.world.organization.edit(|state| {
        state.ec2(&member.account, &member.region).terminate(&member.instance);
    });
    let before = stage.snapshot(&member);
    let finding = stage.finding(Attack::Instance, &member, 1);
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.state(), State::Failed, "{}", delivered.response().reason);
    let isolate = &delivered.response().steps[0];
    assert_eq!(isolate.state, StepState::Failed);
    assert!(isolate.detail.contains("terminated"), "{}", isolate.detail);
    assert_eq!(stage.snapshot(&member), before);
    assert_eq!(stage.world.security_hub_status(&finding).as_deref(), Some("NOTIFIED"));
}

#[tokio::test(start_paused = true)]
async fn a_denied_permission_fails_its_step_and_not_the_others() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    let denied = Effect::Error { status: 403, code: "UnauthorizedOperation".to_owned() };
    stage.world.organization.inject(Fault::always("CreateTags", denied));
    let finding = stage.finding(Attack::Instance, &member, 1);
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.state(), State::PartiallyContained);
    assert!(!stage.reaches_internet(&member));
    let step = |name: &str| {
        let steps = &delivered.response().steps;
        steps.iter().find(|step| step.action == name).unwrap().clone()
    };
    assert_eq!(step("isolate-instance").state, StepState::Done);
    assert_eq!(step("tag-resource").state, StepState::Failed);
    assert!(step("tag-resource").detail.contains("ec2:CreateTags"), "{:?}", step("tag-resource"));
    assert_eq!(stage.world.security_hub_status(&finding).as_deref(), Some("NOTIFIED"));
}

#[tokio::test(start_paused = true)]
async fn a_throttled_response_is_resumed_by_the_next_delivery() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    let throttled = Effect::Error { status: 503, code: "RequestLimitExceeded".to_owned() };
    let fault = Fault { times: 40, ..Fault::always("ModifyNetworkInterfaceAttribute", throttled) };
    stage.world.organization.inject(fault);
    let finding = stage.finding(Attack::Instance, &member, 1);
    let error = stage.deliver(&finding).await.error();
    assert!(error.contains("RequestLimitExceeded"), "{error}");
    stage.world.organization.clear_faults();
    stage.world.organization.advance(SignedDuration::from_secs(1));
    let again = stage.deliver(&finding).await;
    assert_eq!(again.state(), State::Contained, "{}", again.response().reason);
    assert!(!stage.reaches_internet(&member));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_the_claim_makes_no_second_response() {
    let stage = stage().await;
    stage.world.organization.inject(Fault::once("TransactWriteItems", Effect::LostAnswer));
    let finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.state(), State::Contained);
    assert_eq!(delivered.response().epoch, 1);
}

#[tokio::test(start_paused = true)]
async fn a_finding_that_security_hub_does_not_know_yet_is_updated_later() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    // GuardDuty's own event is faster than its import into Security Hub.
    let finding = Attack::Instance.finding(&member, 1);
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.state(), State::Contained);
    let undelivered = delivered.outcome().undelivered.clone().unwrap();
    assert!(undelivered.contains("does not know"), "{undelivered}");
    assert!(!stage.reaches_internet(&member), "containment does not wait for Security Hub");
    stage.world.import(&finding);
    stage.settle().await;
    assert_eq!(stage.world.security_hub_status(&finding).as_deref(), Some("RESOLVED"));
    // Nothing is left in the outbox.
    stage.world.organization.forget_calls();
    let swept = stage.engine.sweep().await;
    assert_eq!((swept.delivered, swept.pending.len(), swept.given_up.len()), (0, 0, 0));
}

/// GuardDuty's events outlive an integration that is switched off.
#[tokio::test(start_paused = true)]
async fn a_finding_that_security_hub_never_knows_is_given_up_after_half_an_hour_and_recorded() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    let finding = Attack::Instance.finding(&member, 1);
    assert_eq!(stage.deliver(&finding).await.state(), State::Contained);
    let mut dropped = Vec::new();
    let mut minutes = 0;
    while dropped.is_empty() && minutes < 60 {
        minutes += 1;
        stage.world.organization.advance(jiff::SignedDuration::from_mins(1));
        dropped = stage.engine.sweep().await.given_up;
    }
    assert!((30..45).contains(&minutes), "{minutes} minutes");
    assert!(dropped[0].contains("does not know"), "{dropped:?}");
    stage.world.organization.forget_calls();
    stage.settle().await;
    let asked = stage.calls().iter().any(|call| call.service == "securityhub");
    assert!(!asked, "given up is given up");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_read_goes_back_and_names_itself() {
    let stage = stage().await;
    let delivered = stage.deliver_message("{\"Records\": 7}").await;
    let error = delivered.error();
    assert!(error.contains("not a known finding format"), "{error}");
    assert_eq!(stage.calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_failure_of_each_read_leaves_everything_as_it_was() {
    for operation in
        ["GetItem", "DescribeAccount", "AssumeRole", "DescribeInstances", "TransactWriteItems"]
    {
        let stage = stage().await;
        let member = stage.member("sandbox", 0).clone();
        let before = stage.snapshot(&member);
        let broken = Effect::Error { status: 500, code: "InternalError".to_owned() };
        stage.world.organization.inject(Fault::always(operation, broken));
        let finding = stage.finding(Attack::Instance, &member, 1);
        let delivered = stage.deliver(&finding).await;
        assert!(delivered.failed, "{operation}: {:?}", delivered.handled.outcomes);
        assert_eq!(stage.snapshot(&member), before, "{operation}");
        stage.world.organization.clear_faults();
        let again = stage.deliver(&finding).await;
        assert_eq!(again.state(), State::Contained, "{operation}");
    }
}

/// "About 4 s measured until a deny bites": what was read back is true, and it
/// bites when IAM has spread it.
#[tokio::test(start_paused = true)]
async fn iam_s_delay_is_over_before_the_cutoff_that_allows_for_it() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    let organization = &stage.world.organization;
    organization.edit(|state| state.iam_delay = SignedDuration::from_secs(4));
    let finding = stage.finding(Attack::RoleSession, &member, 1);
    assert_eq!(stage.deliver(&finding).await.state(), State::Contained);
    let arn = format!("arn:aws:s3:::{}", member.bucket);
    let reads = |session: &aws_credential_types::Credentials| {
        organization.attempt(session, &member.region, "s3:ListBucket", &arn).is_ok()
    };
    // A session that is issued while the deny spreads does not slip through.
    let late = organization.role_session(&member.account, &member.user, "late");
    assert!(reads(&member.role_session) && reads(&late));
    organization.advance(SignedDuration::from_secs(5));
    assert!(!reads(&member.role_session) && !reads(&late));
}

/// STS packs a session policy, and how large it becomes nobody can tell before.
#[tokio::test(start_paused = true)]
async fn a_session_policy_that_sts_cannot_pack_is_tried_again_with_whole_services() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let refused = Effect::Error { status: 400, code: "PackedPolicyTooLarge".to_owned() };
    stage.world.organization.inject(Fault::once("AssumeRole", refused));
    let delivered = stage.deliver(&stage.finding(Attack::Instance, member, 1)).await;
    assert_eq!(delivered.state(), State::Contained, "{}", delivered.response().reason);
}
