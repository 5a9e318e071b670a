//! The EKS clusters that let a user or role in.
//!
//! No IAM policy ends that access: a token for a cluster is a presigned call of STS's
//! GetCallerIdentity, which "you can still perform" when it is denied (STS API reference,
//! GetCallerIdentity).

use futures::future::join_all;

use super::access_entry::{self, principal_of};
use crate::contract::{ActionContext, Residual};
use crate::support::iam::principals::Holder;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::ActionError;

/// The permissions to look for them.
pub(crate) const LIST_CLUSTERS: &str = "eks:ListClusters";

/// At most so many clusters are looked at.
const CLUSTERS: usize = 20;

const CLOSED_BY: &[&str] = &["revoke-cluster-access"];

/// The name of the path in docs/actions.md.
pub(crate) const PATH: &str = "kubernetes";

/// The names of the clusters of the account in the Region, at most so many, and whether there
/// are more.
pub(crate) async fn clusters(
    context: ActionContext<'_>,
    at_most: usize,
) -> Result<(Vec<String>, bool), ActionError> {
    let (mut names, mut next) = (Vec::new(), None);
    loop {
        let call = context.account.eks().await.list_clusters().set_next_token(next);
        let page = call.send().await.map_err(|error| from_sdk(LIST_CLUSTERS, &error))?;
        next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        names.extend(page.clusters.unwrap_or_default());
        if next.is_none() || names.len() > at_most {
            let more = names.len() > at_most;
            names.truncate(at_most);
            return Ok((names, more));
        }
    }
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
    let (clusters, more) = clusters(context, CLUSTERS).await?;
    let (kind, name) = match holder {
        Holder::User(name) => ("user", name.as_str()),
        Holder::Role(name) => ("role", name.as_str()),
    };
    let wanted = (context.account.id.as_str(), kind, name);
    let looked = join_all(clusters.iter().map(|cluster| async move {
        match access_entry::list(context.account, cluster).await {
            Ok(principals) => {
                let knows = principals.iter().any(|arn| principal_of(arn) == Some(wanted));
                Ok(knows.then(|| {
                    format!(
                        "the EKS cluster {cluster} has an access entry of the {}",
                        holder.describe()
                    )
                }))
            }
            // The cluster has no access entries.
            Err(error) if error.has_code("InvalidRequestException") => Ok(Some(format!(
                "the EKS cluster {cluster} keeps its users in aws-auth, which was not looked at"
            ))),
            Err(error) if error.kind == firebreak_model::error::ErrorKind::Gone => Ok(None),
            Err(error) => Err(error),
        }
    }))
    .await;
    let mut open: Vec<String> =
        looked.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>()?;
    if more {
        open.push(format!("only {CLUSTERS} of the Region's EKS clusters were looked at"));
    }
    Ok(open.into_iter().map(|what| Residual::new(PATH, what, CLOSED_BY)).collect())
}
