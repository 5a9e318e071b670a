//! Denies a workload's pods all traffic: labels them and creates a
//! NetworkPolicy that selects the label and allows nothing. Undo deletes the
//! policy and puts the labels back.
//!
//! A NetworkPolicy takes effect only if the cluster's network plugin enforces it: the
//! VPC CNI with network policies enabled, Calico, Cilium (EKS user guide, "Limit Pod
//! traffic with Kubernetes network policies"). Nothing in the API shows whether it
//! does. Policies add up: what another one allows the pod stays allowed (Kubernetes,
//! "Network Policies"), which `verify` reports. What happens to open connections
//! depends on the plugin. Pods on the host's network have no policies at all.
//!
//! The label is on the pods, not in the workload's template: a pod that is started
//! later is not isolated, and `verify` reports it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::ResourceExt;
use kube::core::{Expression, Selector, SelectorExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Residual, Reversal, Undone,
    Verification,
};
use crate::grant::Grant;
use crate::support::eks::cluster::{DESCRIBE, Kubernetes, checked_name};
use crate::support::eks::pods::{self, FoundPod};
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct IsolatePod;

const LABEL: &str = "firebreak.io/isolated";

/// Which pods may be isolated.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Parameters {
    /// Isolate pods of the namespace kube-system as well. The cluster's own
    /// services run there: without its DNS, for one, every workload fails.
    system_namespace: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    namespace: String,
    pods: Vec<PriorPod>,
}

/// A pod and its label as they were.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct PriorPod {
    name: String,
    uid: String,
    /// `None` when it had no such label, which undo restores as such.
    label: Option<String>,
}

