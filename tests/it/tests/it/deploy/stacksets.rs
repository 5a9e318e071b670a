//! `firebreak stacksets deploy` against the simulated organization.

use std::collections::{BTreeMap, BTreeSet};

use aws_config::SdkConfig;
use firebreak_aws::config;
use firebreak_aws::settings::Settings;
use firebreak_demo::example_policy;
use firebreak_demo::world::{Attack, EXTERNAL_ID, HOME, HUB, MANAGEMENT, World, event};
use firebreak_function as lambda;
use firebreak_onboarding::aws::deploy::{
    DeployError, DeployRequest, Deployed, Planned, plan, roll_out,
};
use firebreak_onboarding::aws::stacksets::{StackSets, caller};
use firebreak_response::record::State;
use firebreak_simulation::cloudformation::stack_sets::{DELEGATED, TRUSTED};
use firebreak_simulation::cloudformation::{Place, stack};
use firebreak_simulation::{CallRecord, Effect, Fault, Options, Organization};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// An organization whose members have no spoke role yet, and StackSets' trusted
/// access.
fn world(accounts: usize) -> World {
    let world = World::new(accounts, Options::default());
    let now = world.organization.now();
    world.organization.edit(|state| {
        let members: Vec<String> = state.organizations.accounts.keys().cloned().collect();
        for account in &members {
            stack::delete(state, Place { account, region: HOME, now }, "firebreak-spoke");
        }
        state.organizations.trusted.insert(TRUSTED.to_owned());
        let delegations = state.organizations.delegations.entry(DELEGATED.to_owned());
        delegations.or_default().insert(HUB.to_owned());
    });
    for account in [MANAGEMENT, HUB] {
        let trust = json!({ "Statement": [] });
        world.organization.add_role(account, "/", "Deployer", trust, permissions());
    }
    world
}

/// What docs/stacksets.md says that the command needs.
fn permissions() -> Value {
    let sets = json!("arn:aws:cloudformation:*:*:stackset/firebreak-*");
    json!({ "Statement": [
        { "Effect": "Allow", "Resource": sets, "Action": [
            "cloudformation:DescribeStackSet", "cloudformation:ListStackInstances",
            "cloudformation:ListStackSetOperations", "cloudformation:DescribeStackSetOperation",
            "cloudformation:CreateStackSet", "cloudformation:UpdateStackSet",
            "cloudformation:CreateStackInstances",
        ]},
        { "Effect": "Allow", "Resource": "*", "Action": [
            "organizations:DescribeOrganization", "organizations:DescribeAccount",
            "organizations:ListParents", "organizations:ListRoots",
        ]},
        { "Effect": "Allow", "Action": ["dynamodb:GetItem", "dynamodb:Query"],
          "Resource": format!("arn:aws:dynamodb:{HOME}:{HUB}:table/firebreak") },
    ]})
}

async fn config_of(organization: &Organization, account: &str) -> SdkConfig {
    let region = HOME.parse().unwrap();
    let credentials = organization.role_session(account, "Deployer", "deploy");
    let (client, time) = (organization.http_client(), organization.time_source());
    config::with_http_client(client, credentials, time, &region).await
}

fn request(units: &[&str]) -> DeployRequest {
    let units = units.iter().map(|unit| (*unit).to_owned()).collect();
    DeployRequest { units, hub_account: Some(HUB.to_owned()), ..DeployRequest::default() }
}

/// A run of the command, from one account.
struct Run {
    planned: Vec<Planned>,
    deployed: Vec<Deployed>,
    progress: Vec<String>,
    /// The calls that change something.
    changed: Vec<String>,
}

async fn plan_as(
    world: &World,
    account: &str,
    request: &DeployRequest,
) -> Result<Vec<Planned>, DeployError> {
    let config = config_of(&world.organization, account).await;
    let caller = caller(&config).await?;
    plan(&config, &Settings::new(EXTERNAL_ID), &caller, request).await
}

async fn deploy_as(
    world: &World,
    account: &str,
    request: &DeployRequest,
) -> Result<Run, DeployError> {
    let planned = plan_as(world, account, request).await?;
    world.organization.forget_calls();
    let config = config_of(&world.organization, account).await;
    let sets = StackSets::new(&config, &caller(&config).await?);
    let (mut deployed, mut progress) = (Vec::new(), Vec::new());
    for planned in &planned {
        let mut report = |line: &str| progress.push(line.to_owned());
        deployed.push(roll_out(&sets, &planned.desired, &mut report).await?);
    }
    let changed = changes(world.organization.calls());
    Ok(Run { planned, deployed, progress, changed })
}

