//! Keeps new pods off the nodes that a workload's pods run on: marks the nodes
//! unschedulable, as `kubectl cordon` does (Kubernetes, "Manual Node administration").
//! Running pods are not affected. Undo restores both the mark and our label, unless
//! another caller uncordoned the node since.
//!
//! A node that is unschedulable already is left as it is. A pod on Fargate has
//! a node of its own, which takes no other pod (EKS user guide, "AWS Fargate").

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Reversal,
    Undone, Verification,
};
use crate::grant::Grant;
use crate::support::eks::cluster::DESCRIBE;
use crate::support::eks::pods::{self, FoundPod};
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct CordonNode;

const LABEL: &str = "firebreak.io/cordoned";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    nodes: Vec<PriorNode>,
}

/// A node as it was.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct PriorNode {
    name: String,
    uid: String,
    /// `None` if the node had no value, which undo restores as such.
    unschedulable: Option<bool>,
    label: Option<String>,
}

impl Action for CordonNode {
    const SPEC: ActionSpec = ActionSpec {
        name: "cordon-node",
        sentence: "Cordons the nodes that the workload's pods run on, so that no new pods are scheduled there.",
        resource_types: &["EKSCluster"],
        reads: &[DESCRIBE],
        writes: &[],
        reversal: Reversal::Restored,
        phase: Phase::Protect,
    };
    const GRANTS: &'static [Grant] = &[];
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let FoundPod { kubernetes, pods } = pods::find(context).await?;
        let names: BTreeSet<&str> =
            pods.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref()).collect();
        let (api, mut nodes, mut fargate) = (kubernetes.all::<Node>(), Vec::new(), false);
        for name in names {
            match kubernetes.get(&api, name).await? {
                Some(node) if is_fargate(&node) => fargate = true,
                Some(node) => nodes.push(node),
                None => {}
            }
        }
        if nodes.is_empty() {
            let why = if fargate {
                "the workload runs on Fargate, where each pod has a node of its own"
            } else {
                "no pod of the workload is on a node"
            };
            return Err(ActionError::new(ErrorKind::NotApplicable, why));
        }
        let free = nodes.iter().filter(|node| !is_cordoned(node));
        let changes = free.map(|node| Change {
            what: format!("node {}", node.name_any()),
            before: "takes new pods".to_owned(),
            after: "takes no new pods".to_owned(),
        });
        let changes = changes.collect();
        let nodes = nodes.iter().map(|node| PriorNode {
            name: node.name_any(),
            uid: node.uid().unwrap_or_default(),
            unschedulable: node.spec.as_ref().and_then(|spec| spec.unschedulable),
            label: label(node).map(str::to_owned),
        });
        Ok(CapturedState { prior: Prior { nodes: nodes.collect() }, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        let kubernetes = pods::connect(context).await?;
        let (api, mut present) = (kubernetes.all::<Node>(), 0);
        for PriorNode { name, uid, .. } in &prior.nodes {
            let node = kubernetes.get(&api, name).await?;
            let Some(node) = node.filter(|node| node.uid().as_ref() == Some(uid)) else { continue };
            present += 1;
            if !is_cordoned(&node) {
                // Both in one, so that a cordon of ours is always known as ours.
                let change = json!({
                    "metadata": { "uid": uid, "labels": { LABEL: context.response } },
                    "spec": { "unschedulable": true },
                });
                kubernetes.patch(&api, name, &change).await?;
            }
        }
        if present == 0 {
            return Err(ActionError::new(ErrorKind::Gone, "the nodes do not exist any more"));
        }
        Ok(())
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let kubernetes = match pods::connect(context).await {
            Ok(kubernetes) => kubernetes,
            Err(error) if error.kind == ErrorKind::Gone => {
                return Ok(Verification::InEffect(
                    "the cluster does not exist any more".to_owned(),
                ));
            }
            Err(error) => return Err(error),
        };
        let api = kubernetes.all::<Node>();
        for PriorNode { name, uid, .. } in &prior.nodes {
            let node = kubernetes.get(&api, name).await?;
            let node = node.filter(|node| node.uid().as_ref() == Some(uid));
            if node.is_some_and(|node| !is_cordoned(&node)) {
                return Ok(Verification::NotInEffect(format!("the node `{name}` takes new pods")));
            }
        }
        let names: Vec<&str> = prior.nodes.iter().map(|node| node.name.as_str()).collect();
        Ok(Verification::InEffect(format!("no new pods for `{}`", names.join("`, `"))))
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let Some(kubernetes) = pods::connect_unless_gone(context).await? else {
            return Ok(Undone::drifted("the cluster does not exist any more"));
        };
        let mut undone = Undone::default();
        let api = kubernetes.all::<Node>();
        for PriorNode { name, uid, unschedulable, label: before } in &prior.nodes {
            let node = kubernetes.get(&api, name).await?;
            let Some(node) = node.filter(|node| node.uid().as_ref() == Some(uid)) else {
                undone.drift.push(format!("the node `{name}` does not exist any more"));
                continue;
            };
            let is_ours = label(&node) == Some(context.response);
            if is_ours && is_cordoned(&node) {
                let change = json!({
                    "metadata": { "uid": uid, "labels": { LABEL: before } },
                    "spec": { "unschedulable": unschedulable },
                });
                kubernetes.patch(&api, name, &change).await?;
                undone.restored.push(format!("the node `{name}` takes new pods again"));
            } else if is_ours || is_cordoned(&node) != unschedulable.unwrap_or(false) {
                let is = if is_cordoned(&node) { "cordoned" } else { "uncordoned" };
                undone.drift.push(format!("the node `{name}` was {is} after the response"));
            }
        }
        Ok(undone)
    }
}

fn label(node: &Node) -> Option<&str> {
    node.labels().get(LABEL).map(String::as_str)
}

fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
}

fn is_fargate(node: &Node) -> bool {
    node.labels().get("eks.amazonaws.com/compute-type").is_some_and(|kind| kind == "fargate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prior_state_reads_back_as_it_was_recorded() {
        let node = |unschedulable, label: Option<&str>| PriorNode {
            name: "ip-10-0-0-1.ec2.internal".to_owned(),
            uid: "uid".to_owned(),
            unschedulable,
            label: label.map(str::to_owned),
        };
        let prior = Prior { nodes: vec![node(None, None), node(Some(false), Some("r-0000"))] };
        let json = serde_json::to_value(&prior).unwrap();
        assert_eq!(serde_json::from_value::<Prior>(json).unwrap(), prior);
    }
}
