//! Every other kind of resource, end to end with cross-account roles: the
//! finding as GuardDuty writes it, contained, and undone exactly.

use firebreak_demo::world::{Member, event};
use firebreak_engine::{Disposition, TargetOutcome};
use firebreak_response::record::{State, StepState};
use firebreak_simulation::Options;
use firebreak_simulation::regional::ecs::{Cluster, Service, Task};
use firebreak_simulation::regional::lambda::Function;
use firebreak_simulation::regional::rds;
use firebreak_simulation::s3::model::Bucket;
use serde_json::{Value, json};

use crate::scenarios::stage::{Stage, finding_on, policy, stage_with, whole_undo};

async fn stage_of(actions: &str) -> Stage {
    let document = format!(
        "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    irreversible: allow\n    then: [{actions}]\n"
    );
    stage_with(policy(&[&document]), Options::default()).await
}

/// Contains by one finding, and undoes it.
async fn there_and_back(stage: &Stage, member: &Member, kind: &str, resource: Value) {
    let before = stage.snapshot(member);
    let finding = finding_on(member, 1, kind, resource);
    stage.world.import(&finding);
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.state(), State::Contained, "{}", delivered.response().reason);
    assert_ne!(stage.snapshot(member), before);
    let undone = stage.engine.undo(&delivered.response().id, whole_undo()).await.unwrap();
    assert_eq!(undone.state, State::Undone, "{}", undone.reason);
    // RDS changes groups over minutes.
    stage.world.organization.advance(jiff::SignedDuration::from_mins(30));
    assert_eq!(stage.snapshot(member), before);
}

#[tokio::test(start_paused = true)]
async fn a_function_is_frozen() {
    let stage = stage_of("freeze-function").await;
    let member = stage.member("sandbox", 0);
    stage.world.organization.edit(|state| {
        let held = Function { reserved: Some(20), ..Function::default() };
        let lambda = &mut state.regional(&member.account, &member.region).lambda;
        lambda.functions.insert("web".to_owned(), held);
    });
    let details = json!({ "resourceType": "Lambda", "lambdaDetails": {
        "functionName": "web",
        "functionArn": format!("arn:aws:lambda:{}:{}:function:web:7", member.region, member.account),
    }});
    there_and_back(&stage, member, "Backdoor:Lambda/C&CActivity.B", details).await;
}

#[tokio::test(start_paused = true)]
async fn a_database_is_quarantined() {
    let stage = stage_of("quarantine-db").await;
    let member = stage.member("sandbox", 0);
    stage.world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        let (vpc, web) = {
            let vpc = ec2.vpcs.keys().next().unwrap().clone();
            let web = ec2.groups.iter().find(|(_, group)| group.name == "web").unwrap().0.clone();
            (vpc, web)
        };
        let place = (member.account.as_str(), member.region.as_str());
        add_database(state, place, &vpc, &web);
    });
    let details = json!({ "resourceType": "RDSDBInstance", "rdsDbInstanceDetails": {
        "dbInstanceIdentifier": "orders", "engine": "postgres",
        "dbInstanceArn": format!("arn:aws:rds:{}:{}:db:orders", member.region, member.account),
    }});
    let kind = "CredentialAccess:RDS/AnomalousBehavior.SuccessfulLogin";
    there_and_back(&stage, member, kind, details).await;
}

fn add_database(
    state: &mut firebreak_simulation::state::State,
    (account, region): (&str, &str),
    vpc: &str,
    group: &str,
) {
    let rds = &mut state.regional(account, region).rds;
    rds.subnet_groups.insert("private".to_owned(), vpc.to_owned());
    let held = rds::DbInstance {
        engine: "postgres".to_owned(),
        status: "available".to_owned(),
        groups: vec![group.to_owned()],
        publicly_accessible: true,
        subnet_group: "private".to_owned(),
        ..rds::DbInstance::default()
    };
    rds::add_instance(state, account, region, "orders", held);
}

#[tokio::test(start_paused = true)]
async fn a_service_is_frozen_and_its_standalone_cluster_is_not() {
    let stage = stage_of("freeze-service").await;
    let member = stage.member("sandbox", 0);
    let task = format!("arn:aws:ecs:{}:{}:task/prod/0001", member.region, member.account);
    stage.world.organization.edit(|state| {
        let mut cluster = Cluster::default();
        cluster.services.insert("web".to_owned(), Service::new("REPLICA", 3));
        let running = Task {
            group: "service:web".to_owned(),
            launch_type: "FARGATE".to_owned(),
            ..Task::default()
        };
        cluster.tasks.insert("0001".to_owned(), running);
        state
            .regional(&member.account, &member.region)
            .ecs
            .clusters
            .insert("prod".to_owned(), cluster);
    });
    let details = json!({ "resourceType": "ECSCluster", "ecsClusterDetails": {
        "name": "prod", "arn": format!("arn:aws:ecs:{}:{}:cluster/prod", member.region, member.account),
        "taskDetails": { "arn": task, "group": "service:web" },
    }});
    there_and_back(&stage, member, "Execution:Runtime/ReverseShell", details).await;
    let alone = finding_on(
        member,
        9,
        "Execution:Runtime/ReverseShell",
        json!({
            "resourceType": "ECSCluster", "ecsClusterDetails": { "name": "prod" },
        }),
    );
    stage.world.import(&alone);
    let delivered = stage.deliver(&alone).await;
    assert_eq!(delivered.response().steps[0].state, StepState::Skipped);
    assert_eq!(delivered.state(), State::Failed, "nothing is claimed that did not happen");
}

