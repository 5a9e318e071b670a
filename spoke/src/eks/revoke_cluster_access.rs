//! Removes an IAM principal from clusters: its access entry, and its mapping in `aws-auth` if
//! the cluster uses that. For a finding about a cluster that is the principal behind the
//! Kubernetes user, in that cluster; for a user, role or key it is that principal, in every
//! cluster of the Region that lets it in. Undo creates both again exactly: groups, user
//! name, type, tags, access policies.
//!
//! The API server authenticates each request, so sessions need not be ended. An access
//! entry takes precedence over `aws-auth`: if only the entry were removed, the mapping
//! would apply (EKS user guide, "Grant IAM users and roles access to Kubernetes APIs").
//! It affects everybody who uses the principal.
//!
//! It does not change the entries of nodes, which every node of the cluster needs, the
//! spoke role's own, those of service-linked roles, and the one that EKS created for
//! the cluster's creator.

use aws_sdk_eks::types::Cluster;
use serde::{Deserialize, Serialize};

use crate::account::AccountSession;
use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Residual,
    Reversal, Undone, Verification,
};
use crate::grant::{Grant, GrantScope};
use crate::support::eks::access_entry::{
    self, ASSOCIATE, CREATE, ClusterEntry, DELETE, GET, LIST, POLICIES, Present, TAG, UNTAG,
    principal_of,
};
use crate::support::eks::aws_auth::{self, Edit, MappingChange};
use crate::support::eks::cluster::{self, DESCRIBE, Kubernetes, Mode, mode};
use crate::support::eks::known_principals::{self, LIST_CLUSTERS};
use crate::support::iam::principals::{self, Holder, Subject, holder};
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::ResourceKind;

pub(crate) struct RevokeClusterAccess;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    /// The Kubernetes user or the IAM principal, for people.
    whose: String,
    /// The user or role that the target is, if it is one.
    principal: Option<Subject>,
    clusters: Vec<Access>,
}

/// The access of the principal to one cluster.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Access {
    cluster: String,
    entry: Option<ClusterEntry>,
    mapping: Option<Edit>,
    /// Why `aws-auth` could not be read, if it could not.
    unread: Option<String>,
}

const CHANGE_CLUSTER_ACCESS: GrantScope = GrantScope {
    sid: "ChangeClusterAccess",
    why: "Who gets into an EKS cluster; an access entry is made in its cluster.",
    resources: &[
        "arn:${AWS::Partition}:eks:*:${AWS::AccountId}:access-entry/*",
        "arn:${AWS::Partition}:eks:*:${AWS::AccountId}:cluster/*",
    ],
    conditions: &[],
    within: None,
};

