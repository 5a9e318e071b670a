//! A finding with several targets has a response for each: it is told as
//! resolved, or archived, only when none of them stands open.

use std::time::Duration;

use firebreak_aws::settings::Settings;
use firebreak_demo::world::{Attack, Member, event};
use firebreak_engine::Engine;
use firebreak_response::record::{Response, State};
use firebreak_simulation::{Effect, Fault, Options};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::scenarios::stage::{Stage, deliver_to, finding_on, policy, stage_with, whole_undo};

/// A hub that archives in GuardDuty, and acts by itself but in production.
async fn archiving() -> (Stage, Engine) {
    let documents = policy(&[
        "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    then: [isolate-instance, revoke-instance-credentials, deactivate-access-key, deny-all]\n",
        "attach: ou-fb01-prod1111\nceiling: approve\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let settings = Settings { archive_resolved: true, ..stage.world.settings().unwrap() };
    let engine = Engine::new(&stage.world.hub_config().await.unwrap(), settings);
    (stage, engine)
}

/// An attack sequence over these instances and the first one's user's key.
fn sequence(stage: &Stage, members: &[&Member]) -> Value {
    let first = members[0];
    let instances: Vec<Value> = members
        .iter()
        .map(|member| {
            let Member { account, region, instance, .. } = member;
            json!({
                "uid": format!("arn:aws:ec2:{region}:{account}:instance/{instance}"),
                "name": instance, "accountId": account, "resourceType": "EC2_INSTANCE",
                "region": region,
            })
        })
        .collect();
    let organization = &stage.world.organization;
    let user_id =
        organization.edit(|state| state.iam(&first.account).users[&first.user].identity.id.clone());
    let kind = "AttackSequence:EC2/CompromisedInstanceGroup";
    let mut finding = finding_on(first, 1, kind, json!({ "resourceType": "AttackSequence" }));
    finding["service"]["detection"] = json!({ "sequence": {
        "uid": "sequence-1",
        "resources": instances,
        "actors": [{ "id": "actor-1", "user": {
            "name": first.user, "uid": user_id, "type": "IAMUser",
            "credentialUid": first.key, "account": { "uid": first.account },
        }}],
    }});
    stage.world.raise(&finding);
    stage.world.import(&finding);
    finding
}

/// The workflow status, and whether it is archived.
fn status(stage: &Stage, finding: &Value) -> (String, bool) {
    let status = stage.world.security_hub_status(finding).unwrap();
    let archived = stage.world.organization.edit(|state| {
        let held = state.guardduty.finding_mut(finding["id"].as_str().unwrap()).unwrap();
        held["service"]["archived"].as_bool().unwrap()
    });
    (status, archived)
}

async fn respond(engine: &Engine, finding: &Value) -> Vec<Response> {
    let delivered = deliver_to(engine, &event(finding).to_string()).await;
    assert!(!delivered.failed, "{:?}", delivered.handled.errors);
    delivered.handled.outcomes.into_iter().filter_map(|it| it.response).collect()
}

/// When every message of a finding has come again as often as it may.
async fn sweep_later(stage: &Stage, engine: &Engine) {
    stage.world.organization.advance(SignedDuration::from_mins(31));
    let swept = engine.sweep().await;
    assert_eq!(swept.failures(), Vec::<String>::new());
}

fn of_state(responses: &[Response], state: State) -> Vec<&Response> {
    responses.iter().filter(|it| it.state == state).collect()
}

#[tokio::test(start_paused = true)]
async fn a_finding_is_resolved_and_archived_once_none_of_its_targets_is_unresolved() {
    let (stage, engine) = archiving().await;
    let production = stage.member("production", 0);
    let finding = sequence(&stage, &[stage.member("sandbox", 1), production]);
    let responses = respond(&engine, &finding).await;
    let contained = of_state(&responses, State::Contained);
    let waiting = of_state(&responses, State::AwaitingApproval);
    assert_eq!((contained.len(), waiting.len()), (2, 1));
    assert_eq!(status(&stage, &finding), ("NOTIFIED".to_owned(), false));
    sweep_later(&stage, &engine).await;
    assert_eq!(status(&stage, &finding), ("NOTIFIED".to_owned(), false));
    // Further findings of a contained target have all of its findings updated again.
    for number in 8..10 {
        let further = stage.finding(Attack::Instance, stage.member("sandbox", 1), number);
        stage.world.raise(&further);
        respond(&engine, &further).await;
        assert_eq!(status(&stage, &finding), ("NOTIFIED".to_owned(), false), "{number}");
    }
    let done = engine.approve(&waiting[0].id, None, None).await.unwrap();
    assert_eq!(done.state, State::Contained, "{}", done.reason);
    assert_eq!(status(&stage, &finding), ("RESOLVED".to_owned(), false));
    sweep_later(&stage, &engine).await;
    assert_eq!(status(&stage, &finding), ("RESOLVED".to_owned(), true));
    // Given back at one target, it is open.
    engine.undo(&contained[0].id, whole_undo()).await.unwrap();
    assert_eq!(status(&stage, &finding), ("NEW".to_owned(), false));
}

/// The one that is contained first knows of no other yet; and GuardDuty would
/// not confirm what is archived.
#[tokio::test(start_paused = true)]
async fn a_finding_is_not_archived_before_each_of_its_targets_is_decided() {
    for fails in [false, true] {
        let (stage, engine) = archiving().await;
        let organization = &stage.world.organization;
        let slow = Effect::Slow(Duration::from_secs(5));
        organization.inject(Fault::once("DescribeInstances", slow.clone()));
        organization.inject(Fault { after: 1, ..Fault::once("GetFindings", slow) });
        if fails {
            let denied = Effect::Error { status: 403, code: "UnauthorizedOperation".to_owned() };
            organization.inject(Fault::always("ModifyNetworkInterfaceAttribute", denied));
        }
        let finding = sequence(&stage, &[stage.member("sandbox", 0)]);
        let responses = respond(&engine, &finding).await;
        let contained = of_state(&responses, State::Contained).len();
        assert_eq!((responses.len(), contained), (2, if fails { 1 } else { 2 }));
        sweep_later(&stage, &engine).await;
        let expected = if fails { ("NOTIFIED", false) } else { ("RESOLVED", true) };
        assert_eq!(status(&stage, &finding), (expected.0.to_owned(), expected.1));
    }
}

/// One finding of the target alone, another one of several.
#[tokio::test(start_paused = true)]
async fn the_sibling_targets_of_a_further_finding_count_for_that_finding_alone() {
    let (stage, engine) = archiving().await;
    let sandbox = stage.member("sandbox", 0);
    let alone = stage.finding(Attack::Instance, sandbox, 7);
    assert_eq!(respond(&engine, &alone).await[0].state, State::Contained);
    let several = sequence(&stage, &[sandbox, stage.member("production", 0)]);
    respond(&engine, &several).await;
    sweep_later(&stage, &engine).await;
    assert_eq!(status(&stage, &alone), ("RESOLVED".to_owned(), true));
    assert_eq!(status(&stage, &several), ("NOTIFIED".to_owned(), false));
}

#[tokio::test(start_paused = true)]
async fn a_repeat_costs_one_call_also_where_no_rule_answers_a_target() {
    let documents = policy(&[
        "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    when: { resource: { type: [Instance] } }\n    then: [isolate-instance]\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let mut finding = sequence(&stage, &[stage.member("sandbox", 1)]);
    let responses = respond(&stage.engine, &finding).await;
    assert_eq!(responses.len(), 1, "the key's owner is not answered");
    stage.world.organization.forget_calls();
    assert_eq!(respond(&stage.engine, &finding).await, []);
    let calls = || -> Vec<String> { stage.calls().into_iter().map(|it| it.operation).collect() };
    assert_eq!(calls(), ["BatchGetItem"]);
    // A newer update is decided again, and so is every update under another policy.
    finding["updatedAt"] = "2026-01-01T06:00:00.000Z".into();
    respond(&stage.engine, &finding).await;
    assert!(calls().len() > 2, "{:?}", calls());
    let wider = policy(&["attach: r-fb01\nrules:\n  - name: all\n    mode: observe\n"]);
    let engine = stage.world.engine(&wider).await.unwrap();
    let outcomes = deliver_to(&engine, &event(&finding).to_string()).await.handled.outcomes;
    let observed = outcomes.iter().filter_map(|it| it.response.as_ref());
    assert_eq!(observed.map(|it| it.state).collect::<Vec<_>>(), [State::Observed]);
}

#[tokio::test(start_paused = true)]
async fn what_a_tag_decided_is_decided_again() {
    // A rule that matches by a tag which the instance does not have yet.
    let documents = policy(&[
        "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    when: { tags: { quarantine: [yes] } }\n    then: [isolate-instance]\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let member = stage.member("sandbox", 1).clone();
    let finding = sequence(&stage, &[&member]);
    assert_eq!(respond(&stage.engine, &finding).await, []);
    stage.world.organization.edit(|state| {
        let tags = &mut state.ec2(&member.account, &member.region).tags;
        let own = tags.entry(member.instance.clone()).or_default();
        own.insert("quarantine".to_owned(), "yes".to_owned());
    });
    let responses = respond(&stage.engine, &finding).await;
    assert_eq!(responses.iter().map(|it| it.state).collect::<Vec<_>>(), [State::Contained]);
}

#[tokio::test(start_paused = true)]
async fn a_forged_finding_with_the_id_of_another_does_not_keep_it_from_being_decided() {
    let documents = policy(&[
        "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    when: { type: [{ prefix: 'AttackSequence:' }] }\n    then: [isolate-instance]\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let finding = sequence(&stage, &[stage.member("sandbox", 1)]);
    let mut forged = finding.clone();
    forged["type"] = "Custom:EC2/Nothing".into();
    forged["updatedAt"] = "2030-01-01T00:00:00.000Z".into();
    deliver_to(&stage.engine, &event(&forged).to_string()).await;
    let responses = respond(&stage.engine, &finding).await;
    assert!(responses.iter().any(|it| it.state == State::Contained), "{responses:?}");
}
