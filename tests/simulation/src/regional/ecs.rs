//! ECS's calls, as its API reference has them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Place, number, required, texts};
use crate::state::State;
use crate::wire::ServiceError;

/// What one account holds in one Region.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ecs {
    /// Clusters by name.
    pub clusters: BTreeMap<String, Cluster>,
    /// How long tasks take to stop. With nothing they have when the call is
    /// answered.
    #[serde(skip)]
    pub takes: SignedDuration,
}

/// A cluster, and what is in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cluster {
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Services by name.
    pub services: BTreeMap<String, Service>,
    /// Tasks by id.
    pub tasks: BTreeMap<String, Task>,
    /// Container instances by id, with their status: `ACTIVE`, `DRAINING`,
    /// `REGISTERING`, `INACTIVE` and so on.
    pub container_instances: BTreeMap<String, String>,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Service {
    /// `ACTIVE`, `DRAINING` while it is being deleted, then `INACTIVE`.
    pub status: String,
    /// `REPLICA` or `DAEMON`.
    pub strategy: String,
    /// How many tasks it wants.
    pub desired: i64,
    /// How many ran before the last change, and until when they are counted.
    pub before: Option<(i64, Timestamp)>,
}

impl Service {
    /// An active service of this scheduling strategy.
    pub fn new(strategy: &str, desired: i64) -> Self {
        let (status, strategy) = ("ACTIVE".to_owned(), strategy.to_owned());
        Self { status, strategy, desired, before: None }
    }

    fn running(&self, now: Timestamp) -> i64 {
        match self.before {
            Some((before, until)) if now < until => before,
            Some(_) | None => self.desired,
        }
    }
}

/// A task.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Task {
    /// `service:NAME` or `family:NAME`.
    pub group: String,
    /// `EC2` or `FARGATE`.
    pub launch_type: String,
    /// The id of the container instance that it runs on.
    pub container_instance: Option<String>,
    /// When it has stopped or will have; absent while it is to run.
    pub stopped: Option<Timestamp>,
    /// Why it was stopped.
    pub reason: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Answers a call; `None` for one that is not modelled.
pub fn answer(state: &mut State, place: &Place, operation: &str, input: &Value) -> Option<Answer> {
    let ecs = &mut state.regional(&place.account, &place.region).ecs;
    Some(match operation {
        "DescribeClusters" => describe_clusters(ecs, place, input),
        "DescribeServices" => describe_services(ecs, place, input),
        "UpdateService" => update_service(ecs, place, input),
        "DescribeTasks" => describe_tasks(ecs, place, input),
        "StopTask" => stop_task(ecs, place, input),
        "DescribeContainerInstances" => describe_container_instances(ecs, place, input),
        "UpdateContainerInstancesState" => update_container_instances(ecs, place, input),
        _ => return None,
    })
}

fn invalid(code: &str, message: impl Into<String>) -> ServiceError {
    ServiceError::new(400, code, message)
}

/// The last part of an ARN, or the name itself.
fn short(named: &str) -> &str {
    named.rsplit('/').next().unwrap_or(named)
}

/// The cluster of a call: `default` unless told.
fn cluster<'a>(ecs: &'a mut Ecs, input: &Value) -> Result<(String, &'a mut Cluster), ServiceError> {
    let named = input.get("cluster").and_then(Value::as_str).unwrap_or("default");
    let name = short(named).to_owned();
    let missing = || invalid("ClusterNotFoundException", "Cluster not found.");
    let found = ecs.clusters.get_mut(&name).ok_or_else(missing)?;
    Ok((name, found))
}

fn arn(place: &Place, kind: &str, id: &str) -> String {
    let Place { account, region, .. } = place;
    format!("arn:aws:ecs:{region}:{account}:{kind}/{id}")
}

