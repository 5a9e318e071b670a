//! The actions on EKS clusters. moto's have no Kubernetes API behind them.

use aws_sdk_eks::types::VpcConfigRequest;
use firebreak_model::resource::{ResourceKind, Workload};
use firebreak_simulation::Organization;
use firebreak_simulation::regional::eks::{AccessEntry, Cluster, default_username};
use serde_json::json;

use super::Pair;
use crate::conformance::backend::{ACCOUNT, Backend, REGION};

const CLUSTER: &str = "conformance";

fn entry(principal: &str, group: &str) -> (String, AccessEntry) {
    let entry = AccessEntry {
        groups: vec![group.to_owned()],
        username: default_username(principal),
        kind: "STANDARD".to_owned(),
        ..AccessEntry::default()
    };
    (principal.to_owned(), entry)
}

/// With an entry for this run's caller, whose group may do all that is needed,
/// and one for a role; a pod on a node.
fn simulate(organization: &Organization) {
    let caller = format!("arn:aws:iam::{ACCOUNT}:user/caller");
    let ops = format!("arn:aws:iam::{ACCOUNT}:role/ops");
    let mut cluster = Cluster {
        id: "0123456789ABCDEF".to_owned(),
        authentication_mode: "API".to_owned(),
        public_endpoint: true,
        entries: [entry(&caller, "firebreak"), entry(&ops, "ops")].into(),
        ..Cluster::default()
    };
    let kubernetes = &mut cluster.kubernetes;
    let verbs = ["get", "list", "create", "patch", "delete"];
    let rules = json!([
        { "apiGroups": [""], "resources": ["pods", "nodes", "configmaps"], "verbs": verbs },
        { "apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": verbs },
    ]);
    kubernetes.put("clusterroles", "", "firebreak", json!({ "rules": rules }));
    let binding = json!({
        "subjects": [{ "kind": "Group", "name": "firebreak" }],
        "roleRef": { "kind": "ClusterRole", "name": "firebreak" },
    });
    kubernetes.put("clusterrolebindings", "", "firebreak", binding);
    kubernetes.put("nodes", "", "node-1", json!({ "metadata": {}, "spec": {} }));
    let pod = json!({
        "metadata": { "labels": { "app": "shell" } },
        "spec": { "nodeName": "node-1", "containers": [{ "name": "main" }] },
        "status": { "phase": "Running" },
    });
    kubernetes.put("pods", "shop", "shell", pod);
    organization.edit(|state| {
        state.regional(ACCOUNT, REGION).eks.clusters.insert(CLUSTER.to_owned(), cluster);
    });
}

async fn make(backend: &Backend) {
    backend.role("ops").await;
    if let Some(organization) = backend.simulated() {
        return simulate(organization);
    }
    let vpc = backend.vpc().await;
    let network = VpcConfigRequest::builder().subnet_ids(backend.subnet(&vpc, 0).await);
    let network = network.subnet_ids(backend.subnet(&vpc, 1).await);
    let network = network.endpoint_public_access(true).build();
    let call = backend.eks().create_cluster().name(CLUSTER).resources_vpc_config(network);
    call.role_arn(format!("arn:aws:iam::{ACCOUNT}:role/ops")).send().await.unwrap();
}

pub(super) async fn pairs(backend: &Backend) -> Vec<Pair> {
    make(backend).await;
    let name = CLUSTER.to_owned();
    let text = |text: &str| text.to_owned();
    let workload = Workload { kind: text("pods"), namespace: text("shop"), name: text("shell") };
    let pod =
        ResourceKind::EksCluster { name: name.clone(), workload: Some(workload), username: None };
    let username = Some(format!("arn:aws:sts::{ACCOUNT}:assumed-role/ops/mallory"));
    let user = ResourceKind::EksCluster { name, workload: None, username };
    vec![
        Pair::new("revoke-cluster-access", "a user", user),
        Pair::new("isolate-pod", "a pod", pod.clone()),
        Pair::new("cordon-node", "a pod's node", pod),
    ]
}
