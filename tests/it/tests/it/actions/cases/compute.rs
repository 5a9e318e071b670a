//! The actions that contain functions, databases and containers.

use std::collections::BTreeMap;

use fastrand::Rng;
use firebreak_model::resource::{Resource, ResourceKind};
use firebreak_simulation::Organization;
use firebreak_simulation::ec2::model::Rule;
use firebreak_simulation::regional::application_autoscaling::Target;
use firebreak_simulation::regional::ecs::{Cluster, Service, Task};
use firebreak_simulation::regional::lambda::Function;
use firebreak_simulation::regional::rds::{self, DbCluster, DbInstance, Rds, Snapshot};
use firebreak_simulation::state::State;
use serde_json::{Value, json};

use super::Case;
use crate::actions::stage::{ACCOUNT, REGION};

pub(super) fn cases() -> Vec<Case> {
    [functions(), databases(), containers()].concat()
}

pub(crate) fn function(state: &mut State) -> &mut Function {
    state.regional(ACCOUNT, REGION).lambda.functions.get_mut("web").unwrap()
}

fn add_function(organization: &Organization, reserved: Option<i64>) -> ResourceKind {
    let tags = BTreeMap::from([("team".to_owned(), "web".to_owned())]);
    let function = Function { reserved, tags, ..Function::default() };
    organization.edit(|state| {
        let functions = &mut state.regional(ACCOUNT, REGION).lambda.functions;
        functions.insert("web".to_owned(), function.clone());
        functions.insert("neighbour".to_owned(), Function { reserved: Some(7), ..function });
    });
    ResourceKind::Function { name: "web".to_owned() }
}

fn function_without(organization: &Organization) -> ResourceKind {
    add_function(organization, None)
}

fn function_with(organization: &Organization) -> ResourceKind {
    add_function(organization, Some(100))
}

fn function_with_url(organization: &Organization) -> ResourceKind {
    let kind = add_function(organization, None);
    organization.edit(|state| function(state).url_auth = Some("NONE".to_owned()));
    kind
}

fn delete_url(state: &mut State, _: &Resource) {
    function(state).url_auth = None;
}

fn url_auth(state: &mut State, _: &Resource) -> Value {
    json!(function(state).url_auth)
}

/// Public, not public, or no URL at all.
fn vary_url(state: &mut State, _: &Resource, dice: &mut Rng) {
    let auth = ["NONE", "AWS_IAM"].get(dice.usize(0..3)).map(|auth| (*auth).to_owned());
    function(state).url_auth = auth;
}

fn reserve(state: &mut State, _: &Resource) {
    function(state).reserved = Some(5);
}

fn reserved(state: &mut State, _: &Resource) -> Value {
    json!(function(state).reserved)
}

fn delete_function(state: &mut State, _: &Resource) {
    state.regional(ACCOUNT, REGION).lambda.functions.remove("web");
}

/// Any reservation, also none at all and none left.
fn vary_function(state: &mut State, _: &Resource, dice: &mut Rng) {
    function(state).reserved = match dice.u8(0..4) {
        0 => None,
        1 => Some(0),
        _ => Some(dice.i64(20..=800)),
    };
    if function(state).reserved != Some(0) && dice.bool() {
        let provisioned = [("live".to_owned(), dice.i64(1..=10)), ("7".to_owned(), 2)];
        function(state).provisioned.extend(provisioned);
    }
}

fn functions() -> Vec<Case> {
    let with = Case {
        name: "freeze-function with a reservation",
        action: "freeze-function",
        parameters: Value::Null,
        arrange: function_with,
        disturb: reserve,
        witness: reserved,
        remove: delete_function,
        outlives: false,
        vary: vary_function,
        forgive: super::nothing_forgiven,
    };
    let without =
        Case { name: "freeze-function without one", arrange: function_without, ..with.clone() };
    let url = Case {
        name: "close-function-url",
        action: "close-function-url",
        arrange: function_with_url,
        disturb: delete_url,
        witness: url_auth,
        vary: vary_url,
        ..with.clone()
    };
    vec![with, without, url]
}

fn rds(state: &mut State) -> &mut Rds {
    &mut state.regional(ACCOUNT, REGION).rds
}

/// A VPC with two groups, and its DB subnet group.
fn network(state: &mut State) -> Vec<String> {
    let ec2 = state.ec2(ACCOUNT, REGION);
    let vpc = ec2.add_vpc(true);
    let groups = ["web", "admin"].map(|name| ec2.add_group(&vpc, name)).to_vec();
    rds(state).subnet_groups.insert("private".to_owned(), vpc);
    groups
}