fn changes(calls: Vec<CallRecord>) -> Vec<String> {
    calls.into_iter().filter(|call| call.mutating).map(|call| call.operation).collect()
}

async fn deploy(world: &World, request: &DeployRequest) -> Run {
    deploy_as(world, MANAGEMENT, request).await.unwrap()
}

fn has_spoke(world: &World, account: &str) -> bool {
    world.organization.settle();
    world.organization.edit(|state| state.iam(account).roles.contains_key("FirebreakSpoke"))
}

#[tokio::test(start_paused = true)]
async fn the_covered_accounts_get_their_role_and_a_second_run_changes_nothing() {
    let world = world(8);
    let units = ["ou-fb01-sandbox1", "ou-fb01-prod1111"];
    let run = deploy(&world, &request(&units)).await;
    assert_eq!(run.changed, ["CreateStackSet", "CreateStackInstances"]);
    // Two of each OU, and payments-lab, which is a sandbox.
    assert_eq!((run.deployed[0].current, run.deployed[0].failed.len()), (5, 0));
    for (index, member) in world.members.iter().enumerate() {
        assert_eq!(has_spoke(&world, &member.account), index % 4 < 2, "{}", member.account);
    }
    assert!(!has_spoke(&world, MANAGEMENT));
    assert!(run.progress.iter().any(|line| line.contains("in progress")), "{:?}", run.progress);

    let again = deploy(&world, &request(&units)).await;
    assert!(again.planned.iter().all(|planned| planned.changes.is_empty()));
    assert_eq!(again.changed, [""; 0]);
    assert_eq!(again.deployed[0].current, 5);
}

#[tokio::test(start_paused = true)]
async fn the_role_that_a_stackset_made_is_the_one_that_the_hub_uses() {
    let world = world(4);
    let engine = world.engine(&example_policy().unwrap()).await.unwrap();
    deploy(&world, &request(&["ou-fb01-sandbox1"])).await;
    let member = &world.members[0];
    let finding = Attack::Instance.finding(member, 1);
    world.raise(&finding);
    let batch = serde_json::from_value(json!({ "Records": [{
        "messageId": "m-1", "eventSource": "aws:sqs", "body": event(&finding).to_string(),
    }]}));
    let (_, handled) = lambda::handle_batch(&engine, batch.unwrap()).await;
    let response = handled[0].1.outcomes[0].response.as_ref().unwrap();
    assert_eq!(response.state, State::Contained);
}

#[tokio::test(start_paused = true)]
async fn an_account_that_joins_is_covered_and_one_that_is_moved_away_keeps_its_role() {
    let world = world(4);
    deploy(&world, &request(&["ou-fb01-sandbox1"])).await;
    let organization = &world.organization;
    organization.add_account("ou-fb01-sandbox1", "444455556666", "new");
    assert!(!has_spoke(&world, "444455556666"), "it takes a while");
    organization.advance(SignedDuration::from_mins(5));
    assert!(has_spoke(&world, "444455556666"));

    // From outside into a target; out of it, to where nothing is deployed.
    let (production, sandbox) = (&world.members[1].account, &world.members[0].account);
    organization.move_account(production, "ou-fb01-sandbox1");
    organization.move_account(sandbox, "ou-fb01-suspend1");
    organization.advance(SignedDuration::from_mins(5));
    assert!(has_spoke(&world, production) && has_spoke(&world, sandbox));
    let again = deploy(&world, &request(&["ou-fb01-sandbox1"])).await;
    assert_eq!(again.changed, [""; 0]);
    // payments-lab, the new one and the one that was moved in.
    assert_eq!(again.deployed[0].current, 3);
}

#[tokio::test(start_paused = true)]
async fn the_policy_in_force_says_what_is_covered() {
    let world = world(4);
    let policy = example_policy().unwrap();
    let covering: BTreeSet<String> = policy
        .documents()
        .iter()
        .filter(|document| document.needs_spoke_role() && document.attach.starts_with("ou-"))
        .map(|document| document.attach.clone())
        .collect();
    assert!(covering.contains("ou-fb01-sandbox1") && covering.len() >= 2, "{covering:?}");
    let from_files = DeployRequest { policy: Some(policy.clone()), ..request(&[]) };
    let planned = plan_as(&world, MANAGEMENT, &from_files).await.unwrap();
    let root_covers =
        policy.documents().iter().any(|it| it.attach == "r-fb01" && it.needs_spoke_role());
    let expected = if root_covers { BTreeSet::from(["r-fb01".to_owned()]) } else { covering };
    assert_eq!(planned[0].desired.units, expected);

    // The same from the table, which the hub's account can read.
    let none = plan_as(&world, HUB, &request(&[])).await.unwrap_err().to_string();
    assert!(none.contains("no policy is in force") && none.contains("--policies"), "{none}");
    world.engine(&policy).await.unwrap();
    let planned = plan_as(&world, HUB, &request(&[])).await.unwrap();
    assert_eq!(planned[0].desired.units, expected);
}

