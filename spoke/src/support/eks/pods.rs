//! The pods of a Kubernetes workload: those that it owns, by its uid. Labels alone
//! would include other pods that carry them.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::core::{NamespaceResourceScope, Selector};

use crate::contract::ActionContext;
use crate::support::eks::cluster::{self, Kubernetes, Object, checked_name};
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::{ResourceKind, Workload};

/// The kinds of workload that are known, as findings name them.
const KINDS: &str = "pods, deployments, daemonsets, statefulsets, replicasets and jobs";

/// A workload's pods, and the cluster that they run in.
pub(crate) struct FoundPod<'a> {
    /// The cluster's API.
    pub(crate) kubernetes: Kubernetes<'a>,
    /// The pods that have not ended; at least one.
    pub(crate) pods: Vec<Pod>,
}

/// The cluster and workload that a target names.
pub(crate) fn workload(kind: &ResourceKind) -> Result<(&str, &Workload), ActionError> {
    let not_applicable = |why: &str| Err(ActionError::new(ErrorKind::NotApplicable, why));
    let ResourceKind::EksCluster { name, workload, .. } = kind else {
        return not_applicable("the target is not an EKS cluster");
    };
    match workload {
        Some(workload) => Ok((name, workload)),
        None => not_applicable("the finding names no workload in the cluster"),
    }
}

/// The cluster's API; `None` where the cluster is gone.
pub(crate) async fn connect_unless_gone(
    context: ActionContext<'_>,
) -> Result<Option<Kubernetes<'_>>, ActionError> {
    match connect(context).await {
        Ok(kubernetes) => Ok(Some(kubernetes)),
        Err(error) if error.kind == ErrorKind::Gone => Ok(None),
        Err(error) => Err(error),
    }
}

/// The cluster's API, without a look at the workload.
pub(crate) async fn connect(context: ActionContext<'_>) -> Result<Kubernetes<'_>, ActionError> {
    let (name, _) = workload(&context.resource.kind)?;
    let cluster = cluster::describe(context.account, name).await?;
    Kubernetes::connect(context.account, &cluster)
}

/// The pods of the target's workload. `Gone` when the cluster or the workload
/// does not exist any more, or has no pod that runs.
pub(crate) async fn find(context: ActionContext<'_>) -> Result<FoundPod<'_>, ActionError> {
    let (_, workload) = workload(&context.resource.kind)?;
    let Workload { kind, namespace, name } = workload;
    let (namespace, name) = (checked_name(namespace)?, checked_name(name)?);
    let known = ["pods", "deployments", "daemonsets", "statefulsets", "replicasets", "jobs"];
    if !known.contains(&kind.as_str()) {
        let why = format!("a workload of type `{kind}` has no pods to be found: {KINDS} have");
        return Err(ActionError::new(ErrorKind::NotApplicable, why));
    }
    let kubernetes = connect(context).await?;
    let mut pods = match kind.as_str() {
        "pods" => {
            let pod = kubernetes.get(&kubernetes.namespaced::<Pod>(namespace), name).await?;
            pod.into_iter().collect()
        }
        kind => owned_by(&kubernetes, kind, namespace, name).await?,
    };
    let ended = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    };
    pods.retain(|pod| !ended(pod));
    if pods.is_empty() {
        let why = format!("`{kind}/{name}` in the namespace `{namespace}` has no pod that runs");
        return Err(ActionError::new(ErrorKind::Gone, why));
    }
    Ok(FoundPod { kubernetes, pods })
}

async fn owned_by(
    kubernetes: &Kubernetes<'_>,
    kind: &str,
    namespace: &str,
    name: &str,
) -> Result<Vec<Pod>, ActionError> {
    let at = (kubernetes, namespace, name);
    let owner = match kind {
        "deployments" => owner::<Deployment>(at, |it| Some(it.spec.selector)).await?,
        "daemonsets" => owner::<DaemonSet>(at, |it| Some(it.spec.selector)).await?,
        "statefulsets" => owner::<StatefulSet>(at, |it| Some(it.spec.selector)).await?,
        "replicasets" => owner::<ReplicaSet>(at, |it| Some(it.spec.selector)).await?,
        _ => owner::<Job>(at, |it| it.spec?.selector).await?,
    };
    let Some((uid, selector)) = owner else { return Ok(Vec::new()) };
    let mut owners = BTreeSet::from([uid]);
    if kind == "deployments" {
        // Its pods are its replica sets'.
        let sets = kubernetes.namespaced::<ReplicaSet>(namespace);
        let sets = kubernetes.list(&sets, &selector).await?;
        owners =
            sets.iter().filter(|set| is_owned(*set, &owners)).filter_map(|set| set.uid()).collect();
    }
    let pods = kubernetes.list(&kubernetes.namespaced::<Pod>(namespace), &selector).await?;
    Ok(pods.into_iter().filter(|pod| is_owned(pod, &owners)).collect())
}

/// A workload's uid and the selector of its pods; `None` when it is gone.
async fn owner<K>(
    (kubernetes, namespace, name): (&Kubernetes<'_>, &str, &str),
    selector: fn(K) -> Option<LabelSelector>,
) -> Result<Option<(String, Selector)>, ActionError>
where
    K: Object + kube::Resource<Scope = NamespaceResourceScope>,
{
    let Some(found) = kubernetes.get(&kubernetes.namespaced::<K>(namespace), name).await? else {
        return Ok(None);
    };
    let failed = |why: String| ActionError::new(ErrorKind::Failed, why);
    let uid = found.uid().ok_or_else(|| failed(format!("`{name}` has no uid")))?;
    let selector = selector(found).ok_or_else(|| failed(format!("`{name}` has no selector")))?;
    let selector = Selector::try_from(selector).map_err(|error| failed(error.to_string()))?;
    Ok(Some((uid, selector)))
}

fn is_owned<K: ResourceExt>(object: &K, owners: &BTreeSet<String>) -> bool {
    object.owner_references().iter().any(|owner| owners.contains(&owner.uid))
}
