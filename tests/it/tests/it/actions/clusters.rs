//! Clusters: who is refused, who is found, and what the cluster itself says no to.

use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::ResourceKind;
use firebreak_simulation::regional::eks::{AccessEntry, Cluster};
use firebreak_simulation::state::State;
use firebreak_spoke::contract::{Undone, Verification};
use firebreak_spoke::read_cache::ReadCache;
use firebreak_spoke::tags;
use serde_json::json;

use crate::actions::cases::{
    ADMINISTRATOR, CLUSTER, OPS, case, cluster, cluster_entry as entry,
    cluster_workload as workload,
};
use crate::actions::stage::{ACCOUNT, REGION, SPOKE, Stage, holds};

async fn refused(name: &str, edit: impl FnOnce(&mut State)) -> ActionError {
    let stage = Stage::of(&case(name)).await;
    stage.organization.edit(edit);
    let before = stage.snapshot();
    let error = stage.capture().await.unwrap_err();
    assert_eq!(stage.snapshot(), before);
    error
}

async fn targeted(name: &str, kind: ResourceKind) -> Stage {
    let mut stage = Stage::of(&case(name)).await;
    stage.resource.kind = kind;
    stage
}

fn user(username: &str) -> ResourceKind {
    let (name, username) = (CLUSTER.to_owned(), Some(username.to_owned()));
    ResourceKind::EksCluster { name, workload: None, username }
}