impl Action for IsolatePod {
    const SPEC: ActionSpec = ActionSpec {
        name: "isolate-pod",
        sentence: "Denies the workload's pods all traffic by a network policy, where the cluster's network plugin enforces one.",
        resource_types: &["EKSCluster"],
        reads: &[DESCRIBE],
        writes: &[],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[];
    type Parameters = Parameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        parameters: &Parameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let (_, workload) = pods::workload(&context.resource.kind)?;
        let namespace = workload.namespace.clone();
        if namespace == "kube-system" && !parameters.system_namespace {
            let why = "refused to isolate a pod of the namespace `kube-system`: the cluster's own services run there";
            let help = "set `system-namespace: true` where that is wanted".to_owned();
            return Err(ActionError {
                help: Some(help),
                ..ActionError::new(ErrorKind::Refused, why)
            });
        }
        let FoundPod { kubernetes, pods } = pods::find(context).await?;
        if let Some(pod) = pods.iter().find(|pod| uses_host_network(pod)) {
            let why = format!(
                "the pod `{}` is on its host's network, where no network policy applies: cordon or isolate the node",
                pod.name_any()
            );
            return Err(ActionError::new(ErrorKind::NotApplicable, why));
        }
        let policy = policy(&kubernetes, &namespace, context.response).await?;
        let mut changes: Vec<Change> = pods
            .iter()
            .filter(|pod| label(pod) != Some(context.response))
            .map(|pod| Change {
                what: format!("label {LABEL} of the pod {}", pod.name_any()),
                before: label(pod).unwrap_or("none").to_owned(),
                after: context.response.to_owned(),
            })
            .collect();
        if policy.is_none() {
            changes.push(Change {
                what: format!("network policy {} in {namespace}", policy_name(context.response)),
                before: "none".to_owned(),
                after: "denies the labelled pods all traffic, where the cluster's network plugin enforces network policies".to_owned(),
            });
        }
        let pods = pods.iter().map(|pod| PriorPod {
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            // Our own label, from an earlier run, is not a prior one.
            label: label(pod).filter(|label| *label != context.response).map(str::to_owned),
        });
        Ok(CapturedState { prior: Prior { namespace, pods: pods.collect() }, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        // All pods that it has now: one that was replaced since belongs to the workload
        // as well. Undo finds it by its label.
        let FoundPod { kubernetes, pods } = pods::find(context).await?;
        let policies = kubernetes.namespaced(&prior.namespace);
        let policy = denial(context.response);
        kubernetes.create(&policies, &policy.name_any(), &policy).await?;
        let api = kubernetes.namespaced::<Pod>(&prior.namespace);
        for pod in pods.iter().filter(|pod| label(pod) != Some(context.response)) {
            let labels = json!({ LABEL: context.response });
            let change = json!({ "metadata": { "uid": pod.uid(), "labels": labels } });
            kubernetes.patch(&api, &pod.name_any(), &change).await?;
        }
        Ok(())
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let FoundPod { kubernetes, pods } = match pods::find(context).await {
            Ok(found) => found,
            Err(error) if error.kind == ErrorKind::Gone => {
                return Ok(Verification::InEffect(format!("nothing is left: {}", error.message)));
            }
            Err(error) => return Err(error),
        };
        let name = policy_name(context.response);
        let not_in_effect = |why: String| Ok(Verification::NotInEffect(why));
        match policy(&kubernetes, &prior.namespace, context.response).await? {
            None => return not_in_effect(format!("there is no network policy `{name}`")),
            Some(policy) if !is_denial(&policy, context.response) => {
                return not_in_effect(format!("the network policy `{name}` was changed"));
            }
            Some(_) => {}
        }
        if let Some(pod) = pods.iter().find(|pod| label(pod) != Some(context.response)) {
            return not_in_effect(format!("the pod `{}` is not isolated", pod.name_any()));
        }
        let all = kubernetes.namespaced::<NetworkPolicy>(&prior.namespace);
        let all = kubernetes.list(&all, &Selector::default()).await?;
        for policy in all.iter().filter(|policy| allows_something(policy)) {
            if let Some(pod) = pods.iter().find(|pod| selects(policy, pod)) {
                return not_in_effect(format!(
                    "the network policy `{}` still allows the pod `{}` some traffic: policies add up",
                    policy.name_any(),
                    pod.name_any()
                ));
            }
        }
        Ok(Verification::InEffect(format!(
            "{} of the workload are denied all traffic by the network policy `{name}`, where the cluster's network plugin enforces network policies",
            if let [pod] = pods.as_slice() {
                format!("the pod `{}`", pod.name_any())
            } else {
                format!("{} pods", pods.len())
            }
        )))
    }

    async fn residual(
        context: ActionContext<'_>,
        _: &Parameters,
        _: &Prior,
    ) -> Result<Vec<Residual>, ActionError> {
        let pods = match pods::find(context).await {
            Ok(FoundPod { pods, .. }) => pods,
            Err(error) if error.kind == ErrorKind::Gone => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let without_policy = pods.iter().filter_map(|pod| Some((pod, lacks_policy(pod)?)));
        Ok(without_policy
            .map(|(pod, why)| {
                let name = pod.name_any();
                let what = format!(
                    "the traffic of the pod {name}, if the network plugin is the Amazon VPC CNI: it applies no policy to {why}"
                );
                Residual::new("network-plugin", what, &[])
            })
            .collect())
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let Some(kubernetes) = pods::connect_unless_gone(context).await? else {
            return Ok(Undone::drifted("the cluster does not exist any more"));
        };
        let mut undone = Undone::default();
        let namespace = checked_name(&prior.namespace)?;
        let name = policy_name(context.response);
        match policy(&kubernetes, namespace, context.response).await? {
            None => {}
            Some(policy) if is_denial(&policy, context.response) => {
                kubernetes.delete(&kubernetes.namespaced(namespace), &policy).await?;
                undone.restored.push(format!("the network policy `{name}` is deleted"));
            }
            Some(_) => undone.drift.push(format!("the network policy `{name}` was changed")),
        }
        restore_labels(context, &kubernetes, prior, &mut undone).await?;
        Ok(undone)
    }
}

/// To which kind of pods the VPC CNI applies no network policy, if this is one of them (EKS
/// user guide, "Limit Pod traffic with Kubernetes network policies", considerations: not to
/// pods on Fargate, nor to standalone pods without `ownerReferences`).
fn lacks_policy(pod: &Pod) -> Option<&'static str> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    if node.is_some_and(|node| node.starts_with("fargate-")) {
        return Some("pods on Fargate");
    }
    pod.owner_references().is_empty().then_some("a pod without an owner")
}

/// Every pod that carries the response's label, also one that was not recorded,
/// gets its own back.
async fn restore_labels(
    context: ActionContext<'_>,
    kubernetes: &Kubernetes<'_>,
    prior: &Prior,
    undone: &mut Undone,
) -> Result<(), ActionError> {
    let api = kubernetes.namespaced::<Pod>(&prior.namespace);
    let ours = Expression::Equal(LABEL.to_owned(), context.response.to_owned()).into();
    for pod in kubernetes.list(&api, &ours).await? {
        let (name, uid) = (pod.name_any(), pod.uid().unwrap_or_default());
        let recorded = prior.pods.iter().find(|it| it.name == name && it.uid == uid);
        let before = recorded.and_then(|it| it.label.as_deref());
        let change = json!({ "metadata": { "uid": uid, "labels": { LABEL: before } } });
        kubernetes.patch(&api, &name, &change).await?;
        undone.restored.push(format!("the pod `{name}` has its labels again"));
    }
    for PriorPod { name, uid, label: before } in &prior.pods {
        match kubernetes.get(&api, name).await? {
            Some(pod) if pod.uid().as_ref() == Some(uid) => {
                if label(&pod) != before.as_deref() && label(&pod) != Some(context.response) {
                    undone.drift.push(format!("the label {LABEL} of `{name}` was changed"));
                }
            }
            Some(_) | None => {
                undone.drift.push(format!("the pod `{name}` does not exist any more"));
            }
        }
    }
    Ok(())
}

fn label(pod: &Pod) -> Option<&str> {
    pod.labels().get(LABEL).map(String::as_str)
}

fn uses_host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true)
}

