//! What is particular to functions, databases and containers.

use std::collections::BTreeMap;
use std::time::Duration;

use firebreak_model::error::ErrorKind;
use firebreak_model::resource::{Resource, ResourceKind};
use firebreak_simulation::regional::rds::Snapshot;
use firebreak_simulation::state::State;
use firebreak_spoke::contract::{Undone, Verification};
use firebreak_spoke::read_cache::ReadCache;
use firebreak_spoke::tags;

use crate::actions::cases::case;
use crate::actions::cases::compute::{TASK, database_groups, database_vpc, ecs_cluster, function};
use crate::actions::stage::{ACCOUNT, REGION, Stage, allow, holds, pending, resource, session};

#[tokio::test(start_paused = true)]
async fn a_function_that_was_frozen_by_its_owner_stays_so() {
    let stage = Stage::of(&case("freeze-function without one")).await;
    stage.organization.edit(|state| function(state).reserved = Some(0));
    let captured = stage.capture().await.unwrap();
    assert!(captured.changes.is_empty());
    stage.apply(&captured.prior).await.unwrap();
    assert_eq!(stage.undo(&captured.prior).await.unwrap(), Undone::default());
    let reserved = stage.organization.edit(|state| function(state).reserved);
    assert_eq!(reserved, Some(0));
}

#[tokio::test(start_paused = true)]
async fn provisioned_concurrency_is_deleted_before_the_freeze_and_comes_back_after_it() {
    let stage = Stage::of(&case("freeze-function with a reservation")).await;
    let provisioned = BTreeMap::from([("live".to_owned(), 10), ("7".to_owned(), 2)]);
    stage.organization.edit(|state| function(state).provisioned = provisioned.clone());
    let captured = stage.capture().await.unwrap();
    assert_eq!(captured.changes.len(), 3, "{:?}", captured.changes);
    stage.apply(&captured.prior).await.unwrap();
    assert!(holds(&stage.verify(&captured.prior).await));
    stage.organization.edit(|state| assert!(function(state).provisioned.is_empty()));
    // Somebody provisions an alias anew, with another value.
    stage.organization.edit(|state| function(state).provisioned.insert("live".to_owned(), 3));
    let undone = stage.undo(&captured.prior).await.unwrap();
    assert!(undone.drift.iter().any(|it| it.contains("live, was set to 3")), "{undone:?}");
    let now = stage.organization.edit(|state| function(state).provisioned.clone());
    assert_eq!(now, BTreeMap::from([("live".to_owned(), 3), ("7".to_owned(), 2)]));
}

