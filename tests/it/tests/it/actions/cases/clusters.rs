//! The actions on EKS clusters: users, pods, nodes.

use std::collections::BTreeMap;

use fastrand::Rng;
use firebreak_model::resource::{Resource, ResourceKind, Workload};
use firebreak_simulation::Organization;
use firebreak_simulation::regional::eks::{AccessEntry, AccessScope, Cluster, default_username};
use firebreak_simulation::regional::kubernetes::Kubernetes;
use firebreak_simulation::state::State;
use serde_json::{Value, json};

use super::Case;
use crate::actions::stage::{ACCOUNT, READER, REGION, SPOKE, allow};

pub(crate) const CLUSTER: &str = "prod";
pub(crate) const OPS: &str = "arn:aws:iam::111111111111:role/people/ops";
pub(crate) const ADMINISTRATOR: &str =
    "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";
const EDITOR: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSEditPolicy";
const POLICY: &str = "firebreak-isolation-r-0001";

/// What Firebreak needs in a cluster, as its documentation tells users.
fn rules() -> Value {
    json!([
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "patch"] },
        { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "patch"] },
        { "apiGroups": ["apps"], "resources": ["deployments", "daemonsets", "statefulsets"], "verbs": ["get"] },
        { "apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["get", "list"] },
        { "apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"] },
        { "apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["get", "list", "create", "delete"] },
        { "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["aws-auth"], "verbs": ["get", "patch"] },
    ])
}

pub(crate) fn cluster(state: &mut State) -> &mut Cluster {
    state.regional(ACCOUNT, REGION).eks.clusters.get_mut(CLUSTER).unwrap()
}

fn role(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}

pub(crate) fn entry(principal: &str, groups: &[&str]) -> AccessEntry {
    AccessEntry {
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        username: default_username(principal),
        kind: "STANDARD".to_owned(),
        ..AccessEntry::default()
    }
}

fn scope(kind: &str, namespaces: &[&str]) -> AccessScope {
    let namespaces = namespaces.iter().map(|&name| name.to_owned()).collect();
    AccessScope { kind: kind.to_owned(), namespaces }
}

fn grant(kubernetes: &mut Kubernetes) {
    let group = json!([{ "kind": "Group", "name": "firebreak" }]);
    let role = json!({ "kind": "ClusterRole", "name": "firebreak" });
    kubernetes.put("clusterroles", "", "firebreak", json!({ "rules": rules() }));
    let binding = json!({ "subjects": group, "roleRef": role });
    kubernetes.put("clusterrolebindings", "", "firebreak", binding);
}

fn add_cluster(organization: &Organization, mode: &str) {
    organization.add_role(ACCOUNT, "/people/", "ops", json!({}), allow(&["s3:GetObject"]));
    organization.add_user(ACCOUNT, "alice", allow(&["s3:GetObject"]));
    let now = organization.now().as_second();
    organization.edit(|state| {
        let mut held = Cluster {
            id: "0123456789ABCDEF".to_owned(),
            authentication_mode: mode.to_owned(),
            public_endpoint: true,
            bootstrap_creator: true,
            created: now - 30 * 86_400,
            tags: BTreeMap::from([("team".to_owned(), "platform".to_owned())]),
            ..Cluster::default()
        };
        if mode != "CONFIG_MAP" {
            for name in [READER, SPOKE] {
                held.entries.insert(role(name), entry(&role(name), &["firebreak"]));
            }
            let nodes = AccessEntry {
                kind: "EC2_LINUX".to_owned(),
                username: "system:node:{{EC2PrivateDNSName}}".to_owned(),
                ..entry(&role("nodes"), &["system:nodes"])
            };
            held.entries.insert(role("nodes"), nodes);
            let ops = AccessEntry {
                tags: BTreeMap::from([("team".to_owned(), "ops".to_owned())]),
                policies: BTreeMap::from([
                    (ADMINISTRATOR.to_owned(), scope("cluster", &[])),
                    (EDITOR.to_owned(), scope("namespace", &["shop", "web"])),
                ]),
                created: now - 86_400,
                ..entry(OPS, &["ops", "on-call"])
            };
            held.entries.insert(OPS.to_owned(), ops);
        }
        grant(&mut held.kubernetes);
        if mode != "API" {
            let roles = format!(
                "# Nodes first.\n- rolearn: {}\n  username: system:node:{{{{EC2PrivateDNSName}}}}\n  groups: [system:bootstrappers, system:nodes]\n- rolearn: {}\n  username: ops:{{{{SessionName}}}}\n  groups:\n    - ops # all of them\n- {{ rolearn: {}, username: firebreak, groups: [firebreak] }}\n- {{ rolearn: {}, username: firebreak-reader, groups: [firebreak] }}\n",
                role("nodes"),
                role("ops"),
                role(SPOKE),
                role(READER),
            );
            let users = format!(
                "- userarn: arn:aws:iam::{ACCOUNT}:user/alice\n  username: alice\n  groups: [ops]\n"
            );
            let auth = json!({ "data": { "mapRoles": roles, "mapUsers": users } });
            held.kubernetes.put("configmaps", "kube-system", "aws-auth", auth);
        }
        state.regional(ACCOUNT, REGION).eks.clusters.insert(CLUSTER.to_owned(), held);
    });
}

