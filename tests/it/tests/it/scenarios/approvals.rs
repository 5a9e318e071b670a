//! Plans that wait for a person: approved, denied, forgotten, overtaken.

use firebreak_demo::world::Attack;
use firebreak_engine::Disposition;
use firebreak_policy::Policy;
use firebreak_response::pauses::PauseScope;
use firebreak_response::record::{ApprovalCause, ApprovalDecision, Approver, Response, State};
use firebreak_simulation::{Effect, Fault, Options};
use jiff::SignedDuration;

use crate::scenarios::stage::{Stage, policy, stage_with, whole_undo};

fn asking(approve: &str) -> Policy {
    policy(&[&format!(
        "attach: r-fb01\nprotect:\n  tags: [{{ firebreak: exempt }}]\nrules:\n  - name: ask\n    mode: approve\n    confirm: false\n    then: [isolate-instance]\n{approve}"
    )])
}

async fn waiting(stage: &Stage) -> Response {
    let member = stage.member("sandbox", 0);
    let delivered = stage.deliver(&stage.finding(Attack::Instance, member, 1)).await;
    assert_eq!(delivered.state(), State::AwaitingApproval);
    assert!(stage.reaches_internet(member), "nothing is changed before somebody says yes");
    delivered.response().clone()
}

async fn now(stage: &Stage, response: &Response) -> Response {
    stage.engine.store.response(&response.id).await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_approved_plan_is_executed_and_records_who_approved_it_and_why() {
    let stage = stage_with(asking(""), Options::default()).await;
    let member = stage.member("sandbox", 0);
    let before = stage.snapshot(member);
    let plan = waiting(&stage).await;
    assert_eq!(plan.approval.as_ref().unwrap().cause, ApprovalCause::Policy);
    let done = stage.engine.approve(&plan.id, Some("it is real".to_owned()), None).await.unwrap();
    assert_eq!(done.state, State::Contained, "{}", done.reason);
    let answer = done.approval.as_ref().unwrap().answer.clone().unwrap();
    assert_eq!(answer.decision, ApprovalDecision::Approved);
    assert_eq!(
        answer.by.to_string(),
        "arn:aws:sts::100000000002:assumed-role/FirebreakHub/firebreak"
    );
    assert_eq!(answer.reason.as_deref(), Some("it is real"));
    assert!(!stage.reaches_internet(member));
    let finding = Attack::Instance.finding(member, 1);
    // The rule leaves the credentials of the instance, which a person has to know.
    assert_eq!(done.residual()[0].path, "instance-credentials");
    assert_eq!(stage.world.security_hub_status(&finding).as_deref(), Some("NOTIFIED"));
    stage.engine.undo(&plan.id, whole_undo()).await.unwrap();
    assert_eq!(stage.snapshot(member), before);
}

#[tokio::test(start_paused = true)]
async fn a_denied_approval_is_not_requested_again_by_updates_of_the_finding() {
    let stage = stage_with(asking(""), Options::default()).await;
    let member = stage.member("sandbox", 0);
    let plan = waiting(&stage).await;
    let denied = stage.engine.deny(&plan.id, Some("a test of ours".to_owned())).await.unwrap();
    assert_eq!(denied.state, State::Denied);
    assert!(denied.reason.ends_with(": a test of ours"), "{}", denied.reason);
    let mut finding = Attack::Instance.finding(member, 1);
    finding["updatedAt"] = "2026-01-01T06:00:00.000Z".into();
    assert_eq!(stage.deliver(&finding).await.disposition(), Disposition::Repeat);
    assert!(stage.reaches_internet(member));
    // Another finding is another question; and a release asks the same again.
    let other = stage.deliver(&stage.finding(Attack::Instance, member, 2)).await;
    assert_eq!(other.state(), State::AwaitingApproval);
}

#[tokio::test(start_paused = true)]
async fn only_a_waiting_plan_can_be_approved_or_denied_and_only_once() {
    let stage = stage_with(asking(""), Options::default()).await;
    let plan = waiting(&stage).await;
    stage.engine.approve(&plan.id, None, None).await.unwrap();
    let error = stage.engine.deny(&plan.id, None).await.unwrap_err().to_string();
    assert!(error.contains("is contained and does not await approval"), "{error}");
    let error = stage.engine.approve(&plan.id, None, None).await.unwrap_err().to_string();
    assert!(error.contains("is contained and does not await approval"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn two_concurrent_approvals_execute_the_plan_once() {
    let options = Options { latency: std::time::Duration::from_millis(20), ..Options::default() };
    let stage = stage_with(asking(""), options).await;
    let plan = waiting(&stage).await;
    stage.world.organization.forget_calls();
    let other = stage.another_responder().await;
    let (one, two) = tokio::join!(
        stage.engine.approve(&plan.id, None, None),
        other.approve(&plan.id, None, None)
    );
    assert_eq!([&one, &two].iter().filter(|it| it.is_ok()).count(), 1, "{one:?}\n{two:?}");
    let changed = stage.changes().iter().filter(|it| it.contains("ModifyNetworkInterface")).count();
    assert_eq!(changed, 3, "closed, opened and closed again, once");
}

#[tokio::test(start_paused = true)]
async fn a_plan_whose_changes_differ_by_now_needs_another_approval() {
    let stage = stage_with(asking(""), Options::default()).await;
    let member = stage.member("sandbox", 0);
    let plan = waiting(&stage).await;
    stage.world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        let vpc = ec2.vpcs.keys().next().unwrap().clone();
        let added = ec2.add_group(&vpc, "added");
        ec2.interfaces.values_mut().for_each(|it| it.groups.push(added.clone()));
    });
    let before = stage.snapshot(member);
    let error = stage.engine.approve(&plan.id, None, None).await.unwrap_err().to_string();
    assert!(error.contains("it has to be approved again"), "{error}");
    assert_eq!(stage.snapshot(member), before, "nothing was changed");
    assert_ne!(now(&stage, &plan).await.steps, plan.steps);
    let done = stage.engine.approve(&plan.id, None, None).await.unwrap();
    assert_eq!(done.state, State::Contained);
    stage.engine.undo(&plan.id, whole_undo()).await.unwrap();
    assert_eq!(stage.snapshot(member), before);
}

#[tokio::test(start_paused = true)]
async fn a_protection_that_came_since_is_respected() {
    let stage = stage_with(asking(""), Options::default()).await;
    let member = stage.member("sandbox", 0);
    let plan = waiting(&stage).await;
    stage.world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        let tags = ec2.tags.entry(member.instance.clone()).or_default();
        tags.insert("firebreak".to_owned(), "exempt".to_owned());
    });
    let error = stage.engine.approve(&plan.id, None, None).await.unwrap_err().to_string();
    assert!(error.contains("firebreak=exempt"), "{error}");
    assert_eq!(now(&stage, &plan).await.state, State::Refused);
    assert!(stage.reaches_internet(member));
}

