//! The actions on functions, databases and containers.

use std::collections::BTreeMap;

use aws_sdk_ecs::types::{ContainerDefinition, LaunchType};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{FunctionCode, FunctionUrlAuthType, Runtime};
use firebreak_model::resource::ResourceKind;
use firebreak_simulation::regional::ecs::{Cluster, Service, Task};
use firebreak_simulation::regional::lambda::Function;
use firebreak_simulation::regional::rds::{self, DbCluster, DbInstance};
use serde_json::json;

use super::Pair;
use crate::conformance::backend::{ACCOUNT, Backend, REGION};

/// The end of central directory record of a ZIP archive without entries.
const EMPTY_ZIP: &[u8; 22] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

async fn function(backend: &Backend, name: &str, reserved: Option<i32>) -> ResourceKind {
    let kind = ResourceKind::Function { name: name.to_owned() };
    if let Some(organization) = backend.simulated() {
        let function = Function { reserved: reserved.map(i64::from), ..Function::default() };
        organization.edit(|state| {
            let functions = &mut state.regional(ACCOUNT, REGION).lambda.functions;
            functions.insert(name.to_owned(), function);
        });
        return kind;
    }
    backend.role(name).await;
    let lambda = backend.lambda();
    let code = FunctionCode::builder().zip_file(Blob::new(EMPTY_ZIP)).build();
    let call = lambda.create_function().function_name(name).code(code).handler("index.handler");
    let call = call.runtime(Runtime::Nodejs22x);
    call.role(format!("arn:aws:iam::{ACCOUNT}:role/{name}")).send().await.unwrap();
    if let Some(reserved) = reserved {
        let call = lambda.put_function_concurrency().function_name(name);
        call.reserved_concurrent_executions(reserved).send().await.unwrap();
    }
    kind
}

async fn function_with_url(backend: &Backend, name: &str) -> ResourceKind {
    let kind = function(backend, name, None).await;
    if let Some(organization) = backend.simulated() {
        organization.edit(|state| {
            let functions = &mut state.regional(ACCOUNT, REGION).lambda.functions;
            functions.get_mut(name).unwrap().url_auth = Some("NONE".to_owned());
        });
    } else {
        let call = backend.lambda().create_function_url_config().function_name(name);
        call.auth_type(FunctionUrlAuthType::None).send().await.unwrap();
    }
    kind
}

/// A group, and a DB subnet group of this name in its VPC.
async fn database_network(backend: &Backend, name: &str) -> String {
    let vpc = backend.vpc().await;
    let group = backend.group(&vpc, "web").await;
    if let Some(organization) = backend.simulated() {
        organization.edit(|state| {
            let rds = &mut state.regional(ACCOUNT, REGION).rds;
            rds.subnet_groups.insert(name.to_owned(), vpc);
        });
    } else {
        let call = backend.rds().create_db_subnet_group().db_subnet_group_name(name);
        let call = call.db_subnet_group_description(name);
        let call = call.subnet_ids(backend.subnet(&vpc, 0).await);
        call.subnet_ids(backend.subnet(&vpc, 1).await).send().await.unwrap();
    }
    group
}

/// Public, alone.
async fn database(backend: &Backend, name: &str) -> ResourceKind {
    let group = database_network(backend, name).await;
    if let Some(organization) = backend.simulated() {
        let instance = DbInstance {
            engine: "postgres".to_owned(),
            status: "available".to_owned(),
            groups: vec![group],
            publicly_accessible: true,
            subnet_group: name.to_owned(),
            ..DbInstance::default()
        };
        organization.edit(|state| rds::add_instance(state, ACCOUNT, REGION, name, instance));
    } else {
        let call = backend.rds().create_db_instance().db_instance_identifier(name);
        let call = call.engine("postgres").db_instance_class("db.t3.micro");
        let call = call.allocated_storage(20).master_username("root");
        let call = call.master_user_password("conformance").publicly_accessible(true);
        let call = call.vpc_security_group_ids(group).db_subnet_group_name(name);
        call.send().await.unwrap();
    }
    ResourceKind::DbInstance { identifier: name.to_owned() }
}

