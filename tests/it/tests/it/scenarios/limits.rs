//! What keeps damage small: budgets, and pauses.

use std::time::Duration;

use firebreak_demo::world::Attack;
use firebreak_engine::Disposition;
use firebreak_policy::Policy;
use firebreak_response::pauses::PauseScope;
use firebreak_response::record::{ApprovalCause, State};
use firebreak_simulation::{Effect, Fault, Options};
use jiff::SignedDuration;

use crate::scenarios::stage::{Stage, deliver_to, policy, stage_with};

fn acting(budgets: &str) -> Policy {
    policy(&[&format!(
        "attach: r-fb01\n{budgets}rules:\n  - name: act\n    mode: auto\n    confirm: false\n    then: [isolate-instance]\n"
    )])
}

/// Attacks one more instance of a member, and says what became of it.
async fn attack(
    stage: &Stage,
    unit: &str,
    number: usize,
) -> (State, Option<ApprovalCause>, String) {
    let member = stage.member(unit, 0);
    let instance = stage.world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        let vpc = ec2.vpcs.keys().next().unwrap().clone();
        let web = ec2.groups.iter().find(|(_, group)| group.name == "web").unwrap().0.clone();
        ec2.add_instance(&vpc, &[&web])
    });
    let mut finding = Attack::Instance.finding(member, number);
    finding["resource"]["instanceDetails"]["instanceId"] = instance.as_str().into();
    stage.world.import(&finding);
    let delivered = stage.deliver(&finding).await;
    let response = delivered.response();
    let because = response.approval.as_ref().map(|approval| approval.cause);
    (response.state, because, response.reason.clone())
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_needs_a_person_until_its_window_has_passed() {
    let stage =
        stage_with(acting("budgets: [{ actions: 2, per: 1h }]\n"), Options::default()).await;
    for number in 1..=2 {
        assert_eq!(attack(&stage, "sandbox", number).await.0, State::Contained);
    }
    // Counted together over the organization: another account's as well.
    let (found, because, reason) = attack(&stage, "production", 3).await;
    assert_eq!((found, because), (State::AwaitingApproval, Some(ApprovalCause::Budget)));
    assert!(reason.contains("the budget of r-fb01, 2 action(s) per 1h, is spent"), "{reason}");
    stage.world.organization.advance(SignedDuration::from_mins(62));
    assert_eq!(attack(&stage, "production", 4).await.0, State::Contained);
}

#[tokio::test(start_paused = true)]
async fn a_budget_by_account_leaves_the_others_theirs() {
    let budget = "budgets: [{ actions: 1, per: 1h, by: account }]\n";
    let stage = stage_with(acting(budget), Options::default()).await;
    assert_eq!(attack(&stage, "sandbox", 1).await.0, State::Contained);
    assert_eq!(attack(&stage, "sandbox", 2).await.0, State::AwaitingApproval);
    assert_eq!(attack(&stage, "production", 3).await.0, State::Contained);
}

/// Prior art: 38 keys deactivated at once.
#[tokio::test(start_paused = true)]
async fn of_many_concurrent_findings_only_as_many_as_the_budget_allows_change_something() {
    let options = Options { latency: std::time::Duration::from_millis(20), ..Options::default() };
    let stage = stage_with(acting("budgets: [{ actions: 5, per: 1h }]\n"), options).await;
    let mut findings = Vec::new();
    for number in 0..12 {
        let member = &stage.world.members[number];
        findings.push(stage.finding(Attack::Instance, member, number + 1));
    }
    let mut workers = Vec::new();
    for _ in &findings {
        workers.push(stage.another_responder().await);
    }
    let delivered = futures_of(&workers, &findings).await;
    let contained = delivered.iter().filter(|state| **state == State::Contained).count();
    let waiting = delivered.iter().filter(|state| **state == State::AwaitingApproval).count();
    assert_eq!((contained, waiting), (5, 7), "{delivered:?}");
}