/// Tags are told to who asks for them only.
fn tags(input: &Value, tags: &BTreeMap<String, String>) -> Value {
    let asked = texts(input, "include").iter().any(|include| include == "TAGS");
    let all = tags.iter().filter(|_| asked);
    all.map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

fn missing(arn: &str) -> Value {
    json!({ "arn": arn, "reason": "MISSING" })
}

/// At least one of what a call is for, and at most as many as it takes.
fn named(input: &Value, list: &str, most: usize) -> Result<Vec<String>, ServiceError> {
    let named = texts(input, list);
    if (1..=most).contains(&named.len()) {
        return Ok(named);
    }
    let message = format!("{list} must have from 1 to {most} elements");
    Err(invalid("InvalidParameterException", message))
}

fn describe_clusters(ecs: &Ecs, place: &Place, input: &Value) -> Answer {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for name in named(input, "clusters", 100)? {
        let name = short(&name);
        let arn = arn(place, "cluster", name);
        match ecs.clusters.get(name) {
            Some(cluster) => found.push(json!({
                "clusterArn": arn,
                "clusterName": name,
                "status": "ACTIVE",
                "tags": tags(input, &cluster.tags),
            })),
            None => failures.push(missing(&arn)),
        }
    }
    Ok(json!({ "clusters": found, "failures": failures }))
}

fn rendered_service(place: &Place, cluster: &str, name: &str, service: &Service) -> Value {
    json!({
        "serviceArn": arn(place, "service", &format!("{cluster}/{name}")),
        "serviceName": name,
        "clusterArn": arn(place, "cluster", cluster),
        "status": service.status,
        "schedulingStrategy": service.strategy,
        "desiredCount": service.desired,
        "runningCount": service.running(place.now),
        "pendingCount": 0,
    })
}

fn describe_services(ecs: &mut Ecs, place: &Place, input: &Value) -> Answer {
    let (cluster_name, cluster) = cluster(ecs, input)?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for name in named(input, "services", 10)? {
        let name = short(&name);
        match cluster.services.get(name) {
            Some(service) => found.push(rendered_service(place, &cluster_name, name, service)),
            None => {
                failures.push(missing(&arn(place, "service", &format!("{cluster_name}/{name}"))));
            }
        }
    }
    Ok(json!({ "services": found, "failures": failures }))
}

fn update_service(ecs: &mut Ecs, place: &Place, input: &Value) -> Answer {
    let takes = ecs.takes;
    let (cluster_name, cluster) = cluster(ecs, input)?;
    let name = short(required(input, "service")?).to_owned();
    let missing = || invalid("ServiceNotFoundException", "Service not found.");
    let service = cluster.services.get_mut(&name).ok_or_else(missing)?;
    if service.status != "ACTIVE" {
        return Err(invalid("ServiceNotActiveException", "Service was not ACTIVE."));
    }
    if let Some(desired) = number(input, "desiredCount") {
        if service.strategy == "DAEMON" {
            return Err(invalid(
                "InvalidParameterException",
                "The daemon scheduling strategy does not support a desired count for services. Remove the desired count value and try again",
            ));
        }
        if desired < 0 {
            return Err(invalid("InvalidParameterException", "desiredCount cannot be negative"));
        }
        let running = service.running(place.now);
        service.before = takes.is_positive().then(|| (running, place.now + takes));
        service.desired = desired;
    }
    Ok(json!({ "service": rendered_service(place, &cluster_name, &name, service) }))
}

fn rendered_task(place: &Place, cluster: &str, id: &str, task: &Task, tags: &Value) -> Value {
    let last = match task.stopped {
        None => "RUNNING",
        Some(stopped) if place.now < stopped => "DEACTIVATING",
        Some(_) => "STOPPED",
    };
    let instance = task.container_instance.as_ref();
    json!({
        "taskArn": arn(place, "task", &format!("{cluster}/{id}")),
        "clusterArn": arn(place, "cluster", cluster),
        "containerInstanceArn":
            instance.map(|it| arn(place, "container-instance", &format!("{cluster}/{it}"))),
        "group": task.group,
        "launchType": task.launch_type,
        "lastStatus": last,
        "desiredStatus": if task.stopped.is_some() { "STOPPED" } else { "RUNNING" },
        "stoppedReason": task.reason,
        "tags": tags,
    })
}

fn describe_tasks(ecs: &mut Ecs, place: &Place, input: &Value) -> Answer {
    let (cluster_name, cluster) = cluster(ecs, input)?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for id in named(input, "tasks", 100)? {
        let id = short(&id);
        match cluster.tasks.get(id) {
            Some(task) => {
                let tags = tags(input, &task.tags);
                found.push(rendered_task(place, &cluster_name, id, task, &tags));
            }
            None => failures.push(missing(&arn(place, "task", &format!("{cluster_name}/{id}")))),
        }
    }
    Ok(json!({ "tasks": found, "failures": failures }))
}

fn stop_task(ecs: &mut Ecs, place: &Place, input: &Value) -> Answer {
    let takes = ecs.takes;
    let (cluster_name, cluster) = cluster(ecs, input)?;
    let id = short(required(input, "task")?).to_owned();
    let missing = || invalid("InvalidParameterException", "The referenced task was not found.");
    let task = cluster.tasks.get_mut(&id).ok_or_else(missing)?;
    if task.stopped.is_none() {
        task.stopped = Some(place.now + takes);
        let reason = input.get("reason").and_then(Value::as_str);
        task.reason = Some(reason.unwrap_or("Task stopped by user").to_owned());
    }
    Ok(json!({ "task": rendered_task(place, &cluster_name, &id, task, &json!([])) }))
}

fn rendered_container_instance(place: &Place, cluster: &str, id: &str, status: &str) -> Value {
    json!({
        "containerInstanceArn": arn(place, "container-instance", &format!("{cluster}/{id}")),
        "status": status,
    })
}

fn describe_container_instances(ecs: &mut Ecs, place: &Place, input: &Value) -> Answer {
    let (name, cluster) = cluster(ecs, input)?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for id in named(input, "containerInstances", 100)? {
        let id = short(&id);
        match cluster.container_instances.get(id) {
            Some(status) => found.push(rendered_container_instance(place, &name, id, status)),
            None => {
                failures.push(missing(&arn(place, "container-instance", &format!("{name}/{id}"))));
            }
        }
    }
    Ok(json!({ "containerInstances": found, "failures": failures }))
}

fn update_container_instances(ecs: &mut Ecs, place: &Place, input: &Value) -> Answer {
    let (name, cluster) = cluster(ecs, input)?;
    let wanted = required(input, "status")?;
    if !["ACTIVE", "DRAINING"].contains(&wanted) {
        let message = "Container instance status can be set to ACTIVE or DRAINING only";
        return Err(invalid("InvalidParameterException", message));
    }
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for id in named(input, "containerInstances", 10)? {
        let id = short(&id);
        let arn = arn(place, "container-instance", &format!("{name}/{id}"));
        match cluster.container_instances.get_mut(id) {
            // What is not ACTIVE or DRAINING cannot be given a state.
            Some(status) if ["ACTIVE", "DRAINING"].contains(&status.as_str()) => {
                wanted.clone_into(status);
                found.push(rendered_container_instance(place, &name, id, status));
            }
            Some(status) => failures.push(json!({ "arn": arn, "reason": status })),
            None => failures.push(missing(&arn)),
        }
    }
    Ok(json!({ "containerInstances": found, "failures": failures }))
}