#[tokio::test(start_paused = true)]
async fn access_entries_that_the_cluster_or_firebreak_needs_are_refused() {
    let by_entry = "revoke-cluster-access by an access entry";
    let nodes = refused(by_entry, |state| {
        let ops = cluster(state).entries.get_mut(OPS).unwrap();
        "EC2_LINUX".clone_into(&mut ops.kind);
    });
    let creator = refused(by_entry, |state| {
        let created = cluster(state).created;
        cluster(state).entries.get_mut(OPS).unwrap().created = created + 60;
    });
    for (error, why) in [(nodes.await, "nodes"), (creator.await, "created the cluster")] {
        assert_eq!(error.kind, ErrorKind::Refused, "{error}");
        assert!(error.message.contains(why), "{error}");
    }
    let own = format!("arn:aws:sts::{ACCOUNT}:assumed-role/{SPOKE}/firebreak");
    let error = targeted(by_entry, user(&own)).await.capture().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    let by_map = "revoke-cluster-access by aws-auth alone";
    let error = targeted(by_map, user("firebreak")).await.capture().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_user_name_that_two_principals_share_is_refused() {
    let error = refused("revoke-cluster-access by a name of one's own", |state| {
        let principal = "arn:aws:iam::111111111111:role/other";
        let username = "on-call:{{SessionName}}".to_owned();
        let other = AccessEntry { username, ..entry(principal, &[]) };
        cluster(state).entries.insert(principal.to_owned(), other);
    });
    let error = error.await;
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("role/other"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_user_name_is_found_beyond_the_first_page_of_entries() {
    let stage = Stage::of(&case("revoke-cluster-access by a name of one's own")).await;
    stage.organization.edit(|state| {
        for number in 0..150 {
            let principal = format!("arn:aws:iam::{ACCOUNT}:role/a-{number}");
            let other = entry(&principal, &[]);
            cluster(state).entries.insert(principal, other);
        }
    });
    let captured = stage.capture().await.unwrap();
    assert!(captured.changes[0].what.contains(OPS), "{captured:?}");
}

#[tokio::test(start_paused = true)]
async fn the_entry_of_a_principal_that_was_deleted_since_is_drift() {
    let stage = Stage::of(&case("revoke-cluster-access by an access entry")).await;
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    stage.organization.edit(|state| state.iam(ACCOUNT).roles.remove("ops"));
    let undone = stage.undo(&prior).await.unwrap();
    assert!(undone.restored.is_empty() && undone.drift[0].contains("principal"), "{undone:?}");
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_aws_auth_beside_an_access_entry_is_reported() {
    let stage = Stage::of(&case("revoke-cluster-access by an access entry and aws-auth")).await;
    stage
        .organization
        .edit(|state| cluster(state).kubernetes.remove("clusterroles", "", "firebreak"));
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    let verified = stage.verify(&prior).await;
    let Verification::InEffect(said) = verified else { panic!("{verified:?}") };
    assert!(said.contains("could not be read"), "{said}");
    let gone = stage.organization.edit(|state| !cluster(state).entries.contains_key(OPS));
    assert!(gone);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_know_the_spoke_role_says_what_to_grant() {
    let unknown = refused("isolate-pod", |state| cluster(state).entries.clear()).await;
    assert_eq!(unknown.kind, ErrorKind::Denied);
    assert!(unknown.to_string().contains("access entry"), "{unknown}");
    let unbound = refused("isolate-pod", |state| {
        cluster(state).kubernetes.remove("clusterrolebindings", "", "firebreak");
    });
    let unbound = unbound.await;
    assert_eq!(unbound.kind, ErrorKind::Denied);
    assert!(unbound.to_string().contains("get pods"), "{unbound}");
}

#[tokio::test(start_paused = true)]
async fn a_private_endpoint_is_named_as_the_cause() {
    let error = refused("isolate-pod", |state| cluster(state).public_endpoint = false).await;
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(error.to_string().contains("endpoint is private"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_administrator_by_access_policy_needs_no_rbac() {
    let stage = Stage::of(&case("isolate-pod")).await;
    stage.organization.edit(|state| {
        let cluster = cluster(state);
        cluster.kubernetes.remove("clusterroles", "", "firebreak");
        let policies = cluster.entries[OPS].policies.clone();
        assert!(policies.contains_key(ADMINISTRATOR));
        for entry in cluster.entries.values_mut() {
            entry.policies = policies.clone();
        }
    });
    assert!(stage.capture().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_still_allows_the_pod_traffic_is_reported() {
    let stage = Stage::of(&case("isolate-pod")).await;
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    let open = |selector: serde_json::Value| {
        let spec = json!({ "podSelector": selector, "policyTypes": ["Egress"], "egress": [{}] });
        stage.organization.edit(|state| {
            let kubernetes = &mut cluster(state).kubernetes;
            kubernetes.put("networkpolicies", "shop", "open", json!({ "spec": spec }));
        });
    };
    open(json!({ "matchLabels": { "app": "web" } }));
    assert!(holds(&stage.verify(&prior).await));
    open(json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": ["shell"] }] }));
    let verified = stage.verify(&prior).await;
    assert!(
        matches!(&verified, Verification::NotInEffect(why) if why.contains("`open`")),
        "{verified:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_started_after_apply_is_reported_then_isolated_by_a_second_apply_and_released_by_undo()
 {
    let stage = Stage::of(&case("isolate-pod of a deployment")).await;
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    stage.organization.edit(|state| {
        let kubernetes = &mut cluster(state).kubernetes;
        let mut new = kubernetes.remove("pods", "shop", "web-a").unwrap();
        new["metadata"] = json!({
            "labels": { "app": "web" },
            "uid": "another",
            "ownerReferences": new["metadata"]["ownerReferences"],
        });
        kubernetes.put("pods", "shop", "web-c", new);
    });
    assert!(matches!(stage.verify(&prior).await, Verification::NotInEffect(_)));
    stage.apply(&prior).await.unwrap();
    assert!(holds(&stage.verify(&prior).await));
    let undone = stage.undo(&prior).await.unwrap();
    assert!(undone.drift[0].contains("web-a"), "{undone:?}");
    let labels = stage.organization.edit(|state| {
        let pod = cluster(state).kubernetes.object("pods", "shop", "web-c").cloned();
        pod.unwrap()["metadata"]["labels"].clone()
    });
    assert_eq!(labels, json!({ "app": "web" }));
}

#[tokio::test(start_paused = true)]
async fn pods_that_only_look_like_the_workload_s_are_left_alone() {
    for name in ["isolate-pod of a deployment", "isolate-pod of a job", "isolate-pod"] {
        let stage = Stage::of(&case(name)).await;
        let prior = stage.capture().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        let isolated = stage.organization.edit(|state| {
            let objects = cluster(state).kubernetes.objects.iter();
            let marked = objects.filter(|(path, it)| {
                path.contains("/pods/")
                    && it["metadata"]["labels"]["firebreak.io/isolated"] != json!(null)
            });
            marked.map(|(path, _)| path.clone()).collect::<Vec<_>>()
        });
        let expected = if name == "isolate-pod" { 1 } else { 2 };
        assert_eq!(isolated.len(), expected, "{name}: {isolated:?}");
        let theirs = |path: &String| path.contains("theirs") || path.contains("/other/");
        assert!(!isolated.iter().any(theirs), "{name}: {isolated:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_workload_without_pods_of_its_own_is_not_isolated() {
    for (kind, expected) in [
        (workload("cronjobs", "shop", "batch"), ErrorKind::NotApplicable),
        (workload("pods", "kube-system", "coredns"), ErrorKind::Refused),
        (workload("pods", "shop", "nobody"), ErrorKind::Gone),
        (workload("deployments", "shop", "nobody"), ErrorKind::Gone),
        (user("alice"), ErrorKind::NotApplicable),
    ] {
        let stage = targeted("isolate-pod", kind.clone()).await;
        let error = stage.capture().await.unwrap_err();
        assert_eq!(error.kind, expected, "{kind:?}: {error}");
    }
    let error = refused("isolate-pod", |state| {
        let pod = cluster(state).kubernetes.object_mut("pods", "shop", "shell").unwrap();
        pod["spec"]["hostNetwork"] = json!(true);
    });
    assert_eq!(error.await.kind, ErrorKind::NotApplicable);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_would_leave_its_path_is_refused_before_any_call() {
    for name in ["../nodes/node-1", "a/b", "a?b", "", "A"] {
        for case in ["isolate-pod", "cordon-node"] {
            let stage = targeted(case, workload("pods", "shop", name)).await;
            assert_eq!(
                stage.capture().await.unwrap_err().kind,
                ErrorKind::Refused,
                "{case} {name}"
            );
            assert_eq!(stage.organization.call_count(), 0, "{case} {name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_already_cordoned_stays_cordoned_after_undo() {
    let stage = Stage::of(&case("cordon-node of a deployment")).await;
    stage.organization.edit(|state| {
        let node = cluster(state).kubernetes.object_mut("nodes", "", "node-1").unwrap();
        node["spec"]["unschedulable"] = json!(true);
        node["spec"]["taints"] =
            json!([{ "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" }]);
    });
    let before = stage.snapshot();
    let captured = stage.capture().await.unwrap();
    assert_eq!(captured.changes.len(), 1);
    stage.apply(&captured.prior).await.unwrap();
    assert_eq!(stage.undo(&captured.prior).await.unwrap().drift, Vec::<String>::new());
    assert_eq!(stage.snapshot(), before);
    assert_eq!(stage.undo(&captured.prior).await.unwrap(), Undone::default());
}

#[tokio::test(start_paused = true)]
async fn a_node_of_fargate_is_the_pod_s_own() {
    let error = refused("cordon-node", |state| {
        let node = cluster(state).kubernetes.object_mut("nodes", "", "node-1").unwrap();
        node["metadata"]["labels"]["eks.amazonaws.com/compute-type"] = json!("fargate");
    });
    let error = error.await;
    assert_eq!(error.kind, ErrorKind::NotApplicable);
    assert!(error.message.contains("Fargate"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_s_tags_are_read() {
    let stage = Stage::of(&case("isolate-pod")).await;
    let tags = tags::current(&stage.reader, &stage.resource, &ReadCache::default())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(tags.get("team").map(String::as_str), Some("platform"));
}

/// Whoever administers the account may make a cluster that cannot be changed.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_cannot_be_changed_keeps_the_others_from_nothing() {
    let stage = Stage::of(&case("revoke-cluster-access of a role in every cluster")).await;
    stage.organization.edit(|state| {
        // The role's own, as its creator, and one whose users nobody may read.
        let clusters = &mut state.regional(ACCOUNT, REGION).eks.clusters;
        let made = Cluster {
            authentication_mode: "API".to_owned(),
            entries: [(
                OPS.to_owned(),
                AccessEntry { kind: "EC2_LINUX".to_owned(), ..entry(OPS, &[]) },
            )]
            .into(),
            ..Cluster::default()
        };
        clusters.insert("a-nodes".to_owned(), made);
        let hidden = Cluster { authentication_mode: "CONFIG_MAP".to_owned(), ..Cluster::default() };
        clusters.insert("b-hidden".to_owned(), hidden);
    });
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    assert!(holds(&stage.verify(&prior).await));
    stage.organization.edit(|state| {
        let clusters = &state.regional(ACCOUNT, REGION).eks.clusters;
        assert!(!clusters[CLUSTER].entries.contains_key(OPS));
    });
    let open: Vec<String> =
        stage.residual(&prior).await.unwrap().into_iter().map(|it| it.what).collect();
    assert_eq!(open.len(), 2, "{open:?}");
    assert!(open[0].contains("a-nodes") && open[1].contains("b-hidden"), "{open:?}");
}
