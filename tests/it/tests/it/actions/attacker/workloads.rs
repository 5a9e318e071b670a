//! The paths of functions, containers and clusters, and of an instance that ends.

use firebreak_model::resource::Resource;
use firebreak_simulation::iam::model::Role;
use firebreak_simulation::state::State;

use super::identity::{later, may, session_of};
use super::{Attempt, Fate, attempt};
use crate::actions::cases::{CLUSTER, OPS, compute, first_interface, instance_id};
use crate::actions::stage::{ACCOUNT, REGION, allow};

fn nothing(_: &mut State, _: &Resource) {}

fn runs(state: &mut State, target: &Resource) -> bool {
    let instance = instance_id(target);
    state.ec2(ACCOUNT, REGION).instances.get(&instance).is_some_and(|it| it.state == "running")
}

fn connect_through_nat(state: &mut State, target: &Resource) {
    let interface = first_interface(state, target);
    state.ec2(ACCOUNT, REGION).connect(&interface, true);
}

fn is_connected(state: &mut State, _: &Resource) -> bool {
    !state.ec2(ACCOUNT, REGION).connections.is_empty()
}

fn can_be_invoked(state: &mut State, _: &Resource) -> bool {
    compute::function(state).reserved != Some(0)
}

fn has_entry(state: &mut State, _: &Resource) -> bool {
    let clusters = &state.regional(ACCOUNT, REGION).eks.clusters;
    clusters[CLUSTER].entries.contains_key(OPS)
}

/// Whether the VPC CNI lets the first pod through: it applies a policy only to a pod that has
/// an owner.
fn a_pod_has_traffic(state: &mut State, _: &Resource) -> bool {
    let cluster = &state.regional(ACCOUNT, REGION).eks.clusters[CLUSTER];
    let policies = cluster.kubernetes.objects.keys().any(|it| it.contains("networkpolicies"));
    let pods = cluster.kubernetes.objects.iter().filter(|(path, _)| path.contains("/shop/pods/"));
    let owned = |pod: &serde_json::Value| pod.pointer("/metadata/ownerReferences/0").is_some();
    pods.into_iter().any(|(path, pod)| path.ends_with("/shell") && !(policies && owned(pod)))
}

pub(super) fn attempts() -> Vec<Attempt> {
    use Fate::{Closed, Residual};
    let of = |case, attempt| Attempt { case, ..attempt };
    vec![
        attempt(("stop-instance", "instance", Closed), nothing, runs),
        attempt(("stop-instance", "nat-gateway", Closed), connect_through_nat, is_connected),
        attempt(("terminate-instance", "instance", Closed), nothing, runs),
        attempt(("terminate-instance", "nat-gateway", Closed), connect_through_nat, is_connected),
        of(
            "freeze-function without one",
            attempt(("freeze-function", "invocations", Closed), nothing, can_be_invoked),
        ),
        of(
            "freeze-function without one",
            attempt(
                ("freeze-function", "provisioned-concurrency", Closed),
                |state, _| {
                    compute::function(state).provisioned.insert("live".to_owned(), 5);
                },
                |state, _| !compute::function(state).provisioned.is_empty(),
            ),
        ),
        of(
            "freeze-function without one",
            attempt(
                ("freeze-function", "execution-role", Residual),
                |state, _| {
                    let mut role = Role::default();
                    role.identity.inline.insert("read".to_owned(), allow(&["s3:GetObject"]));
                    state.iam(ACCOUNT).roles.insert("web".to_owned(), role);
                },
                |state, _| {
                    let session = session_of(state, "web", later());
                    may(state, &session)
                },
            ),
        ),
        attempt(("close-function-url", "function-url", Closed), nothing, |state, _| {
            compute::function(state).url_auth.as_deref() == Some("NONE")
        }),
        attempt(("freeze-service", "tasks", Closed), nothing, |state, _| {
            compute::ecs_service(state).desired > 0
        }),
        attempt(
            ("freeze-service", "auto-scaling", Closed),
            |state, _| {
                compute::scale_service(state);
            },
            |state, _| state.regional(ACCOUNT, REGION).scaling.alarm(compute::SCALED).is_some(),
        ),
        of(
            "revoke-cluster-access by an access entry",
            attempt(("revoke-cluster-access", "access-entry", Closed), nothing, has_entry),
        ),
        of(
            "stop-task on Fargate",
            attempt(("stop-task", "task", Closed), nothing, |state, _| {
                compute::ecs_cluster(state).tasks[compute::TASK].stopped.is_none()
            }),
        ),
        attempt(("isolate-pod", "network-plugin", Residual), nothing, a_pod_has_traffic),
    ]
}