fn user(username: &str) -> ResourceKind {
    let (name, username) = (CLUSTER.to_owned(), Some(username.to_owned()));
    ResourceKind::EksCluster { name, workload: None, username }
}

const SESSION: &str = "arn:aws:sts::111111111111:assumed-role/ops/mallory";

fn by_entry(organization: &Organization) -> ResourceKind {
    add_cluster(organization, "API");
    user(SESSION)
}

fn by_both(organization: &Organization) -> ResourceKind {
    add_cluster(organization, "API_AND_CONFIG_MAP");
    user(SESSION)
}

/// A role that one of two clusters lets in.
fn role_of_clusters(organization: &Organization) -> ResourceKind {
    add_cluster(organization, "API");
    organization.edit(|state| {
        let eks = &mut state.regional(ACCOUNT, REGION).eks;
        let other = Cluster { authentication_mode: "API".to_owned(), ..Cluster::default() };
        eks.clusters.insert("other".to_owned(), other);
    });
    ResourceKind::Role { name: "ops".to_owned() }
}

/// A user that aws-auth lets in.
fn user_of_clusters(organization: &Organization) -> ResourceKind {
    add_cluster(organization, "API_AND_CONFIG_MAP");
    ResourceKind::User { name: "alice".to_owned() }
}

fn by_custom_name(organization: &Organization) -> ResourceKind {
    add_cluster(organization, "API");
    organization.edit(|state| {
        let ops = cluster(state).entries.get_mut(OPS).unwrap();
        "on-call:{{SessionName}}".clone_into(&mut ops.username);
    });
    user("on-call:mallory")
}

fn by_role_map(organization: &Organization) -> ResourceKind {
    add_cluster(organization, "CONFIG_MAP");
    user("ops:mallory")
}

fn by_user_map(organization: &Organization) -> ResourceKind {
    add_cluster(organization, "API_AND_CONFIG_MAP");
    user("alice")
}

/// More entries than fit on a page, more groups, tags and policies; entries of
/// nodes, which are refused.
fn vary_access(state: &mut State, _: &Resource, dice: &mut Rng) {
    let cluster = cluster(state);
    if cluster.authentication_mode != "CONFIG_MAP" && dice.bool() {
        for number in 0..dice.usize(0..130) {
            let principal = role(&format!("a-{number}"));
            cluster.entries.insert(principal.clone(), entry(&principal, &["some"]));
        }
    }
    if let Some(ops) = cluster.entries.get_mut(OPS) {
        ops.groups.truncate(dice.usize(0..3));
        for number in 0..dice.usize(0..4) {
            ops.tags.insert(format!("key-{number}"), format!("value {}", dice.u8(..)));
        }
        if dice.bool() {
            ops.policies.remove(EDITOR);
        }
        if dice.bool() {
            ops.policies.remove(ADMINISTRATOR);
        }
        if dice.u8(0..6) == 0 {
            "EC2_LINUX".clone_into(&mut ops.kind);
            ops.policies.clear();
        }
    }
    if let Some(auth) = cluster.kubernetes.object_mut("configmaps", "kube-system", "aws-auth") {
        for number in 0..dice.usize(0..3) {
            let more = format!("- {{ rolearn: {}, username: n-{number} }}\n", role("more"));
            let text = auth["data"]["mapRoles"].as_str().unwrap().to_owned() + &more;
            auth["data"]["mapRoles"] = json!(text);
        }
        if dice.bool() {
            auth["data"]["mapAccounts"] = json!("[]");
        }
    }
}

fn give_other_entry(state: &mut State, _: &Resource) {
    cluster(state).entries.insert(OPS.to_owned(), entry(OPS, &["theirs"]));
}

fn ops_entry(state: &mut State, _: &Resource) -> Value {
    json!(cluster(state).entries.get(OPS))
}

fn edit_auth(state: &mut State, _: &Resource) {
    let kubernetes = &mut cluster(state).kubernetes;
    let auth = kubernetes.object_mut("configmaps", "kube-system", "aws-auth").unwrap();
    for list in ["mapRoles", "mapUsers"] {
        let text = auth["data"][list].as_str().unwrap().to_owned() + "\n";
        auth["data"][list] = json!(text);
    }
}