#[tokio::test(start_paused = true)]
async fn every_bucket_of_a_finding_is_closed_and_the_caller_s_key_as_well() {
    let stage = stage_of("block-public-access, deactivate-access-key").await;
    let member = stage.member("sandbox", 0);
    stage.world.organization.edit(|state| {
        let (account, region) = (member.account.clone(), member.region.clone());
        let held = Bucket { account, region, public_policy: true, ..Bucket::default() };
        state.s3.buckets.insert("second".to_owned(), held);
    });
    let bucket = |name: &str| json!({ "arn": format!("arn:aws:s3:::{name}"), "name": name });
    let finding = finding_on(
        member,
        1,
        "Exfiltration:S3/AnomalousBehavior",
        json!({
            "resourceType": "S3Bucket",
            "s3BucketDetails": [bucket(&member.bucket), bucket("second")],
            "accessKeyDetails": {
                "accessKeyId": member.key, "userType": "IAMUser", "userName": member.user,
            },
        }),
    );
    stage.world.import(&finding);
    let delivered = stage.deliver(&finding).await;
    assert!(!delivered.failed, "{:?}", delivered.handled.errors);
    let states: Vec<_> = delivered.handled.outcomes.iter().map(state).collect();
    assert_eq!(states, [State::Contained; 3]);
    stage.world.organization.edit(|state| {
        assert!(!state.s3.anyone_can_read("second") && !state.s3.anyone_can_read(&member.bucket));
        assert!(!state.iam(&member.account).users[&member.user].keys[&member.key]);
    });
}

fn state(outcome: &TargetOutcome) -> State {
    let steps = |it: &firebreak_response::record::Response| it.state;
    outcome.response.as_ref().map_or_else(|| panic!("no response: {outcome:?}"), steps)
}

/// Each resource and actor is decided in its own account: one is in a sandbox,
/// the other in production, which asks first.
#[tokio::test(start_paused = true)]
async fn a_sequence_s_targets_are_each_decided_in_their_own_account_and_region() {
    let documents = policy(&[
        "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    then: [isolate-instance, deactivate-access-key]\n",
        "attach: ou-fb01-prod1111\nceiling: approve\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let (sandbox, production) = (stage.member("sandbox", 1), stage.member("production", 0));
    assert_ne!(sandbox.region, production.region);
    let instance = |member: &Member| {
        let Member { account, region, instance, .. } = member;
        json!({
            "uid": format!("arn:aws:ec2:{region}:{account}:instance/{instance}"),
            "name": instance, "accountId": account, "resourceType": "EC2_INSTANCE", "region": region,
        })
    };
    let mut finding = finding_on(
        sandbox,
        1,
        "AttackSequence:EC2/CompromisedInstanceGroup",
        json!({
            "resourceType": "AttackSequence",
        }),
    );
    finding["severity"] = 9.0.into();
    finding["service"]["detection"] = json!({ "sequence": {
        "uid": "sequence-1",
        "resources": [instance(sandbox), instance(production)],
        "actors": [{ "id": "actor-1", "user": {
            "name": sandbox.user, "uid": "AIDAEXAMPLE", "type": "IAMUser",
            "credentialUid": sandbox.key, "account": { "uid": sandbox.account },
        }}],
    }});
    stage.world.import(&finding);
    let delivered = stage.deliver_message(&event(&finding).to_string()).await;
    let outcomes = &delivered.handled.outcomes;
    let seen: Vec<(String, State)> = outcomes
        .iter()
        .map(|it| (it.resource.as_ref().unwrap().account.to_string(), state(it)))
        .collect();
    let expected = [
        (sandbox.account.clone(), State::Contained),
        (production.account.clone(), State::AwaitingApproval),
        (sandbox.account.clone(), State::Contained),
    ];
    assert_eq!(seen, expected, "{:?}", delivered.handled.errors);
    assert!(!stage.reaches_internet(sandbox) && stage.reaches_internet(production));
}

#[tokio::test(start_paused = true)]
async fn steps_that_end_a_resource_wait_for_steps_that_preserve_it() {
    let stage = stage_of("terminate-instance, snapshot-volumes, isolate-instance").await;
    let member = stage.member("sandbox", 0);
    let denied = firebreak_simulation::Effect::Error {
        status: 403,
        code: "UnauthorizedOperation".to_owned(),
    };
    stage.world.organization.inject(firebreak_simulation::Fault::always("CreateSnapshots", denied));
    stage.world.organization.edit(|state| attach_volume(state, member));
    let finding = stage.finding(firebreak_demo::world::Attack::Instance, member, 1);
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.state(), State::PartiallyContained, "{}", delivered.response().reason);
    let end = delivered.response().steps.last().unwrap();
    assert_eq!((end.action.as_str(), end.state), ("terminate-instance", StepState::Failed));
    assert!(end.detail.contains("because snapshot-volumes failed"), "{}", end.detail);
    stage.world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        assert_eq!(ec2.instances[&member.instance].state, "running");
    });
}

fn attach_volume(state: &mut firebreak_simulation::state::State, member: &Member) {
    let ec2 = state.ec2(&member.account, &member.region);
    ec2.add_volume(&member.instance, "/dev/xvdb", None);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_no_action_acts_on_is_on_record_and_nothing_is_claimed() {
    let stage = stage_with(firebreak_demo::example_policy().unwrap(), Options::default()).await;
    let member = stage.member("sandbox", 0);
    let finding = finding_on(
        member,
        1,
        "PrivilegeEscalation:Runtime/ContainerMountsHostDirectory",
        json!({
            "resourceType": "Container", "containerDetails": { "id": "c-1", "name": "web" },
        }),
    );
    stage.world.import(&finding);
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.disposition(), Disposition::Responded);
    assert_eq!(delivered.state(), State::Observed);
}