/// Of Aurora, with one public member.
async fn database_cluster(backend: &Backend, name: &str) -> ResourceKind {
    let (group, engine) = (database_network(backend, name).await, "aurora-postgresql");
    let member = format!("{name}-1");
    if let Some(organization) = backend.simulated() {
        organization.edit(|state| {
            let cluster = DbCluster {
                engine: engine.to_owned(),
                status: "available".to_owned(),
                groups: vec![group],
                subnet_group: name.to_owned(),
                tags: BTreeMap::new(),
                change: None,
                ..DbCluster::default()
            };
            let rds = &mut state.regional(ACCOUNT, REGION).rds;
            rds.clusters.insert(name.to_owned(), cluster);
            let instance = DbInstance {
                status: "available".to_owned(),
                publicly_accessible: true,
                cluster: Some(name.to_owned()),
                ..DbInstance::default()
            };
            rds::add_instance(state, ACCOUNT, REGION, &member, instance);
        });
    } else {
        let rds = backend.rds();
        let call = rds.create_db_cluster().db_cluster_identifier(name).engine(engine);
        let call = call.master_username("root").master_user_password("conformance");
        let call = call.vpc_security_group_ids(group).db_subnet_group_name(name);
        call.send().await.unwrap();
        let call = rds.create_db_instance().db_instance_identifier(member).engine(engine);
        let call = call.db_instance_class("db.t3.medium").publicly_accessible(true);
        let call = call.db_cluster_identifier(name).db_subnet_group_name(name);
        call.send().await.unwrap();
    }
    ResourceKind::DbCluster { identifier: name.to_owned() }
}

/// A cluster with a service of two tasks, a container instance and a task on it
/// that nothing starts again.
async fn container(backend: &Backend, name: &str) -> ResourceKind {
    let task = match backend.simulated() {
        Some(organization) => {
            let instance = "fedcba9876543210".to_owned();
            let task = Task {
                group: "family:web".to_owned(),
                launch_type: "EC2".to_owned(),
                container_instance: Some(instance.clone()),
                ..Task::default()
            };
            let cluster = Cluster {
                tags: BTreeMap::new(),
                services: BTreeMap::from([("web".to_owned(), Service::new("REPLICA", 2))]),
                tasks: BTreeMap::from([("0123456789abcdef".to_owned(), task)]),
                container_instances: BTreeMap::from([(instance, "ACTIVE".to_owned())]),
            };
            organization.edit(|state| {
                let clusters = &mut state.regional(ACCOUNT, REGION).ecs.clusters;
                clusters.insert(name.to_owned(), cluster);
            });
            format!("arn:aws:ecs:{REGION}:{ACCOUNT}:task/{name}/0123456789abcdef")
        }
        None => moto_container(backend, name).await,
    };
    let service = Some("web".to_owned());
    ResourceKind::EcsCluster { cluster: name.to_owned(), task: Some(task), service }
}

async fn moto_container(backend: &Backend, name: &str) -> String {
    let ecs = backend.ecs();
    ecs.create_cluster().cluster_name(name).send().await.unwrap();
    let vpc = backend.vpc().await;
    let (id, _) = backend.instance(&vpc, &backend.group(&vpc, "web").await).await;
    let identity = json!({
        "accountId": ACCOUNT, "region": REGION, "instanceId": id, "architecture": "x86_64",
    });
    let call = ecs.register_container_instance().cluster(name);
    call.instance_identity_document(identity.to_string()).send().await.unwrap();
    let web = ContainerDefinition::builder().name("web").image("web").memory(128).cpu(64).build();
    let call = ecs.register_task_definition().family(name).container_definitions(web);
    call.send().await.unwrap();
    let call = ecs.create_service().cluster(name).service_name("web").task_definition(name);
    call.desired_count(2).launch_type(LaunchType::Ec2).send().await.unwrap();
    let call = ecs.run_task().cluster(name).task_definition(name).launch_type(LaunchType::Ec2);
    let run = call.send().await.unwrap();
    run.tasks()[0].task_arn().unwrap().to_owned()
}

pub(super) async fn pairs(backend: &Backend) -> Vec<Pair> {
    let plain = function(backend, "freeze", None).await;
    let reserving = function(backend, "freeze-reserved", Some(5)).await;
    let public = function_with_url(backend, "public").await;
    let quarantined = database_cluster(backend, "quarantine-cluster").await;
    let snapped = database_cluster(backend, "snapshot-cluster").await;
    vec![
        Pair::new("freeze-function", "a function", plain),
        Pair::new("freeze-function", "a function with a reservation", reserving),
        Pair::new("close-function-url", "a public URL", public),
        Pair::new("quarantine-db", "a DB instance", database(backend, "quarantine").await),
        Pair::new("quarantine-db", "a DB cluster", quarantined),
        Pair::new("snapshot-db", "a DB instance", database(backend, "snapshot").await),
        Pair::new("snapshot-db", "a DB cluster", snapped),
        Pair::new("freeze-service", "a service", container(backend, "freeze").await),
        Pair::new("drain-container-instance", "a task", container(backend, "drain").await),
        Pair::new("stop-task", "a task", container(backend, "stop").await),
    ]
}
