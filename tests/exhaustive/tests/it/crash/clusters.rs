//! An EKS cluster whose user and pod a finding is about.

use std::collections::BTreeMap;

use firebreak_demo::world::{Member, World};
use firebreak_simulation::regional::eks::{AccessEntry, AccessScope, Cluster, default_username};
use firebreak_testkit::arrange::finding_on;
use serde_json::{Value, json};

const ADMINISTRATOR: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";

fn role(member: &Member, name: &str) -> String {
    format!("arn:aws:iam::{}:role/{name}", member.account)
}

fn entry(principal: &str, groups: &[&str]) -> AccessEntry {
    AccessEntry {
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        username: default_username(principal),
        kind: "STANDARD".to_owned(),
        ..AccessEntry::default()
    }
}

/// What Firebreak needs in a cluster, as its documentation says.
fn rules() -> Value {
    json!([
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "patch"] },
        { "apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["get", "list", "create", "delete"] },
    ])
}

/// A cluster with a user by an access entry, and a pod.
pub(crate) fn arrange(world: &World, member: &Member) {
    let now = world.organization.now().as_second();
    world.organization.edit(|state| {
        let mut held = Cluster {
            id: "0123456789ABCDEF".to_owned(),
            authentication_mode: "API".to_owned(),
            public_endpoint: true,
            bootstrap_creator: true,
            created: now - 30 * 86_400,
            ..Cluster::default()
        };
        let (spoke, user) = (role(member, "FirebreakSpoke"), role(member, &member.user));
        held.entries.insert(spoke.clone(), entry(&spoke, &["firebreak"]));
        let scope = AccessScope { kind: "cluster".to_owned(), namespaces: Vec::new() };
        let policies = BTreeMap::from([(ADMINISTRATOR.to_owned(), scope)]);
        let granted = AccessEntry { policies, created: now - 86_400, ..entry(&user, &["ops"]) };
        held.entries.insert(user, granted);
        let kubernetes = &mut held.kubernetes;
        kubernetes.put("clusterroles", "", "firebreak", json!({ "rules": rules() }));
        let binding = json!({
            "subjects": [{ "kind": "Group", "name": "firebreak" }],
            "roleRef": { "kind": "ClusterRole", "name": "firebreak" },
        });
        kubernetes.put("clusterrolebindings", "", "firebreak", binding);
        let pod = json!({
            "metadata": { "labels": { "app": "shell" }, "ownerReferences": [] },
            "spec": { "nodeName": "node-1", "containers": [{ "name": "main" }] },
            "status": { "phase": "Running" },
        });
        kubernetes.put("pods", "shop", "shell", pod);
        let eks = &mut state.regional(&member.account, &member.region).eks;
        eks.clusters.insert("prod".to_owned(), held);
    });
}

/// A finding about both.
pub(crate) fn finding(member: &Member) -> Value {
    let arn = format!("arn:aws:eks:{}:{}:cluster/prod", member.region, member.account);
    let username = default_username(&role(member, &member.user));
    let details = json!({
        "resourceType": "EKSCluster",
        "eksClusterDetails": { "name": "prod", "arn": arn },
        "kubernetesDetails": {
            "kubernetesUserDetails": { "username": username },
            "kubernetesWorkloadDetails": { "type": "pods", "namespace": "shop", "name": "shell" },
        },
    });
    finding_on(member, 1, "Execution:Kubernetes/ExecInKubeSystemPod", details)
}