#[tokio::test(start_paused = true)]
async fn while_it_is_paused_nothing_is_approved() {
    let stage = stage_with(asking(""), Options::default()).await;
    let plan = waiting(&stage).await;
    stage.engine.pause(&PauseScope::Organization, None, None).await.unwrap();
    let error = stage.engine.approve(&plan.id, None, None).await.unwrap_err().to_string();
    assert!(error.contains("the pause of organization by"), "{error}");
    stage.engine.end_pause(&PauseScope::Organization).await.unwrap();
    assert_eq!(stage.engine.approve(&plan.id, None, None).await.unwrap().state, State::Contained);
}

#[tokio::test(start_paused = true)]
async fn a_plan_without_a_decision_in_time_follows_the_rule_s_otherwise() {
    for (otherwise, expected) in
        [("notify", State::AwaitingApproval), ("act", State::Contained), ("deny", State::Denied)]
    {
        let approve = format!("    approve: {{ within: 30m, otherwise: {otherwise} }}\n");
        let stage = stage_with(asking(&approve), Options::default()).await;
        let plan = waiting(&stage).await;
        assert_eq!(plan.due, Some(plan.created + SignedDuration::from_mins(30)));
        stage.world.organization.advance(SignedDuration::from_mins(29));
        assert!(stage.engine.sweep().await.responses.is_empty(), "{otherwise}");
        assert_eq!(now(&stage, &plan).await.state, State::AwaitingApproval);
        stage.world.organization.advance(SignedDuration::from_mins(2));
        let swept = stage.engine.sweep().await;
        assert_eq!(swept.failures(), Vec::<String>::new(), "{otherwise}");
        let present = now(&stage, &plan).await;
        assert_eq!(present.state, expected, "{otherwise}: {}", present.reason);
        match expected {
            State::AwaitingApproval => {
                assert!(present.due > plan.due, "asked again, and again later");
            }
            _ => assert_eq!(present.approval.unwrap().answer.unwrap().by, Approver::Policy),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn automatic_actions_wait_while_they_are_paused() {
    let stage =
        stage_with(asking("    approve: { within: 30m, otherwise: act }\n"), Options::default())
            .await;
    let member = stage.member("sandbox", 0);
    let plan = waiting(&stage).await;
    let scope = PauseScope::Account(member.account.parse().unwrap());
    stage.engine.pause(&scope, None, None).await.unwrap();
    stage.settle().await;
    assert_eq!(now(&stage, &plan).await.state, State::AwaitingApproval);
    stage.engine.end_pause(&scope).await.unwrap();
    stage.settle().await;
    assert_eq!(now(&stage, &plan).await.state, State::Contained);
}

#[tokio::test(start_paused = true)]
async fn an_approved_plan_whose_worker_dies_is_executed_by_the_sweep() {
    let stage = stage_with(asking(""), Options::default()).await;
    let member = stage.member("sandbox", 0);
    let plan = waiting(&stage).await;
    let fault = Fault::once("ModifyNetworkInterfaceAttribute", Effect::CrashAfter);
    stage.world.organization.inject(fault);
    tokio::select! {
        _ = stage.engine.approve(&plan.id, None, None) => panic!("it should have died"),
        () = stage.world.organization.crashed() => {}
    }
    // That process is dead for good.
    let another = stage.another_responder().await;
    stage.settle_with(&another).await;
    let present = another.store.response(&plan.id).await.unwrap().unwrap();
    assert_eq!(present.state, State::Contained, "{}", present.reason);
    assert!(!stage.reaches_internet(member));
}

#[tokio::test(start_paused = true)]
async fn a_ceiling_that_was_lowered_since_leaves_the_approval_to_a_person() {
    let terms = "    approve: { within: 30m, otherwise: act }\n";
    let stage = stage_with(asking(terms), Options::default()).await;
    let plan = waiting(&stage).await;
    stage
        .push(&policy(&[&format!(
            "attach: r-fb01\nceiling: approve\nrules:\n  - name: ask\n    mode: approve\n    then: [isolate-instance]\n{terms}"
        )]))
        .await;
    stage.world.organization.advance(SignedDuration::from_mins(30));
    stage.world.organization.forget_calls();
    let swept = stage.engine.sweep().await;
    assert_eq!(swept.failures(), Vec::<String>::new());
    let present = now(&stage, &plan).await;
    assert_eq!(present.state, State::AwaitingApproval, "{}", present.reason);
    assert!(present.due > plan.due, "people are asked once more");
    assert!(stage.changes().is_empty(), "{:?}", stage.changes());
    assert!(stage.reaches_internet(stage.member("sandbox", 0)));
    // A person may still say yes.
    let done = stage.engine.approve(&plan.id, None, None).await.unwrap();
    assert_eq!(done.state, State::Contained, "{}", done.reason);
}

#[tokio::test(start_paused = true)]
async fn while_a_budget_is_spent_nothing_acts_without_a_person() {
    let stage = stage_with(
        policy(&[
            "attach: r-fb01\nbudgets: [{ actions: 1, per: 4h }]\nrules:\n  - name: keys\n    when: { resource: { type: [AccessKey] } }\n    mode: auto\n    then: [deactivate-access-key]\n  - name: ask\n    mode: approve\n    approve: { within: 30m, otherwise: act }\n    then: [isolate-instance]\n",
        ]),
        Options::default(),
    )
    .await;
    let plan = waiting(&stage).await;
    let member = stage.member("sandbox", 0);
    let key = stage.deliver(&stage.finding(Attack::UserKey, member, 2)).await;
    assert_eq!(key.state(), State::Contained);
    stage.world.organization.advance(SignedDuration::from_mins(31));
    let swept = stage.engine.sweep().await;
    assert_eq!(swept.failures(), Vec::<String>::new());
    let present = now(&stage, &plan).await;
    assert_eq!(present.state, State::AwaitingApproval, "{}", present.reason);
    assert!(present.due > plan.due && stage.reaches_internet(member));
    // Once the window has moved on, what policy says is done.
    stage.world.organization.advance(SignedDuration::from_hours(5));
    stage.engine.sweep().await;
    assert_eq!(now(&stage, &plan).await.state, State::Contained);
}

/// Who approves means what they were shown.
#[tokio::test(start_paused = true)]
async fn a_plan_that_changed_since_it_was_shown_is_not_executed() {
    let stage = stage_with(asking(""), Options::default()).await;
    let member = stage.member("sandbox", 0);
    let plan = waiting(&stage).await;
    stage.world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        let vpc = ec2.vpcs.keys().next().unwrap().clone();
        let added = ec2.add_group(&vpc, "added");
        ec2.interfaces.values_mut().for_each(|it| it.groups.push(added.clone()));
    });
    // Somebody else approves, which makes it another plan.
    stage.engine.approve(&plan.id, None, None).await.unwrap_err();
    stage.world.organization.forget_calls();
    let error = stage.engine.approve(&plan.id, None, Some(plan.revision)).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("has changed since it was shown"), "{error}");
    assert!(stage.changes().is_empty() && stage.reaches_internet(member));
    let shown = now(&stage, &plan).await;
    assert_eq!(shown.state, State::AwaitingApproval);
    let done = stage.engine.approve(&plan.id, None, Some(shown.revision)).await.unwrap();
    assert_eq!(done.state, State::Contained, "{}", done.reason);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_waits_cannot_be_undone_and_suppresses_nothing() {
    let stage = stage_with(asking(""), Options::default()).await;
    let plan = waiting(&stage).await;
    let until = Some(stage.engine.now() + SignedDuration::from_hours(24));
    let undo = firebreak_response::record::Undo { suppress_until: until, ..whole_undo() };
    let error = stage.engine.undo(&plan.id, undo).await.unwrap_err();
    assert!(error.is_refused(), "{error}");
    let (arn, account) = (plan.resource.arn(), &plan.resource.account);
    let target = stage.engine.store.target(&arn, account).await.unwrap();
    assert!(target.suppressions.is_empty(), "{:?}", target.suppressions);
}
