//! The EKS clusters that let a user or role in.
//!
//! No IAM policy ends that access: a token for a cluster is a presigned call of STS's
//! GetCallerIdentity, which "you can still perform" when it is denied (STS API reference,
//! GetCallerIdentity).

use std::collections::HashMap;

use firebreak_client::batcher::LookupBatcher;
use futures::future::join_all;

use super::access_entry::{self, principal_of};
use super::cluster::{self, Mode};
use crate::account::AccountSession;
use crate::contract::{ActionContext, Residual};
use crate::support::iam::principals::Holder;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

/// The permissions to look for them.
pub(crate) const LIST_CLUSTERS: &str = "eks:ListClusters";

/// At most so many clusters are looked at.
const CLUSTERS: usize = 20;

const CLOSED_BY: &[&str] = &["revoke-cluster-access"];

/// The name of the path in docs/actions.md.
pub(crate) const PATH: &str = "kubernetes";

/// What several decisions of one account ask EKS at the same moment, with one call.
#[derive(Debug)]
pub(crate) struct ClusterReads {
    names: LookupBatcher<(), Vec<String>, ActionError>,
    users: LookupBatcher<String, Users, ActionError>,
}

impl Default for ClusterReads {
    fn default() -> Self {
        Self { names: LookupBatcher::new(1, 1), users: LookupBatcher::new(1, 4) }
    }
}

/// The names of all clusters of the account in the Region.
pub(crate) async fn clusters(account: &AccountSession) -> Result<Vec<String>, ActionError> {
    let list = |_| async move {
        let (mut names, mut next) = (Vec::new(), None);
        loop {
            let call = account.eks().await.list_clusters().set_next_token(next);
            let page = call.send().await.map_err(|error| from_sdk(LIST_CLUSTERS, &error))?;
            next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            names.extend(page.clusters.unwrap_or_default());
            if next.is_none() {
                return Ok(HashMap::from([((), names)]));
            }
        }
    };
    Ok(Box::pin(account.cluster_reads.names.ask((), list)).await?.unwrap_or_default())
}

/// The ARNs of the principals with an access entry of a cluster, and whether it keeps users in
/// aws-auth too. `None` for a cluster that is gone.
async fn users(account: &AccountSession, cluster: &str) -> Result<Option<Users>, ActionError> {
    let read = |clusters: Vec<String>| async move {
        let mut found = HashMap::new();
        for cluster in clusters {
            let described = match cluster::describe(account, &cluster).await {
                Ok(described) => described,
                Err(error) if error.kind == ErrorKind::Gone => continue,
                Err(error) => return Err(error),
            };
            let users = match cluster::mode(&described) {
                Mode::Api => {
                    Users { entries: access_entry::list(account, &cluster).await?, map: false }
                }
                Mode::Both => {
                    Users { entries: access_entry::list(account, &cluster).await?, map: true }
                }
                Mode::ConfigMap => Users { entries: Vec::new(), map: true },
            };
            found.insert(cluster, users);
        }
        Ok(found)
    };
    Box::pin(account.cluster_reads.users.ask(cluster.to_owned(), read)).await
}

/// How a cluster knows its users.
#[derive(Clone, Debug)]
struct Users {
    /// The ARNs of its access entries.
    entries: Vec<String>,
    /// Whether aws-auth maps users as well.
    map: bool,
}

/// The clusters of the Region that have an access entry of the user or role, and those of
/// which that cannot be told: a cluster without access entries keeps its users in a
/// ConfigMap of its own. One call, and one for each cluster.
///
/// # Errors
///
/// Those of the calls.
pub(crate) async fn residual(
    context: ActionContext<'_>,
    holder: &Holder,
) -> Result<Vec<Residual>, ActionError> {
    let mut clusters = clusters(context.account).await?;
    let more = clusters.len() > CLUSTERS;
    clusters.truncate(CLUSTERS);
    let (kind, name) = match holder {
        Holder::User(name) => ("user", name.as_str()),
        Holder::Role(name) => ("role", name.as_str()),
    };
    let wanted = (context.account.id.as_str(), kind, name);
    let looked = join_all(clusters.iter().map(|cluster| async move {
        let Some(users) = users(context.account, cluster).await? else { return Ok(None) };
        let described = holder.describe();
        Ok(if users.entries.iter().any(|arn| principal_of(arn) == Some(wanted)) {
            Some(format!("the EKS cluster {cluster} has an access entry of the {described}"))
        } else {
            let why = "keeps users in aws-auth, which was not looked at";
            users
                .map
                .then(|| format!("the EKS cluster {cluster} {why}: it may let the {described} in"))
        })
    }))
    .await;
    let mut open: Vec<String> =
        looked.into_iter().filter_map(Result::transpose).collect::<Result<_, ActionError>>()?;
    if more {
        open.push(format!("only {CLUSTERS} of the Region's EKS clusters were looked at"));
    }
    Ok(open.into_iter().map(|what| Residual::new(PATH, what, CLOSED_BY)).collect())
}