fn policy_name(response: &str) -> String {
    format!("firebreak-isolation-{response}")
}

async fn policy(
    kubernetes: &Kubernetes<'_>,
    namespace: &str,
    response: &str,
) -> Result<Option<NetworkPolicy>, ActionError> {
    let policies = kubernetes.namespaced(checked_name(namespace)?);
    kubernetes.get(&policies, &policy_name(response)).await
}

/// Both directions are isolated, and no rule allows anything (Kubernetes,
/// "Network Policies", default deny).
fn denial(response: &str) -> NetworkPolicy {
    let label = BTreeMap::from([(LABEL.to_owned(), response.to_owned())]);
    let pod_selector = LabelSelector { match_labels: Some(label), match_expressions: None };
    let policy_types = Some(vec!["Ingress".to_owned(), "Egress".to_owned()]);
    let spec = NetworkPolicySpec {
        pod_selector: Some(pod_selector),
        policy_types,
        ..NetworkPolicySpec::default()
    };
    let metadata = ObjectMeta { name: Some(policy_name(response)), ..ObjectMeta::default() };
    NetworkPolicy { metadata, spec: Some(spec) }
}

fn is_denial(policy: &NetworkPolicy, response: &str) -> bool {
    policy.spec == denial(response).spec
}

fn allows_something(policy: &NetworkPolicy) -> bool {
    let spec = policy.spec.as_ref();
    let rules = |is: Option<bool>| is == Some(true);
    rules(spec.and_then(|spec| spec.ingress.as_ref()).map(|rules| !rules.is_empty()))
        || rules(spec.and_then(|spec| spec.egress.as_ref()).map(|rules| !rules.is_empty()))
}

fn selects(policy: &NetworkPolicy, pod: &Pod) -> bool {
    let selector = policy.spec.clone().and_then(|spec| spec.pod_selector).unwrap_or_default();
    // One that cannot be read may select anything.
    Selector::try_from(selector).map_or(true, |selector| selector.matches(pod.labels()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::networking::v1::NetworkPolicyEgressRule;

    use super::*;

    #[test]
    fn a_policy_without_rules_denies_and_one_with_a_rule_does_not() {
        let mut policy = denial("r-0001");
        assert!(is_denial(&policy, "r-0001") && !is_denial(&policy, "r-0002"));
        assert!(!allows_something(&policy));
        policy.spec.as_mut().unwrap().egress = Some(vec![NetworkPolicyEgressRule::default()]);
        assert!(!is_denial(&policy, "r-0001") && allows_something(&policy));
    }

    #[test]
    fn the_prior_state_reads_back_as_it_was_recorded() {
        let pod = |label: Option<&str>| PriorPod {
            name: "web-1".to_owned(),
            uid: "uid".to_owned(),
            label: label.map(str::to_owned),
        };
        let pods = vec![pod(None), pod(Some("r-0000"))];
        let prior = Prior { namespace: "default".to_owned(), pods };
        let json = serde_json::to_value(&prior).unwrap();
        assert_eq!(serde_json::from_value::<Prior>(json).unwrap(), prior);
    }
}