/// Each finding by a worker of its own, all at once.
async fn futures_of(
    workers: &[firebreak_engine::Engine],
    findings: &[serde_json::Value],
) -> Vec<State> {
    let each = workers.iter().zip(findings).map(|(worker, finding)| async move {
        let body = firebreak_demo::world::event(finding).to_string();
        // What loses a claim too often goes back to the queue.
        for _ in 0..10 {
            let delivered = deliver_to(worker, &body).await;
            if !delivered.failed {
                return delivered.state();
            }
        }
        panic!("never came to an end");
    });
    futures::future::join_all(each).await
}

#[tokio::test(start_paused = true)]
async fn a_pause_asks_a_person_in_its_scope_at_once_and_nowhere_else() {
    let stage = stage_with(acting(""), Options::default()).await;
    let other = stage.another_responder().await;
    // Both have answered something: nothing about switches may be cached.
    assert_eq!(attack(&stage, "sandbox", 1).await.0, State::Contained);
    let scope: PauseScope = "ou:ou-fb01-sandbox1".parse().unwrap();
    other.pause(&scope, None, Some("a game day".to_owned())).await.unwrap();
    let (found, because, reason) = attack(&stage, "sandbox", 2).await;
    assert_eq!((found, because), (State::AwaitingApproval, Some(ApprovalCause::Pause)));
    assert!(reason.contains("(a game day)"), "{reason}");
    assert_eq!(attack(&stage, "production", 3).await.0, State::Contained);
    other.end_pause(&scope).await.unwrap();
    assert_eq!(attack(&stage, "sandbox", 4).await.0, State::Contained);
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_at_its_time_and_a_rule_alone_can_be_paused() {
    let stage = stage_with(acting(""), Options::default()).await;
    let until = stage.engine.now() + SignedDuration::from_hours(1);
    let scope: PauseScope = "rule:act".parse().unwrap();
    stage.engine.pause(&scope, Some(until), None).await.unwrap();
    assert_eq!(attack(&stage, "sandbox", 1).await.0, State::AwaitingApproval);
    stage.world.organization.advance(SignedDuration::from_mins(61));
    assert_eq!(attack(&stage, "sandbox", 2).await.0, State::Contained);
}

/// What is answered finding by finding is recorded under more than its rule's
/// name; its rule is paused all the same.
#[tokio::test(start_paused = true)]
async fn a_paused_rule_that_answers_finding_by_finding_is_not_approved() {
    for scope in ["rule:act", "rule:r-fb01/act"] {
        let documents = policy(&[
            "attach: r-fb01\nrules:\n  - { name: act, mode: approve, then: [block-remote-ip] }\n",
        ]);
        let stage = stage_with(documents, Options::default()).await;
        let mut finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
        finding["service"]["action"] = serde_json::json!({
            "networkConnectionAction": { "remoteIpDetails": { "ipAddressV4": "198.51.100.7" } },
        });
        let delivered = stage.deliver(&finding).await;
        assert_eq!(delivered.state(), State::AwaitingApproval);
        let plan = delivered.response();
        assert!(plan.key.to_string().starts_with("r-fb01/act#"), "{}", plan.key);
        let scope: PauseScope = scope.parse().unwrap();
        stage.engine.pause(&scope, None, None).await.unwrap();
        let error = stage.engine.approve(&plan.id, None, None).await.unwrap_err().to_string();
        assert!(error.contains(&format!("the pause of {scope} by")), "{error}");
        stage.engine.end_pause(&scope).await.unwrap();
        let done = stage.engine.approve(&plan.id, None, None).await.unwrap();
        assert_eq!(done.state, State::Contained, "{}", done.reason);
    }
}

/// What is paused is read with the target, before it is judged; judging may
/// take long.
#[tokio::test(start_paused = true)]
async fn a_pause_that_begins_during_an_assessment_applies() {
    let stage = stage_with(acting(""), Options::default()).await;
    let member = stage.member("sandbox", 0);
    let finding = stage.finding(Attack::Instance, member, 1);
    let other = stage.another_responder().await;
    let slow = Effect::Slow(Duration::from_secs(4));
    stage.world.organization.inject(Fault::once("DescribeInstances", slow));
    let (delivered, ()) = tokio::join!(stage.deliver(&finding), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        other.pause(&PauseScope::Organization, None, None).await.unwrap();
    });
    assert_eq!(delivered.state(), State::AwaitingApproval, "{}", delivered.response().reason);
    let approval = delivered.response().approval.as_ref().unwrap();
    assert_eq!(approval.cause, ApprovalCause::Pause);
    assert!(stage.reaches_internet(member));
}

