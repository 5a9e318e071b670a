//! What other responders get wrong, each as a test here. Where another file has
//! the test already, this table says which.
//!
//! | what went wrong elsewhere | the test |
//! |---|---|
//! | only the first record of a batch is read, errors vanish | `intake.rs`; `failures::a_message_that_cannot_be_read_goes_back_and_names_itself` |
//! | other resource types fail without a word | `resources::a_kind_that_no_action_acts_on_is_on_record_and_nothing_is_claimed` |
//! | the hub's own account is changed | `failures::a_session_of_another_account_is_not_used` |
//! | credentials are kept past their expiry | `a_session_that_ran_out_is_opened_anew` |
//! | a reused group's rules are not checked, IPv6 stays open | `containment::an_isolation_group_with_added_rules_is_repaired` |
//! | an instance with several interfaces is rejected | `containment::every_interface_in_every_vpc_is_isolated` |
//! | nothing can be restored | `containment::*`, `undo::*`, and the laws of all actions |
//! | newer sessions survive the revocation | `actions/targets.rs`, `sessions_that_began_before_end_and_later_ones_do_not` |
//! | only the first bucket of a finding is closed | `resources::every_bucket_of_a_finding_is_closed_and_the_caller_s_key_as_well` |
//! | isolation comes last and never after an error | `failures::a_denied_permission_fails_its_step_and_not_the_others` |
//! | success is announced for terminated instances and samples | `failures::a_terminated_or_missing_instance_…`, `policies::samples_and_archived_findings_cost_no_call` |
//! | each repeat takes snapshots again | `a_repeat_takes_no_second_snapshot` |
//! | the second response records the quarantine as the original | `a_second_rule_s_response_does_not_take_the_quarantine_for_the_original` |
//! | many groups overflow the tag that should keep them | `sixteen_groups_are_restored_in_their_order` |
//! | a role's finding hits the user of the same name | `containment::a_role_s_sessions_end_and_the_user_of_the_same_name_keeps_working` |
//! | the same finding runs twice by two paths | `engine::by_guardduty_and_by_security_hub_there_is_one_response` |
//! | an opt-in Region fails without a reason | `a_region_that_is_not_enabled_is_reported` |
//! | dry run changes things | `a_plan_changes_nothing` |
//! | "remediated" although nothing ran | `a_response_whose_actions_do_not_apply_is_not_called_contained` |
//! | platform-owned roles are touched | `actions/targets.rs`, `protected_roles_are_refused_by_every_action_that_changes_roles` |
//! | Auto Scaling ends the instance kept for analysis | `auto_scaling_does_not_end_what_is_kept_for_analysis` |
//! | snapshots under the default key cannot be shared | `actions/evidence.rs` |
//! | throttling drops work | `failures::what_is_throttled_is_taken_up_again_by_the_next_delivery` |

use firebreak_aws::settings::Settings;
use firebreak_demo::world::{Attack, Member, event};
use firebreak_engine::{Disposition, Engine, Run};
use firebreak_function::handle_message;
use firebreak_response::record::{State, StepState};
use firebreak_simulation::Options;
use firebreak_simulation::regional::autoscaling::Group;
use jiff::SignedDuration;
use serde_json::Value;

use crate::scenarios::stage::{Stage, policy, stage, stage_with, whole_undo};

fn acting(actions: &str) -> firebreak_policy::Policy {
    policy(&[&format!(
        "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    then: [{actions}]\n"
    )])
}

fn groups(stage: &Stage, member: &Member) -> Vec<Vec<String>> {
    stage.world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        ec2.interfaces_of(&member.instance).map(|(_, it)| it.groups.clone()).collect()
    })
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ran_out_is_opened_anew() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let first = stage.deliver(&stage.finding(Attack::Instance, member, 1)).await;
    assert_eq!(first.state(), State::Contained);
    stage.world.organization.advance(SignedDuration::from_hours(3));
    let second = stage.deliver(&stage.finding(Attack::UserKey, member, 2)).await;
    assert_eq!(second.state(), State::Contained, "{}", second.response().reason);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_takes_no_second_snapshot() {
    let stage = stage_with(acting("isolate-instance, snapshot-volumes"), Options::default()).await;
    let member = stage.member("sandbox", 0);
    stage.world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        ec2.add_volume(&member.instance, "/dev/xvdb", None);
    });
    let mut finding = stage.finding(Attack::Instance, member, 1);
    // Cut off; the snapshot takes its time, and the sweep sees to its end.
    let first = stage.deliver(&finding).await.response().clone();
    assert!(!stage.reaches_internet(member));
    stage.settle().await;
    let ended = stage.engine.store.response(&first.id).await.unwrap().unwrap();
    assert_eq!(ended.state, State::Contained, "{}", ended.reason);
    finding["updatedAt"] = "2026-01-01T06:00:00.000Z".into();
    finding["service"]["count"] = 2.into();
    assert_eq!(stage.deliver(&finding).await.disposition(), Disposition::Repeat);
    let taken = stage.calls().iter().filter(|call| call.operation == "CreateSnapshots").count();
    assert_eq!(taken, 1);
}