fn takes(stage: &Stage, seconds: i64) {
    stage.organization.edit(|state| {
        state.regional(ACCOUNT, REGION).rds.takes = jiff::SignedDuration::from_secs(seconds);
    });
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_is_pending_while_rds_works_on_it() {
    for name in ["quarantine-db of an instance", "quarantine-db of an Aurora cluster"] {
        let stage = Stage::of(&case(name)).await;
        takes(&stage, 60);
        let prior = stage.capture().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        // Again while it is under way, as after a crash: nothing is asked twice.
        stage
            .apply(&prior)
            .await
            .unwrap_or_else(|error| assert_eq!(error.kind, ErrorKind::Transient));
        let verified = stage.verify(&prior).await;
        assert!(matches!(verified, Verification::InProgress(_)), "{name}: {verified:?}");
        assert!(holds(&pending(&stage, &prior).await), "{name}");
        stage.undo(&prior).await.unwrap();
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(stage.undo(&prior).await.unwrap().drift, Vec::<String>::new(), "{name}");
        assert_eq!(stage.snapshot(), stage.before, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_in_another_change_is_tried_again_and_a_stopped_one_is_refused() {
    let stage = Stage::of(&case("quarantine-db of an instance")).await;
    let prior = stage.capture().await.unwrap().prior;
    for (status, kind) in [("upgrading", ErrorKind::Transient), ("stopped", ErrorKind::Refused)] {
        stage.organization.edit(|state| {
            let rds = &mut state.regional(ACCOUNT, REGION).rds;
            rds.instances.get_mut("orders").unwrap().status = status.to_owned();
        });
        assert_eq!(stage.apply(&prior).await.unwrap_err().kind, kind, "{status}");
    }
    let error = stage.capture().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.help.is_some_and(|help| help.contains("seven days")));
}

#[tokio::test(start_paused = true)]
async fn undo_leaves_a_database_quarantined_if_its_group_was_deleted_and_reports_drift() {
    let stage = Stage::of(&case("quarantine-db of an instance")).await;
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    let ours = stage.organization.edit(|state| {
        let vpc = database_vpc(state);
        let ec2 = state.ec2(ACCOUNT, REGION);
        ec2.groups.retain(|_, group| group.vpc != vpc || group.name != "admin");
        database_groups(state, &stage.resource)
    });
    let undone = stage.undo(&prior).await.unwrap();
    assert!(undone.restored.is_empty(), "{undone:?}");
    assert!(undone.drift.iter().any(|described| described.contains("deleted")), "{undone:?}");
    let now = stage.organization.edit(|state| database_groups(state, &stage.resource));
    assert_eq!(now, ours);
}

#[tokio::test(start_paused = true)]
async fn a_protection_of_the_cluster_covers_its_instance_as_the_target() {
    let stage = Stage::of(&case("quarantine-db of an instance in a cluster")).await;
    let prior = stage.capture().await.unwrap().prior;
    let seen = ReadCache::default();
    let touched = stage.entry.touches(stage.scope(&stage.reader, &seen), &prior).unwrap();
    let cluster = format!("arn:aws:rds:{REGION}:{ACCOUNT}:cluster:sales");
    let neighbour = format!("arn:aws:rds:{REGION}:{ACCOUNT}:db:sales-2");
    assert!(touched.contains(&cluster) && touched.contains(&neighbour), "{touched:?}");
}

#[tokio::test(start_paused = true)]
async fn a_finding_that_comes_again_takes_no_second_snapshot() {
    let stage = Stage::of(&case("snapshot-db of an instance")).await;
    // More snapshots than one page holds, of this database and for others.
    stage.organization.edit(|state| {
        let rds = &mut state.regional(ACCOUNT, REGION).rds;
        for number in 0..130 {
            let snapshot = Snapshot {
                source: "orders".to_owned(),
                kind: "manual".to_owned(),
                ready: jiff::Timestamp::UNIX_EPOCH,
                failed: false,
                tags: BTreeMap::from([("firebreak:finding".to_owned(), "another".to_owned())]),
            };
            rds.snapshots.insert(format!("a-{number:03}"), snapshot);
        }
    });
    let first = stage.capture().await.unwrap();
    assert!(!first.changes.is_empty());
    stage.apply(&first.prior).await.unwrap();
    let seen = ReadCache::default();
    let mut scope = stage.scope(&stage.reader, &seen);
    scope.response = "r-0002";
    let again = stage.entry.capture(scope, &stage.parameters).await.unwrap();
    assert!(again.changes.is_empty());
    assert!(holds(&stage.verify(&again.prior).await));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_in_progress_until_it_is_available_and_a_failed_one_is_not_in_effect() {
    let stage = Stage::of(&case("snapshot-db of a cluster")).await;
    takes(&stage, 600);
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    let verified = stage.verify(&prior).await;
    assert!(matches!(verified, Verification::InProgress(_)), "{verified:?}");
    stage.apply(&prior).await.unwrap();
    assert!(holds(&pending(&stage, &prior).await));
    stage.organization.edit(|state| {
        let rds = &mut state.regional(ACCOUNT, REGION).rds;
        rds.cluster_snapshots.get_mut("firebreak-r-0001").unwrap().failed = true;
    });
    let verified = stage.verify(&prior).await;
    assert!(matches!(verified, Verification::NotInEffect(_)), "{verified:?}");
}

fn stops_take(stage: &Stage, seconds: i64) {
    stage.organization.edit(|state| {
        state.regional(ACCOUNT, REGION).ecs.takes = jiff::SignedDuration::from_secs(seconds);
    });
}

#[tokio::test(start_paused = true)]
async fn tasks_that_are_still_stopping_are_not_called_stopped() {
    for name in ["freeze-service", "stop-task on EC2"] {
        let stage = Stage::of(&case(name)).await;
        stops_take(&stage, 30);
        let prior = stage.capture().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        let verified = stage.verify(&prior).await;
        assert!(matches!(verified, Verification::InProgress(_)), "{name}: {verified:?}");
        assert!(holds(&pending(&stage, &prior).await), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_raised_again_is_not_in_effect() {
    let stage = Stage::of(&case("freeze-service")).await;
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    stage.organization.edit(|state| {
        ecs_cluster(state).services.get_mut("web").unwrap().desired = 2;
    });
    let verified = stage.verify(&prior).await;
    assert!(
        matches!(&verified, Verification::NotInEffect(described) if described.contains("wants 2 task(s)"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_container_target_without_the_needed_part_is_not_applicable() {
    let check = async |name: &str, fargate: bool, task: bool, service: Option<&str>| {
        let mut stage = Stage::of(&case(name)).await;
        let ResourceKind::EcsCluster { cluster, task: found, .. } = stage.resource.kind.clone()
        else {
            panic!("no cluster")
        };
        if fargate {
            stage.organization.edit(|state| {
                ecs_cluster(state).tasks.get_mut(TASK).unwrap().container_instance = None;
            });
        }
        let (task, service) = (found.filter(|_| task), service.map(str::to_owned));
        stage.resource.kind = ResourceKind::EcsCluster { cluster, task, service };
        let error = stage.capture().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotApplicable, "{name}: {error}");
    };
    check("freeze-service", false, true, None).await;
    check("freeze-service", false, true, Some("agent")).await;
    check("drain-container-instance", true, true, Some("web")).await;
    check("drain-container-instance", false, false, Some("web")).await;
    check("stop-task on EC2", false, false, Some("web")).await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_task_says_which_response_stopped_it() {
    let stage = Stage::of(&case("stop-task on Fargate")).await;
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    let (this, other) = stage.organization.edit(|state| {
        let tasks = &ecs_cluster(state).tasks;
        (tasks[TASK].clone(), tasks["another"].clone())
    });
    assert_eq!(this.reason.as_deref(), Some("Firebreak response r-0001"));
    assert!(other.stopped.is_none());
    let undone = stage.undo(&prior).await.unwrap();
    assert!(undone.restored.is_empty() && !undone.drift.is_empty(), "{undone:?}");
}

#[tokio::test(start_paused = true)]
async fn tags_of_databases_functions_and_tasks_are_read_and_a_missing_resource_is_an_error() {
    let check = async |name: &str, kind: Option<ResourceKind>, team: Option<&str>| {
        let stage = Stage::of(&case(name)).await;
        let (organization, target) = (&stage.organization, stage.resource.clone());
        let resource: Resource = kind.map_or(target, resource);
        organization.add_role(ACCOUNT, "/", "tags", serde_json::json!({}), allow(tags::READS));
        let account = session(organization, "tags").await;
        let found = tags::current(&account, &resource, &ReadCache::default()).await;
        match team {
            Some(team) => assert_eq!(found.unwrap().unwrap()["team"], team, "{name}"),
            None => assert_eq!(found.unwrap_err().kind, ErrorKind::Gone, "{name}"),
        }
    };
    let cluster = |task: Option<&str>| ResourceKind::EcsCluster {
        cluster: "shop".to_owned(),
        task: task.map(str::to_owned),
        service: None,
    };
    check("freeze-function without one", None, Some("web")).await;
    let gone = ResourceKind::Function { name: "gone".to_owned() };
    check("freeze-function without one", Some(gone), None).await;
    check("quarantine-db of an instance", None, Some("orders")).await;
    let gone = ResourceKind::DbInstance { identifier: "gone".to_owned() };
    check("quarantine-db of an instance", Some(gone), None).await;
    check("quarantine-db of an Aurora cluster", None, Some("sales")).await;
    let gone = ResourceKind::DbCluster { identifier: "gone".to_owned() };
    check("quarantine-db of an Aurora cluster", Some(gone), None).await;
    check("freeze-service", None, Some("shop-task")).await;
    check("freeze-service", Some(cluster(None)), Some("shop-cluster")).await;
    check("freeze-service", Some(cluster(Some("forgotten"))), Some("shop-cluster")).await;
    let gone = ResourceKind::EcsCluster { cluster: "gone".to_owned(), task: None, service: None };
    check("freeze-service", Some(gone), None).await;
}

/// A change that waits for the maintenance window, of the instance or the cluster.
fn pending_version(state: &mut State, set: Option<&str>) -> Vec<Option<String>> {
    let rds = &mut state.regional(ACCOUNT, REGION).rds;
    let instances = rds.instances.values_mut().map(|it| &mut it.pending_version);
    let clusters = rds.clusters.values_mut().map(|it| &mut it.pending_version);
    instances
        .chain(clusters)
        .map(|pending| {
            if let Some(version) = set {
                *pending = Some(version.to_owned());
            }
            pending.clone()
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_and_its_undo_set_off_no_change_that_waits_for_the_maintenance_window() {
    for name in [
        "quarantine-db of an instance",
        "quarantine-db of an Aurora cluster",
        "quarantine-db of a Multi-AZ cluster",
        "quarantine-db of an instance in a cluster",
    ] {
        let stage = Stage::of(&case(name)).await;
        let waiting = stage.organization.edit(|state| pending_version(state, Some("17.9")));
        let prior = stage.capture().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        assert!(holds(&pending(&stage, &prior).await), "{name}");
        stage.undo(&prior).await.unwrap();
        let now = stage.organization.edit(|state| pending_version(state, None));
        assert_eq!(now, waiting, "{name}");
    }
}