fn auth(state: &mut State, _: &Resource) -> Value {
    json!(cluster(state).kubernetes.object("configmaps", "kube-system", "aws-auth"))
}

fn forget_cluster(state: &mut State, _: &Resource) {
    state.regional(ACCOUNT, REGION).eks.clusters.clear();
}

fn pod(app: &str, owner: Option<&str>, node: &str) -> Value {
    let owners: Vec<Value> = owner
        .map(|uid| json!({ "apiVersion": "v1", "kind": "X", "name": "x", "uid": uid }))
        .into_iter()
        .collect();
    json!({
        "metadata": { "labels": { "app": app }, "ownerReferences": owners },
        "spec": { "nodeName": node, "containers": [{ "name": "main" }] },
        "status": { "phase": "Running" },
    })
}

/// A workload of every kind, and pods that only look like theirs.
fn populate(organization: &Organization) {
    add_cluster(organization, "API");
    organization.edit(|state| {
        let kubernetes = &mut cluster(state).kubernetes;
        for node in ["node-1", "node-2", "node-3"] {
            let taints = json!([{ "key": "team", "value": "web", "effect": "NoExecute" }]);
            let labels = json!({ "kubernetes.io/hostname": node });
            let node_object = json!({ "metadata": { "labels": labels }, "spec": { "taints": taints } });
            kubernetes.put("nodes", "", node, node_object);
        }
        let selecting = |app: &str| {
            json!({ "selector": { "matchLabels": { "app": app } }, "template": { "spec": { "containers": [] } } })
        };
        for (kind, name) in [
            ("deployments", "web"),
            ("daemonsets", "agent"),
            ("statefulsets", "db"),
            ("replicasets", "cache"),
            ("jobs", "batch"),
        ] {
            let object = json!({ "metadata": {}, "spec": selecting(name) });
            kubernetes.put(kind, "shop", name, object);
            let owner = format!("uid-{kind}-{name}");
            let owner = if kind == "deployments" {
                let owners = json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": owner }]);
                let metadata = json!({ "labels": { "app": name }, "ownerReferences": owners });
                let set = json!({ "metadata": metadata, "spec": selecting(name) });
                kubernetes.put("replicasets", "shop", "web-1", set);
                "uid-replicasets-web-1".to_owned()
            } else {
                owner
            };
            kubernetes.put("pods", "shop", &format!("{name}-a"), pod(name, Some(&owner), "node-1"));
            kubernetes.put("pods", "shop", &format!("{name}-b"), pod(name, Some(&owner), "node-2"));
            kubernetes.put("pods", "shop", &format!("{name}-theirs"), pod(name, None, "node-3"));
        }
        kubernetes.put("pods", "shop", "shell", pod("shell", None, "node-1"));
        kubernetes.put("pods", "other", "shell", pod("shell", None, "node-3"));
    });
}

pub(crate) fn workload(kind: &str, namespace: &str, name: &str) -> ResourceKind {
    let text = |text: &str| text.to_owned();
    let workload = Workload { kind: text(kind), namespace: text(namespace), name: text(name) };
    ResourceKind::EksCluster { name: text(CLUSTER), workload: Some(workload), username: None }
}

fn shell(organization: &Organization) -> ResourceKind {
    populate(organization);
    workload("pods", "shop", "shell")
}

fn deployment(organization: &Organization) -> ResourceKind {
    populate(organization);
    workload("deployments", "shop", "web")
}

fn daemon_set(organization: &Organization) -> ResourceKind {
    populate(organization);
    workload("daemonsets", "shop", "agent")
}

fn stateful_set(organization: &Organization) -> ResourceKind {
    populate(organization);
    workload("statefulsets", "shop", "db")
}

fn replica_set(organization: &Organization) -> ResourceKind {
    populate(organization);
    workload("replicasets", "shop", "cache")
}

fn job(organization: &Organization) -> ResourceKind {
    populate(organization);
    workload("jobs", "shop", "batch")
}