#[tokio::test(start_paused = true)]
async fn a_second_rule_s_response_does_not_take_the_quarantine_for_the_original() {
    let documents = policy(&[
        "attach: r-fb01\nrules:\n  - { name: backdoor, mode: auto, when: { type: [{ prefix: \"Backdoor:\" }] }, then: [isolate-instance] }\n  - { name: other, mode: auto, then: [isolate-instance] }\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let member = stage.member("sandbox", 1);
    let before = groups(&stage, member);
    let first = stage.deliver(&stage.finding(Attack::Instance, member, 1)).await;
    let mut other = stage.finding(Attack::Instance, member, 2);
    other["type"] = "CryptoCurrency:EC2/BitcoinTool.B!DNS".into();
    let second = stage.deliver(&other).await;
    assert_eq!((first.state(), second.state()), (State::Contained, State::Contained));
    for id in [&first.response().id, &second.response().id] {
        stage.engine.undo(id, whole_undo()).await.unwrap();
    }
    assert_eq!(groups(&stage, member), before);
}

#[tokio::test(start_paused = true)]
async fn sixteen_groups_are_restored_in_their_order() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    stage.world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        let interface = ec2.interfaces_of(&member.instance).next().unwrap().0.clone();
        let vpc = ec2.interfaces[&interface].vpc.clone();
        let mut many: Vec<String> =
            (0..16).map(|number| ec2.add_group(&vpc, &format!("tier-{number}"))).collect();
        many.reverse();
        ec2.interfaces.get_mut(&interface).unwrap().groups = many;
    });
    let before = groups(&stage, member);
    let delivered = stage.deliver(&stage.finding(Attack::Instance, member, 1)).await;
    assert_eq!(delivered.state(), State::Contained, "{}", delivered.response().reason);
    stage.engine.undo(&delivered.response().id, whole_undo()).await.unwrap();
    assert_eq!(groups(&stage, member), before);
}

#[tokio::test(start_paused = true)]
async fn a_region_that_is_not_enabled_is_reported() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    stage.world.organization.edit(|state| {
        state.opt_in_regions.insert(member.region.clone(), Vec::new());
    });
    let delivered = stage.deliver(&stage.finding(Attack::Instance, member, 1)).await;
    assert!(!delivered.failed || !delivered.handled.errors.is_empty());
    let text = format!("{:?}{:?}", delivered.handled.outcomes, delivered.handled.errors);
    assert!(text.contains(&member.region), "{}", text.len());
    assert!(stage.reaches_internet(member), "nothing is claimed that did not happen");
}

#[tokio::test(start_paused = true)]
async fn a_plan_changes_nothing() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let before = stage.snapshot(member);
    // As the command line plans.
    let settings = Settings { share_rates: false, ..stage.world.settings().unwrap() };
    let reader = Engine::new(&stage.world.hub_config().await.unwrap(), settings);
    for (number, attack) in Attack::ALL.into_iter().enumerate() {
        let finding = stage.finding(attack, member, number + 1);
        let body = event(&finding).to_string();
        stage.world.organization.forget_calls();
        let handled = handle_message(&reader, &body, Run::Plan).await;
        let outcome = &handled.outcomes[0];
        assert_eq!(outcome.disposition, Disposition::Planned, "{}", outcome.reason);
        let planned = outcome.response.as_ref().unwrap();
        let changes: usize = planned.steps.iter().map(|step| step.changes.len()).sum();
        assert!(changes > 0, "{attack:?}: a plan shows what changes");
        let mutating: Vec<_> = stage.calls().into_iter().filter(|it| it.mutating).collect();
        assert!(mutating.is_empty(), "{} mutating calls", mutating.len());
    }
    assert_eq!(stage.snapshot(member), before);
}

#[tokio::test(start_paused = true)]
async fn a_response_whose_actions_do_not_apply_is_not_called_contained() {
    let stage = stage_with(acting("freeze-function, isolate-instance"), Options::default()).await;
    let member = stage.member("sandbox", 0);
    let delivered = stage.deliver(&stage.finding(Attack::UserKey, member, 1)).await;
    // Neither action acts on a key: nothing ran, and nothing says otherwise.
    let ended = delivered.outcome().response.as_ref().map(|response| response.state);
    assert!(!matches!(ended, Some(State::Contained | State::Completed)), "{ended:?}");
    assert!(stage.changes().iter().all(|it| it.starts_with("securityhub:")));
}

/// Auto Scaling ends what is in service and fails its health check, as an
/// isolated instance does.
fn replace_unhealthy(state: &mut firebreak_simulation::state::State, member: &Member) {
    let instance = member.instance.clone();
    let groups = &state.regional(&member.account, &member.region).autoscaling.groups;
    let in_service = groups
        .values()
        .any(|group| group.instances.get(&instance).is_some_and(|it| it == "InService"));
    let ec2 = state.ec2(&member.account, &member.region);
    if in_service && !ec2.reaches_internet(&instance) {
        ec2.terminate(&instance);
    }
}

#[tokio::test(start_paused = true)]
async fn auto_scaling_does_not_end_what_is_kept_for_analysis() {
    for (actions, kept) in
        [("isolate-instance", "terminated"), ("isolate-instance, protect-instance", "running")]
    {
        let stage = stage_with(acting(actions), Options::default()).await;
        let member = stage.member("sandbox", 0);
        stage.world.organization.edit(|state| {
            let instances = [(member.instance.clone(), "InService".to_owned())].into();
            let group = Group { min: 1, max: 3, desired: 1, instances, ..Group::default() };
            let groups = &mut state.regional(&member.account, &member.region).autoscaling.groups;
            groups.insert("web".to_owned(), group);
        });
        let delivered = stage.deliver(&stage.finding(Attack::Instance, member, 1)).await;
        assert_eq!(delivered.state(), State::Contained, "{}", delivered.response().reason);
        let steps = &delivered.response().steps;
        assert!(steps.iter().all(|step| step.state == StepState::Done), "{steps:?}");
        let found: Value = stage.world.organization.edit(|state| {
            replace_unhealthy(state, member);
            let ec2 = state.ec2(&member.account, &member.region);
            ec2.instances[&member.instance].state.clone().into()
        });
        assert_eq!(found, kept, "{actions}");
    }
}