#[tokio::test(start_paused = true)]
async fn the_delegated_administrator_may_deploy_and_a_member_may_not() {
    let world = world(4);
    let request = DeployRequest { hub_account: None, ..request(&["ou-fb01-sandbox1"]) };
    let run = deploy_as(&world, HUB, &request).await.unwrap();
    assert_eq!(run.deployed[0].current, 2);
    let refused = deploy_as(&world, MANAGEMENT, &request).await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("help: give the hub's account with --hub-account"), "{refused}");
    let member = world.members[0].account.clone();
    let all = json!({ "Statement": [{ "Effect": "Allow", "Action": "*", "Resource": "*" }] });
    world.organization.add_role(&member, "/", "Deployer", json!({ "Statement": [] }), all);
    let refused = deploy_as(&world, &member, &request).await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("AccessDenied"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_suspended_account_is_skipped_and_a_failed_one_is_reported_and_retried() {
    let world = world(8);
    let (suspended, taken) = (&world.members[0].account, &world.members[4].account);
    let organization = &world.organization;
    organization.edit(|state| {
        let account = state.organizations.accounts.get_mut(suspended).unwrap();
        "SUSPENDED".clone_into(&mut account.state);
    });
    // Somebody made a role of that name by hand.
    organization.add_role(taken, "/", "FirebreakSpoke", json!({}), json!({}));
    let run = deploy(&world, &request(&["ou-fb01-sandbox1"])).await;
    let deployed = &run.deployed[0];
    let accounts = |list: &[firebreak_onboarding::stackset_diff::StackInstance]| -> Vec<String> {
        list.iter().map(|it| it.account.clone()).collect()
    };
    assert_eq!(
        (accounts(&deployed.skipped), accounts(&deployed.failed)),
        (vec![suspended.clone()], vec![taken.clone()])
    );
    let why = deployed.failed[0].reason.clone().unwrap();
    assert!(why.contains("FirebreakSpoke") && why.contains("already exists"), "{why}");
    assert_eq!(deployed.current, 1, "payments-lab");

    // Mended, it is tried again; it alone, and whoever is suspended is left out.
    organization.edit(|state| state.iam(taken).roles.remove("FirebreakSpoke"));
    let again = deploy(&world, &request(&["ou-fb01-sandbox1"])).await;
    assert_eq!(again.changed, ["CreateStackInstances"]);
    assert_eq!((again.deployed[0].current, again.deployed[0].skipped.len()), (2, 1));
    assert!(has_spoke(&world, taken));
    let last = deploy(&world, &request(&["ou-fb01-sandbox1"])).await;
    assert_eq!(last.changed, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn another_external_id_or_ou_is_a_change_and_the_same_is_none() {
    let world = world(4);
    deploy(&world, &request(&["ou-fb01-sandbox1"])).await;
    // A second OU gets stacks; the first stays, though it is not named.
    let run = deploy(&world, &request(&["ou-fb01-prod1111"])).await;
    assert_eq!(run.changed, ["CreateStackInstances"]);
    assert_eq!(run.planned[0].beyond, ["ou-fb01-sandbox1"]);
    assert!(has_spoke(&world, &world.members[0].account));

    let parameters = BTreeMap::from([("ExternalId".to_owned(), "another-id".to_owned())]);
    let changed = DeployRequest { parameters, ..request(&["ou-fb01-prod1111"]) };
    let run = deploy(&world, &changed).await;
    assert_eq!(run.changed, ["UpdateStackSet"]);
    assert!(run.planned[0].changes[0].to_string().contains("the hidden parameter ExternalId"));
    let trust = |account: &str| {
        let trust = world
            .organization
            .edit(|state| state.iam(account).roles["FirebreakSpoke"].trust.clone());
        trust.to_string()
    };
    for member in &world.members[..2] {
        assert!(trust(&member.account).contains("another-id"), "{}", member.account);
    }
    let wrong = DeployRequest {
        parameters: BTreeMap::from([("Colour".to_owned(), "red".to_owned())]),
        ..request(&["ou-fb01-prod1111"])
    };
    let refused = plan_as(&world, MANAGEMENT, &wrong).await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("no parameter `Colour`"), "{refused}");
    assert!(!refused.contains("another-id"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_dies_at_any_call_is_completed_by_the_next_run() {
    let undisturbed = world(4);
    let calls = {
        let run = deploy(&undisturbed, &request(&["ou-fb01-sandbox1"])).await;
        assert_eq!(run.deployed[0].current, 2);
        undisturbed.organization.calls().into_iter().map(|call| call.operation).collect::<Vec<_>>()
    };
    let mut pairs = 0;
    for (index, operation) in calls.iter().enumerate() {
        let nth = calls.iter().take(index).filter(|it| *it == operation).count();
        for effect in [Effect::CrashBefore, Effect::CrashAfter] {
            let world = world(4);
            let planned =
                plan_as(&world, MANAGEMENT, &request(&["ou-fb01-sandbox1"])).await.unwrap();
            let config = config_of(&world.organization, MANAGEMENT).await;
            let process = world.organization.process();
            let dying = config.to_builder().http_client(process.http_client()).build();
            let sets = StackSets::new(&dying, &caller(&config).await.unwrap());
            let after = u32::try_from(nth).unwrap();
            let fault = Fault { after, ..Fault::once(operation, effect.clone()) };
            world.organization.inject(fault);
            let mut report = |_: &str| {};
            let died = tokio::select! {
                biased;
                () = process.died() => true,
                ended = roll_out(&sets, &planned[0].desired, &mut report) => { ended.unwrap(); false }
            };
            // STS and Organizations are asked before.
            if !died {
                continue;
            }
            pairs += 1;
            world.organization.clear_faults();
            let run = deploy(&world, &request(&["ou-fb01-sandbox1"])).await;
            assert_eq!(
                (run.deployed[0].current, run.deployed[0].failed.len()),
                (2, 0),
                "{operation} {effect:?}"
            );
            let last = deploy(&world, &request(&["ou-fb01-sandbox1"])).await;
            assert_eq!(last.changed, [""; 0], "{operation} {effect:?}");
        }
    }
    println!("deploy: pairs={pairs}");
    assert!(pairs >= 10, "{pairs}");
}

#[tokio::test(start_paused = true)]
async fn the_rules_that_forward_findings_are_made_in_the_hub_s_account_alone() {
    let world = world(4);
    // By StackSet instead of by hand.
    let now = world.organization.now();
    world.organization.edit(|state| {
        for region in [HOME, "us-east-1"] {
            assert!(stack::delete(state, Place { account: HUB, region, now }, "firebreak-region"));
        }
    });
    let forward: BTreeSet<String> = ["us-east-1", HOME].map(str::to_owned).into();
    let alarms = ("AlarmEmail".to_owned(), "security@example.com".to_owned());
    let mut request = DeployRequest { forward, ..request(&["ou-fb01-sandbox1"]) };
    request.parameters.extend([alarms.clone()]);
    // It is a parameter of the rules' template, and of nothing else.
    let alone = DeployRequest { forward: BTreeSet::new(), ..request.clone() };
    let refused = plan_as(&world, MANAGEMENT, &alone).await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("`AlarmEmail`") && refused.contains("--forward"), "{refused}");
    let planned = plan_as(&world, MANAGEMENT, &request).await.unwrap();
    assert_eq!(planned[1].desired.parameters.get(&alarms.0), Some(&alarms.1));
    let run = deploy(&world, &request).await;
    assert_eq!(run.changed, ["CreateStackSet", "CreateStackInstances"].repeat(2));
    assert_eq!((run.deployed[1].current, run.deployed[1].failed.len()), (2, 0));
    world.organization.edit(|state| {
        let rules = state.events.rules.keys().filter(|arn| arn.contains("firebreak-guardduty"));
        let rules: Vec<&String> = rules.collect();
        assert_eq!(rules.len(), 2, "{rules:?}");
        assert!(rules.iter().all(|arn| arn.contains(HUB)));
    });
    // Whoever joins the hub's OU gets none of it.
    world.organization.add_account("ou-fb01-security", "444455556666", "new");
    world.organization.advance(SignedDuration::from_mins(5));
    let again = deploy(&world, &request).await;
    assert_eq!((again.changed.len(), again.deployed[1].current), (0, 2));
}