impl Action for RevokeClusterAccess {
    const SPEC: ActionSpec = ActionSpec {
        name: "revoke-cluster-access",
        sentence: "Removes the access of the IAM principal to the EKS cluster, or to every cluster of the Region that lets it in.",
        resource_types: &["EKSCluster", "AccessKey", "User", "Role"],
        reads: &[DESCRIBE, GET, LIST, LIST_CLUSTERS, POLICIES, "iam:GetRole", "iam:GetUser"],
        writes: &[ASSOCIATE, CREATE, DELETE, TAG, UNTAG],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[CHANGE_CLUSTER_ACCESS.allows(&[
        "eks:AssociateAccessPolicy",
        "eks:CreateAccessEntry",
        "eks:DeleteAccessEntry",
        "eks:TagResource",
        "eks:UntagResource",
    ])];
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let (whose, principal, clusters);
        if let ResourceKind::EksCluster { .. } = &context.resource.kind {
            let (name, username) = user(&context.resource.kind)?;
            let access = of_username(context, name, username).await?;
            (whose, principal, clusters) = (username.to_owned(), None, vec![access]);
        } else {
            let (subject, _) = principals::find(context, holder(context.resource)?).await?;
            let found = of_principal(context, &subject.holder).await?;
            (whose, principal, clusters) = (subject.holder.describe(), Some(subject), found);
        }
        let changes = clusters.iter().flat_map(changes).collect();
        Ok(CapturedState { prior: Prior { whose, principal, clusters }, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        if let Some(principal) = &prior.principal {
            principals::find_same(context, principal).await?;
        }
        // One cluster that cannot be changed keeps the others from nothing.
        let several = prior.clusters.len() > 1;
        let mut failed = Vec::new();
        for access in &prior.clusters {
            match remove(context, access).await {
                Ok(()) => {}
                // Nobody gets into it any more.
                Err(error) if error.kind == ErrorKind::Gone && several => {}
                Err(error) => failed.push(error),
            }
        }
        ActionError::all(failed).map_or(Ok(()), Err)
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let mut without = Vec::new();
        for access in &prior.clusters {
            match verify_one(context, access).await? {
                Verification::InEffect(detail) => without.push(detail),
                other => return Ok(other),
            }
        }
        Ok(Verification::InEffect(format!("{}: {}", prior.whose, without.join("; "))))
    }

    async fn residual(
        _: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Vec<Residual>, ActionError> {
        let unread =
            prior.clusters.iter().filter_map(|it| Some((&it.cluster, it.unread.as_ref()?)));
        let residual = unread.map(|(cluster, why)| {
            let what = format!(
                "the principal's access to the EKS cluster {cluster} was not removed, or not all of it could be read: {why}"
            );
            Residual::new(known_principals::PATH, what, &[])
        });
        Ok(residual.collect())
    }

    fn touches(_: ActionContext<'_>, prior: &Prior) -> Vec<String> {
        let of = |it: &Access| {
            let entry = it.entry.iter().map(|entry| entry.principal.clone());
            let mapping = it.mapping.iter().map(|mapping| mapping.principal.clone());
            entry.chain(mapping).collect::<Vec<String>>()
        };
        let mut principals: Vec<String> = prior.clusters.iter().flat_map(of).collect();
        principals.sort();
        principals.dedup();
        principals
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        // Another one of its name must not get what it had.
        if let Some(principal) = &prior.principal
            && let Some(undone) = principals::undo_if_gone(context, principal).await?
        {
            return Ok(undone);
        }
        let mut ended = Vec::new();
        for access in &prior.clusters {
            ended.push(restore(context, access).await);
        }
        Undone::all(ended)
    }
}

/// Removes the access to one cluster.
async fn remove(context: ActionContext<'_>, access: &Access) -> Result<(), ActionError> {
    let Access { cluster: name, entry, mapping, .. } = access;
    let cluster = cluster::describe(context.account, name).await?;
    if let Some(entry) = entry {
        access_entry::delete(context.account, name, &entry.principal).await?;
    }
    if let Some(mapping) = mapping {
        let kubernetes = Kubernetes::connect(context.account, &cluster)?;
        aws_auth::take_out(&kubernetes, mapping).await?;
    }
    Ok(())
}

/// Restores the access to one cluster.
async fn restore(context: ActionContext<'_>, access: &Access) -> Result<Undone, ActionError> {
    let Access { cluster: name, entry, mapping, .. } = access;
    let cluster = match cluster::describe(context.account, name).await {
        Ok(cluster) => cluster,
        Err(error) if error.kind == ErrorKind::Gone => {
            return Ok(Undone::drifted(format!("the cluster `{name}` does not exist any more")));
        }
        Err(error) => return Err(error),
    };
    let mut undone = Undone::default();
    if let Some(entry) = entry {
        access_entry::restore(context, name, entry, &mut undone).await?;
    }
    if let Some(mapping) = mapping {
        let kubernetes = Kubernetes::connect(context.account, &cluster)?;
        aws_auth::restore(&kubernetes, mapping, &mut undone).await?;
    }
    Ok(undone)
}

/// The access of the principal behind a Kubernetes user.
async fn of_username(
    context: ActionContext<'_>,
    name: &str,
    username: &str,
) -> Result<Access, ActionError> {
    let cluster = cluster::describe(context.account, name).await?;
    let present = match mode(&cluster) {
        Mode::ConfigMap => None,
        Mode::Api | Mode::Both => access_entry::find(context.account, name, username).await?,
    };
    let access = access(context, &cluster, present, &MappingChange::Username(username)).await?;
    access.ok_or_else(|| no_principal(name, username))
}

/// The access of a user or role to each cluster of the Region that lets it in.
async fn of_principal(
    context: ActionContext<'_>,
    holder: &Holder,
) -> Result<Vec<Access>, ActionError> {
    let (kind, name) = match holder {
        Holder::User(name) => ("user", name),
        Holder::Role(name) => ("role", name),
    };
    let AccountSession { id, partition, .. } = context.account;
    let arn = format!("arn:{partition}:iam::{id}:{kind}/{name}");
    let mut clusters = Vec::new();
    let mut first = None;
    for name in known_principals::clusters(context.account).await? {
        match of_principal_in(context, &name, &arn).await {
            Ok(access) => clusters.extend(access),
            Err(error) if error.kind == ErrorKind::Gone => {}
            // One cluster that cannot be changed keeps the others from nothing.
            Err(error) => {
                let unread = Some(error.message.clone());
                clusters.push(Access { cluster: name, entry: None, mapping: None, unread });
                first.get_or_insert(error);
            }
        }
    }
    let finds = |access: &Access| access.entry.is_some() || access.mapping.is_some();
    match first {
        Some(error) if !clusters.iter().any(finds) => Err(error),
        None if clusters.is_empty() => {
            let why = format!("no EKS cluster of the Region lets the {} in", holder.describe());
            Err(ActionError::new(ErrorKind::NotApplicable, why))
        }
        _ => Ok(clusters),
    }
}

/// The access of a principal to one cluster; `None` if that does not let it in.
async fn of_principal_in(
    context: ActionContext<'_>,
    name: &str,
    arn: &str,
) -> Result<Option<Access>, ActionError> {
    let cluster = cluster::describe(context.account, name).await?;
    let present = match mode(&cluster) {
        Mode::ConfigMap => None,
        Mode::Api | Mode::Both => access_entry::of_principal(context.account, name, arn).await?,
    };
    access(context, &cluster, present, &MappingChange::Principal(arn)).await
}

/// The access to one cluster: `present` is the principal's entry. `None` if there is neither
/// an entry nor a mapping.
async fn access(
    context: ActionContext<'_>,
    cluster: &Cluster,
    present: Option<Present>,
    wanted: &MappingChange<'_>,
) -> Result<Option<Access>, ActionError> {
    if let Some(present) = &present {
        refuse(context, &present.entry.principal)?;
        refuse_entry(cluster, present)?;
    }
    let entry = present.map(|present| present.entry);
    let (mapping, unread) = mapping(context, cluster, entry.as_ref(), wanted).await?;
    if let Some(mapping) = &mapping {
        refuse(context, &mapping.principal)?;
        if mapping.groups.iter().any(|group| group == "system:nodes") {
            return Err(refused(&mapping.principal, "the cluster's nodes join with it"));
        }
    }
    if entry.is_none() && mapping.is_none() {
        return Ok(None);
    }
    let cluster = cluster.name().unwrap_or_default().to_owned();
    Ok(Some(Access { cluster, entry, mapping, unread }))
}

/// Whether the principal has no access to one cluster any more.
async fn verify_one(
    context: ActionContext<'_>,
    access: &Access,
) -> Result<Verification, ActionError> {
    let Access { cluster: name, entry, mapping, unread } = access;
    let cluster = match cluster::describe(context.account, name).await {
        Ok(cluster) => cluster,
        Err(error) if error.kind == ErrorKind::Gone => {
            return Ok(Verification::InEffect(format!(
                "the cluster `{name}` does not exist any more"
            )));
        }
        Err(error) => return Err(error),
    };
    if let Some(ClusterEntry { principal, .. }) = entry
        && access_entry::describe(context.account, name, principal).await?.is_some()
    {
        return Ok(Verification::NotInEffect(format!(
            "`{principal}` has an access entry of `{name}`"
        )));
    }
    if let Some(mapping) = mapping {
        let kubernetes = Kubernetes::connect(context.account, &cluster)?;
        if aws_auth::is_mapped(&kubernetes, mapping).await? {
            let Edit { principal, list, .. } = mapping;
            return Ok(Verification::NotInEffect(format!("{list} of aws-auth maps `{principal}`")));
        }
    }
    if entry.is_none()
        && mapping.is_none()
        && let Some(why) = unread
    {
        return Ok(Verification::InEffect(format!("nothing was changed in `{name}`: {why}")));
    }
    let but = unread.as_ref().map(|why| {
        format!("; whether aws-auth maps the principal as well could not be read: {why}")
    });
    let but = but.unwrap_or_default();
    Ok(Verification::InEffect(format!("no access to `{name}`{but}")))
}

/// The cluster and the user that a target names; for users who are no IAM
/// principals why not.
fn user(kind: &ResourceKind) -> Result<(&str, &str), ActionError> {
    let not_applicable = |why: String| Err(ActionError::new(ErrorKind::NotApplicable, why));
    let ResourceKind::EksCluster { name, username, .. } = kind else {
        return not_applicable("the target is not an EKS cluster".to_owned());
    };
    let Some(username) = username else {
        return not_applicable("the finding names no user of the cluster".to_owned());
    };
    let why = match username.as_str() {
        "system:anonymous" => {
            "it is everybody without credentials: unbind the group system:unauthenticated in the cluster's RBAC"
        }
        user if user.starts_with("system:serviceaccount:") => {
            "it is a pod's service account, not an IAM principal: isolate the pod"
        }
        user if user.starts_with("system:node:") => {
            "it is a node, not an IAM principal of its own: cordon the node or isolate its instance"
        }
        user if user.starts_with("system:") => "it is one of Kubernetes' own users",
        user if user.starts_with("eks:") => "it is one of EKS's own users",
        _ => return Ok((name, username)),
    };
    not_applicable(format!("`{username}` has no access to be revoked: {why}"))
}

/// The mapping of `aws-auth` to remove, and why it could not be read. If there is an
/// entry, it is removed even when `aws-auth` permanently cannot be read.
async fn mapping(
    context: ActionContext<'_>,
    cluster: &Cluster,
    entry: Option<&ClusterEntry>,
    wanted: &MappingChange<'_>,
) -> Result<(Option<Edit>, Option<String>), ActionError> {
    match mode(cluster) {
        Mode::Api => return Ok((None, None)),
        Mode::Both | Mode::ConfigMap => {}
    }
    let kubernetes = Kubernetes::connect(context.account, cluster)?;
    let of_entry = entry.map(|entry| MappingChange::Principal(&entry.principal));
    let wanted = of_entry.as_ref().unwrap_or(wanted);
    match aws_auth::find(&kubernetes, wanted).await {
        Ok(mapping) => Ok((mapping, None)),
        Err(error)
            if entry.is_some() && matches!(error.kind, ErrorKind::Denied | ErrorKind::Failed) =>
        {
            Ok((None, Some(error.message)))
        }
        Err(error) => Err(error),
    }
}

fn changes(access: &Access) -> Vec<Change> {
    let Access { cluster, entry, mapping, .. } = access;
    let mut changes = Vec::new();
    if let Some(ClusterEntry { principal, groups, policies, .. }) = entry {
        let policies = policies.iter().filter_map(|policy| policy.arn.rsplit('/').next());
        let held: Vec<&str> = groups.iter().map(String::as_str).chain(policies).collect();
        changes.push(Change {
            what: format!("access entry of {principal} in {cluster}"),
            before: if held.is_empty() { "no groups".to_owned() } else { held.join(", ") },
            after: "none".to_owned(),
        });
    }
    if let Some(Edit { list, principal, groups, .. }) = mapping {
        changes.push(Change {
            what: format!("{list} of aws-auth for {principal} in {cluster}"),
            before: if groups.is_empty() { "no groups".to_owned() } else { groups.join(", ") },
            after: "none".to_owned(),
        });
    }
    changes
}

fn refused(principal: &str, why: &str) -> ActionError {
    let text = format!("refused to take `{principal}` out of the cluster: {why}");
    ActionError::new(ErrorKind::Refused, text)
}

fn refuse(context: ActionContext<'_>, principal: &str) -> Result<(), ActionError> {
    let own = context.spoke_role.rsplit('/').next().unwrap_or(context.spoke_role);
    let account = context.account.id.as_str();
    if principal_of(principal) == Some((account, "role", own)) {
        return Err(refused(principal, "it is Firebreak's own role in this account"));
    }
    if principal.contains(":role/aws-service-role/") {
        return Err(refused(principal, "it is a service-linked role: EKS refuses to change it"));
    }
    Ok(())
}

/// How long after the cluster EKS creates the creator's entry: long before the cluster
/// is active and accepts any other.
const CREATION: i64 = 5 * 60;

fn refuse_entry(cluster: &Cluster, present: &Present) -> Result<(), ActionError> {
    let ClusterEntry { principal, kind, policies, .. } = &present.entry;
    if kind != "STANDARD" {
        let why = format!("its entry is of type {kind}: the cluster's nodes join with it");
        return Err(refused(principal, &why));
    }
    let bootstrapped = cluster
        .access_config()
        .and_then(|access| access.bootstrap_cluster_creator_admin_permissions())
        .unwrap_or(false);
    let administers = policies
        .iter()
        .any(|it| it.context == "cluster" && it.arn.ends_with("/AmazonEKSClusterAdminPolicy"));
    let at_creation = match (cluster.created_at(), present.created) {
        (Some(cluster), Some(entry)) => entry - cluster.secs() <= CREATION,
        _ => false,
    };
    if bootstrapped && administers && at_creation {
        return Err(refused(
            principal,
            "it created the cluster, and may be its only administrator",
        ));
    }
    Ok(())
}

fn no_principal(cluster: &str, username: &str) -> ActionError {
    let text = format!(
        "no access entry or mapping of the cluster `{cluster}` gives the user name `{username}`"
    );
    let help = "a cluster's creator has access without either where the cluster has no access entries: end its sessions in IAM".to_owned();
    ActionError { help: Some(help), ..ActionError::new(ErrorKind::Gone, text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_users_that_are_not_iam_principals_are_not_applicable() {
        let check = |username: Option<&str>, applies: bool| {
            let (name, username) = ("prod".to_owned(), username.map(str::to_owned));
            let kind = ResourceKind::EksCluster { name, workload: None, username };
            let result = user(&kind).map_err(|error| error.kind);
            assert_eq!(result.is_ok(), applies, "{kind:?}");
            assert!(applies || result == Err(ErrorKind::NotApplicable), "{kind:?}");
        };
        check(Some("arn:aws:sts::111111111111:assumed-role/admin/alice"), true);
        check(Some("alice"), true);
        check(Some("kubernetes-admin"), true);
        check(Some("system:anonymous"), false);
        check(Some("system:serviceaccount:default:web"), false);
        check(Some("system:node:ip-10-0-0-1.ec2.internal"), false);
        check(Some("eks:addon-manager"), false);
        check(None, false);
    }
}
