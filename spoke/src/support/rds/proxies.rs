//! The RDS proxies in front of a database: they keep connections to it open, and clients
//! reach them by security groups of their own (RDS user guide, "Amazon RDS Proxy").

use aws_sdk_rds::types::DbProxyTarget;
use futures::future::try_join_all;

use crate::contract::{ActionContext, Residual};
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::ActionError;

/// What a proxy sends connections to.
pub(crate) struct ProxyTarget(DbProxyTarget);

impl ProxyTarget {
    /// The DB instance, of a proxy in front of one.
    pub(crate) fn instance(&self) -> Option<&str> {
        self.0.rds_resource_id()
    }

    /// The DB cluster that the target is a member of.
    pub(crate) fn cluster(&self) -> Option<&str> {
        self.0.tracked_cluster_id().or(self.0.rds_resource_id())
    }
}

/// The proxies with a target of this database. One call, and one for each proxy of the
/// account in the Region.
///
/// # Errors
///
/// Those of the calls.
pub(crate) async fn residual(
    context: ActionContext<'_>,
    is_of: impl Fn(&ProxyTarget) -> bool,
) -> Result<Vec<Residual>, ActionError> {
    let names = Box::pin(names(context)).await?;
    let targets = try_join_all(names.iter().map(|name| Box::pin(targets(context, name)))).await?;
    let in_front = names
        .into_iter()
        .zip(targets)
        .filter(|(_, targets)| targets.iter().any(|target| is_of(&ProxyTarget(target.clone()))));
    Ok(in_front
        .map(|(name, _)| {
            let what = format!("connections that the RDS proxy {name} keeps open");
            Residual::new("proxy", what, &[])
        })
        .collect())
}

async fn names(context: ActionContext<'_>) -> Result<Vec<String>, ActionError> {
    let (mut names, mut marker) = (Vec::new(), None);
    loop {
        let call = context.account.rds().await.describe_db_proxies().set_marker(marker);
        let page = call.send().await.map_err(|error| from_sdk("rds:DescribeDBProxies", &error))?;
        marker = page.marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
        let proxies = page.db_proxies().iter();
        names.extend(proxies.filter_map(|proxy| proxy.db_proxy_name().map(str::to_owned)));
        if marker.is_none() {
            return Ok(names);
        }
    }
}

async fn targets(
    context: ActionContext<'_>,
    proxy: &str,
) -> Result<Vec<DbProxyTarget>, ActionError> {
    let (mut targets, mut marker) = (Vec::new(), None);
    loop {
        let rds = context.account.rds().await;
        let call = rds.describe_db_proxy_targets().db_proxy_name(proxy).set_marker(marker);
        let page =
            call.send().await.map_err(|error| from_sdk("rds:DescribeDBProxyTargets", &error))?;
        marker = page.marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
        targets.extend(page.targets.unwrap_or_default());
        if marker.is_none() {
            return Ok(targets);
        }
    }
}