fn db_instance(groups: Vec<String>, public: bool) -> DbInstance {
    DbInstance {
        engine: "postgres".to_owned(),
        status: "available".to_owned(),
        groups,
        publicly_accessible: public,
        subnet_group: "private".to_owned(),
        tags: BTreeMap::from([("team".to_owned(), "orders".to_owned())]),
        ..DbInstance::default()
    }
}

fn database_alone(organization: &Organization) -> ResourceKind {
    organization.edit(|state| {
        let groups = network(state);
        rds::add_instance(state, ACCOUNT, REGION, "orders", db_instance(groups, true));
    });
    ResourceKind::DbInstance { identifier: "orders".to_owned() }
}

fn database_with_an_opened_group(organization: &Organization) -> ResourceKind {
    let kind = database_alone(organization);
    organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        let vpc = ec2.vpcs.keys().next().unwrap().clone();
        let group = ec2.add_group(&vpc, "firebreak-isolation");
        let group = ec2.groups.get_mut(&group).unwrap();
        group.ingress.insert(Rule::tcp(5_432, "0.0.0.0/0"));
    });
    kind
}

fn add_cluster(organization: &Organization, engine: &str) {
    organization.edit(|state| {
        let cluster = DbCluster {
            engine: engine.to_owned(),
            status: "available".to_owned(),
            groups: network(state),
            subnet_group: "private".to_owned(),
            tags: BTreeMap::from([("team".to_owned(), "sales".to_owned())]),
            change: None,
            ..DbCluster::default()
        };
        rds(state).clusters.insert("sales".to_owned(), cluster);
        for (id, public) in [("sales-1", true), ("sales-2", false), ("sales-3", true)] {
            let mut instance = db_instance(Vec::new(), public);
            instance.cluster = Some("sales".to_owned());
            rds::add_instance(state, ACCOUNT, REGION, id, instance);
        }
    });
}

fn aurora(organization: &Organization) -> ResourceKind {
    add_cluster(organization, "aurora-postgresql");
    ResourceKind::DbCluster { identifier: "sales".to_owned() }
}

fn multi_az(organization: &Organization) -> ResourceKind {
    add_cluster(organization, "postgres");
    ResourceKind::DbCluster { identifier: "sales".to_owned() }
}

fn aurora_member(organization: &Organization) -> ResourceKind {
    add_cluster(organization, "aurora-postgresql");
    ResourceKind::DbInstance { identifier: "sales-1".to_owned() }
}

/// Gives every database these groups, as RDS would.
fn put_into(state: &mut State, groups: &[String]) {
    let rds = rds(state);
    for cluster in rds.clusters.values_mut() {
        cluster.groups = groups.to_vec();
    }
    let mut interfaces = Vec::new();
    for instance in rds.instances.values_mut() {
        instance.groups = groups.to_vec();
        interfaces.push(instance.interface.clone());
    }
    for interface in interfaces {
        let ec2 = state.ec2(ACCOUNT, REGION);
        ec2.interfaces.get_mut(&interface).unwrap().groups = groups.to_vec();
    }
}

pub(crate) fn database_vpc(state: &mut State) -> String {
    rds(state).subnet_groups["private"].clone()
}

fn regroup_database(state: &mut State, _: &Resource) {
    let vpc = database_vpc(state);
    let group = state.ec2(ACCOUNT, REGION).add_group(&vpc, "forensics");
    put_into(state, &[group]);
}

pub(crate) fn database_groups(state: &mut State, _: &Resource) -> Value {
    let rds = rds(state);
    let clusters: Vec<_> = rds.clusters.values().map(|it| it.groups.clone()).collect();
    let instances: Vec<_> = rds.instances.values().map(|it| it.groups.clone()).collect();
    json!([clusters, instances])
}

fn delete_database(state: &mut State, _: &Resource) {
    let ids: Vec<String> = rds(state).instances.keys().cloned().collect();
    for id in ids {
        rds::remove_instance(state, ACCOUNT, REGION, &id);
    }
    rds(state).clusters.clear();
}