/// Pods with more labels, or isolated before; other policies; nodes cordoned by
/// others, of Fargate; pods that have ended.
fn vary_pods(state: &mut State, _: &Resource, dice: &mut Rng) {
    let kubernetes = &mut cluster(state).kubernetes;
    let paths: Vec<String> = kubernetes.objects.keys().cloned().collect();
    for path in paths {
        let object = kubernetes.objects.get_mut(&path).unwrap();
        if path.contains("/pods/") {
            if dice.u8(0..4) == 0 {
                object["metadata"]["labels"]["firebreak.io/isolated"] = json!("r-0000");
            }
            if dice.u8(0..4) == 0 {
                object["metadata"]["labels"]["tier"] = json!("front");
            }
            if dice.u8(0..6) == 0 {
                object["status"]["phase"] = json!("Succeeded");
            }
            if dice.u8(0..6) == 0 {
                object["spec"]["hostNetwork"] = json!(true);
            }
            if path.ends_with("/shell") && dice.bool() {
                object["metadata"].as_object_mut().unwrap().remove("labels");
            }
        }
        if path.contains("/nodes/") {
            match dice.u8(0..8) {
                0 | 1 => {
                    object["spec"]["unschedulable"] = json!(true);
                    let taint = json!({ "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" });
                    object["spec"]["taints"].as_array_mut().unwrap().push(taint);
                }
                2 => object["metadata"]["labels"]["firebreak.io/cordoned"] = json!("r-0000"),
                _ => {}
            }
            if dice.u8(0..6) == 0 {
                object["metadata"]["labels"]["eks.amazonaws.com/compute-type"] = json!("fargate");
            }
        }
    }
    if dice.bool() {
        let spec = json!({ "podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}] });
        kubernetes.put("networkpolicies", "shop", "open", json!({ "spec": spec }));
    }
}

fn open_policy(state: &mut State, _: &Resource) {
    let kubernetes = &mut cluster(state).kubernetes;
    let policy = kubernetes.object_mut("networkpolicies", "shop", POLICY).unwrap();
    policy["spec"]["egress"] = json!([{}]);
}

fn policy(state: &mut State, _: &Resource) -> Value {
    json!(cluster(state).kubernetes.object("networkpolicies", "shop", POLICY))
}

fn uncordon(state: &mut State, _: &Resource) {
    let node = cluster(state).kubernetes.object_mut("nodes", "", "node-1").unwrap();
    node["spec"].as_object_mut().unwrap().remove("unschedulable");
}

fn node(state: &mut State, _: &Resource) -> Value {
    json!(cluster(state).kubernetes.object("nodes", "", "node-1"))
}

fn access() -> Vec<Case> {
    let entry = Case {
        name: "revoke-cluster-access by an access entry",
        action: "revoke-cluster-access",
        parameters: Value::Null,
        arrange: by_entry,
        disturb: give_other_entry,
        witness: ops_entry,
        remove: forget_cluster,
        outlives: false,
        vary: vary_access,
        forgive: super::nothing_forgiven,
    };
    let map = Case {
        name: "revoke-cluster-access by aws-auth alone",
        arrange: by_role_map,
        disturb: edit_auth,
        witness: auth,
        ..entry.clone()
    };
    vec![
        Case {
            name: "revoke-cluster-access by an access entry and aws-auth",
            arrange: by_both,
            ..entry.clone()
        },
        Case {
            name: "revoke-cluster-access by a name of one's own",
            arrange: by_custom_name,
            ..entry.clone()
        },
        Case {
            name: "revoke-cluster-access of a user by aws-auth beside entries",
            arrange: by_user_map,
            ..map.clone()
        },
        Case {
            name: "revoke-cluster-access of a role in every cluster",
            arrange: role_of_clusters,
            remove: |state, _| {
                state.iam(ACCOUNT).roles.remove("ops");
            },
            ..entry.clone()
        },
        Case {
            name: "revoke-cluster-access of a user in every cluster",
            arrange: user_of_clusters,
            disturb: edit_auth,
            witness: auth,
            remove: |state, _| {
                state.iam(ACCOUNT).users.remove("alice");
            },
            ..entry.clone()
        },
        entry,
        map,
    ]
}

fn pods() -> Vec<Case> {
    let pod = Case {
        name: "isolate-pod",
        action: "isolate-pod",
        parameters: Value::Null,
        arrange: shell,
        disturb: open_policy,
        witness: policy,
        remove: forget_cluster,
        outlives: false,
        vary: vary_pods,
        forgive: super::nothing_forgiven,
    };
    let node = Case {
        name: "cordon-node",
        action: "cordon-node",
        disturb: uncordon,
        witness: node,
        ..pod.clone()
    };
    vec![
        Case { name: "isolate-pod of a deployment", arrange: deployment, ..pod.clone() },
        Case { name: "isolate-pod of a daemon set", arrange: daemon_set, ..pod.clone() },
        Case { name: "isolate-pod of a stateful set", arrange: stateful_set, ..pod.clone() },
        Case { name: "isolate-pod of a replica set", arrange: replica_set, ..pod.clone() },
        Case { name: "isolate-pod of a job", arrange: job, ..pod.clone() },
        pod,
        Case { name: "cordon-node of a deployment", arrange: deployment, ..node.clone() },
        node,
    ]
}

pub(super) fn cases() -> Vec<Case> {
    [access(), pods()].concat()
}