#[tokio::test(start_paused = true)]
async fn an_account_without_a_spoke_role_is_not_covered_and_says_so() {
    let stage = stage_with(acting(""), Options::default()).await;
    let member = stage.member("sandbox", 0);
    stage.world.organization.edit(|state| {
        state.iam(&member.account).roles.remove("FirebreakSpoke");
    });
    let mut finding = stage.finding(Attack::Instance, member, 1);
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.disposition(), Disposition::NotCovered);
    assert_eq!(delivered.state(), State::Refused);
    let reason = &delivered.response().reason;
    assert!(reason.starts_with("not covered: cannot open a session"), "{reason}");
    assert!(reason.contains("stacksets/spoke.yaml"), "{reason}");
    // Once it is deployed, the finding's next update is answered.
    firebreak_demo::world::add_spoke_role(&stage.world.organization, &member.account);
    stage.world.organization.advance(SignedDuration::from_secs(90));
    finding["updatedAt"] = "2026-01-01T06:00:00.000Z".into();
    assert_eq!(stage.deliver(&finding).await.state(), State::Contained);
}

/// What DynamoDB drops by itself is what nobody misses: evidence never.
#[tokio::test(start_paused = true)]
async fn only_budgets_places_and_rates_end_by_themselves_and_long_after_their_use() {
    let stage =
        stage_with(acting("budgets: [{ actions: 2, per: 1h }]\n"), Options::default()).await;
    assert_eq!(attack(&stage, "sandbox", 1).await.0, State::Contained);
    stage.engine.sweep().await;
    let used = stage.engine.now().as_second();
    let mut kinds = std::collections::BTreeMap::new();
    for item in firebreak_testkit::truth::items(&stage.world).await {
        let text = |name: &str| item[name].as_object()?.values().next()?.as_str();
        let kind = text("pk").unwrap().split('#').next().unwrap().to_owned();
        let expires = text("expires_at").map(|it| it.parse::<i64>().unwrap());
        assert!(expires.is_none_or(|at| at > used + 3_600), "{item}");
        kinds.insert(kind, expires.is_some());
    }
    let expiring: Vec<&str> =
        kinds.iter().filter(|(_, expires)| **expires).map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(expiring, ["budget", "places", "rate"]);
    assert!(kinds.contains_key("response") && kinds.contains_key("audit"), "{kinds:?}");
}

/// A pause with a typing error would stop nothing, and be shown as in force.
#[tokio::test(start_paused = true)]
async fn a_scope_that_does_not_exist_is_known_before_it_is_paused() {
    let stage = stage_with(acting(""), Options::default()).await;
    let account = &stage.member("sandbox", 0).account;
    // Whoever pauses is a person: the function's role may not list the roots.
    let operator = stage.operator().await;
    let known = |text: String| {
        let (engine, scope) = (&operator, text.parse::<PauseScope>().unwrap());
        async move { engine.scope_exists(&scope).await.unwrap() }
    };
    for scope in ["organization", "ou:ou-fb01-sandbox1", "ou:r-fb01", "rule:act", "rule:r-fb01/act"]
    {
        assert!(known(scope.to_owned()).await, "{scope}");
    }
    assert!(known(format!("account:{account}")).await);
    for scope in ["ou:ou-fb01-sandbox2", "ou:r-fb02", "account:999999999990", "rule:acts"] {
        assert!(!known(scope.to_owned()).await, "{scope}");
    }
    // A refused answer is not taken for an empty one.
    stage.world.organization.inject(Fault::once(
        "ListRoots",
        Effect::Error { status: 400, code: "AccessDeniedException".to_owned() },
    ));
    assert!(operator.scope_exists(&"ou:r-fb01".parse().unwrap()).await.is_err());
}