/// Other groups, flags, engines, a group of the isolation's name that the
/// organization made, more instances, snapshots of other findings and of this.
fn vary_database(state: &mut State, _: &Resource, dice: &mut Rng) {
    let vpc = database_vpc(state);
    let ec2 = state.ec2(ACCOUNT, REGION);
    let names = ["backup", "monitoring", "forensics"];
    let groups: Vec<String> =
        (0..dice.usize(1..4)).map(|at| ec2.add_group(&vpc, names[at])).collect();
    let found = dice.bool().then(|| {
        let id = ec2.add_group(&vpc, "firebreak-isolation");
        ec2.groups.get_mut(&id).unwrap().egress.clear();
        id
    });
    put_into(state, &groups);
    if let (Some(found), true) = (found, dice.u8(0..4) == 0) {
        put_into(state, &[found]);
    }
    for instance in rds(state).instances.values_mut() {
        instance.publicly_accessible = dice.bool();
    }
    rds(state).clusters.values_mut().for_each(|it| it.data_api = dice.bool());
    for id in ["orders", "sales", "theirs"].into_iter().filter(|_| dice.bool()) {
        rds(state).proxies.insert(format!("pool-of-{id}"), id.to_owned());
    }
    for number in 4..dice.usize(4..8) {
        if rds(state).clusters.contains_key("sales") {
            let mut instance = db_instance(Vec::new(), dice.bool());
            instance.cluster = Some("sales".to_owned());
            rds::add_instance(state, ACCOUNT, REGION, &format!("sales-{number}"), instance);
        }
    }
    let source = if rds(state).clusters.is_empty() { "orders" } else { "sales" };
    for number in 0..dice.usize(0..5) {
        let finding = format!("finding-000{}", dice.u8(1..4));
        let snapshot = Snapshot {
            source: source.to_owned(),
            kind: if dice.bool() { "manual" } else { "automated" }.to_owned(),
            ready: jiff::Timestamp::UNIX_EPOCH,
            failed: dice.bool(),
            tags: BTreeMap::from([("firebreak:finding".to_owned(), finding)]),
        };
        let rds = rds(state);
        rds.snapshots.insert(format!("older-{number}"), snapshot.clone());
        rds.cluster_snapshots.insert(format!("older-{number}"), snapshot);
    }
    if dice.u8(0..8) == 0 {
        for instance in rds(state).instances.values_mut() {
            "stopped".clone_into(&mut instance.status);
        }
        for cluster in rds(state).clusters.values_mut() {
            "stopped".clone_into(&mut cluster.status);
        }
    }
}

fn databases() -> Vec<Case> {
    let alone = Case {
        name: "quarantine-db of an instance",
        action: "quarantine-db",
        parameters: Value::Null,
        arrange: database_alone,
        disturb: regroup_database,
        witness: database_groups,
        remove: delete_database,
        outlives: false,
        vary: vary_database,
        forgive: super::nothing_forgiven,
    };
    let snapshot =
        Case { name: "snapshot-db of an instance", action: "snapshot-db", ..alone.clone() };
    vec![
        Case {
            name: "quarantine-db with a group that somebody opened",
            arrange: database_with_an_opened_group,
            forgive: super::containment::forgive_repairs,
            ..alone.clone()
        },
        Case { name: "quarantine-db of an Aurora cluster", arrange: aurora, ..alone.clone() },
        Case { name: "quarantine-db of a Multi-AZ cluster", arrange: multi_az, ..alone.clone() },
        Case {
            name: "quarantine-db of an instance in a cluster",
            arrange: aurora_member,
            ..alone.clone()
        },
        alone,
        Case { name: "snapshot-db of a cluster", arrange: aurora, ..snapshot.clone() },
        Case {
            name: "snapshot-db of an instance in a cluster",
            arrange: aurora_member,
            ..snapshot.clone()
        },
        snapshot,
    ]
}

pub(crate) const TASK: &str = "0123456789abcdef0123456789abcdef";

pub(crate) fn ecs_cluster(state: &mut State) -> &mut Cluster {
    state.regional(ACCOUNT, REGION).ecs.clusters.get_mut("shop").unwrap()
}

pub(crate) fn ecs_service(state: &mut State) -> &mut Service {
    ecs_cluster(state).services.get_mut("web").unwrap()
}

/// The service as Application Auto Scaling names it.
pub(crate) const SCALED: &str = "service/shop/web";

/// Puts the service under Application Auto Scaling.
pub(crate) fn scale_service(state: &mut State) -> &mut Target {
    let targets = &mut state.regional(ACCOUNT, REGION).scaling.targets;
    targets.entry(SCALED.to_owned()).or_insert(Target { min: 2, max: 10, ..Target::default() })
}

fn add_task(organization: &Organization, launch_type: &str) -> ResourceKind {
    let tags = |team: &str| BTreeMap::from([("team".to_owned(), team.to_owned())]);
    let on_instance = launch_type == "EC2";
    let task = Task {
        group: "service:web".to_owned(),
        launch_type: launch_type.to_owned(),
        container_instance: on_instance.then(|| "fedcba9876543210".to_owned()),
        stopped: None,
        reason: None,
        tags: tags("shop-task"),
    };
    let services = [("web", "REPLICA", 3), ("agent", "DAEMON", 1)];
    let cluster = Cluster {
        tags: tags("shop-cluster"),
        services: services
            .map(|(name, strategy, desired)| (name.to_owned(), Service::new(strategy, desired)))
            .into(),
        tasks: BTreeMap::from([(TASK.to_owned(), task.clone()), ("another".to_owned(), task)]),
        container_instances: BTreeMap::from([
            ("fedcba9876543210".to_owned(), "ACTIVE".to_owned()),
            ("another".to_owned(), "ACTIVE".to_owned()),
        ]),
    };
    organization.edit(|state| {
        state.regional(ACCOUNT, REGION).ecs.clusters.insert("shop".to_owned(), cluster);
    });
    ResourceKind::EcsCluster {
        cluster: "shop".to_owned(),
        task: Some(format!("arn:aws:ecs:{REGION}:{ACCOUNT}:task/shop/{TASK}")),
        service: Some("web".to_owned()),
    }
}

fn task_on_instance(organization: &Organization) -> ResourceKind {
    add_task(organization, "EC2")
}

fn task_on_fargate(organization: &Organization) -> ResourceKind {
    add_task(organization, "FARGATE")
}

fn rescale(state: &mut State, _: &Resource) {
    ecs_service(state).desired = 8;
}

fn desired(state: &mut State, _: &Resource) -> Value {
    json!(ecs_service(state).desired)
}

fn deregister(state: &mut State, _: &Resource) {
    let instances = &mut ecs_cluster(state).container_instances;
    instances.insert("fedcba9876543210".to_owned(), "INACTIVE".to_owned());
}

fn container_instances(state: &mut State, _: &Resource) -> Value {
    json!(ecs_cluster(state).container_instances)
}

fn empty_cluster(state: &mut State, _: &Resource) {
    let cluster = ecs_cluster(state);
    cluster.services.clear();
    cluster.tasks.clear();
    cluster.container_instances.clear();
}

/// Any count, any state of instance, task and service, other tags.
fn vary_cluster(state: &mut State, _: &Resource, dice: &mut Rng) {
    if dice.bool() {
        let target = scale_service(state);
        if dice.bool() {
            target.suspended.insert("ScheduledScalingSuspended".to_owned(), true);
        }
    }
    let service = ecs_service(state);
    service.desired = dice.i64(0..6);
    if dice.u8(0..6) == 0 {
        "INACTIVE".clone_into(&mut service.status);
    }
    let cluster = ecs_cluster(state);
    let states = ["ACTIVE", "ACTIVE", "ACTIVE", "DRAINING", "REGISTERING"];
    for status in cluster.container_instances.values_mut() {
        states[dice.usize(0..states.len())].clone_into(status);
    }
    for task in cluster.tasks.values_mut() {
        task.tags.insert("number".to_owned(), dice.u8(..).to_string());
        if dice.u8(0..4) == 0 {
            task.stopped = Some(jiff::Timestamp::UNIX_EPOCH);
            task.reason = Some("Essential container in task exited".to_owned());
        }
    }
}

fn containers() -> Vec<Case> {
    let service = Case {
        name: "freeze-service",
        action: "freeze-service",
        parameters: Value::Null,
        arrange: task_on_fargate,
        disturb: rescale,
        witness: desired,
        remove: empty_cluster,
        outlives: false,
        vary: vary_cluster,
        forgive: super::nothing_forgiven,
    };
    let drain = Case {
        name: "drain-container-instance",
        action: "drain-container-instance",
        arrange: task_on_instance,
        disturb: deregister,
        witness: container_instances,
        ..service.clone()
    };
    let stop = Case { name: "stop-task on Fargate", action: "stop-task", ..service.clone() };
    vec![
        Case { name: "stop-task on EC2", arrange: task_on_instance, ..stop.clone() },
        stop,
        drain,
        service,
    ]
}
