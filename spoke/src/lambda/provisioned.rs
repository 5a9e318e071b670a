//! The provisioned concurrency of a Lambda function's versions and aliases.

use std::collections::BTreeMap;

use crate::contract::{ActionContext, Undone};
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

/// How much is requested, by version or alias.
pub(super) async fn list(
    context: ActionContext<'_>,
    function: &str,
) -> Result<BTreeMap<String, i32>, ActionError> {
    let (mut found, mut marker) = (BTreeMap::new(), None);
    loop {
        let lambda = context.account.lambda().await;
        let call = lambda.list_provisioned_concurrency_configs().function_name(function);
        let page = call
            .set_marker(marker)
            .send()
            .await
            .map_err(|error| from_sdk("lambda:ListProvisionedConcurrencyConfigs", &error))?;
        for config in page.provisioned_concurrency_configs() {
            // The function's ARN with the version or alias as its last part.
            let qualifier = config.function_arn().and_then(|arn| arn.rsplit(':').next());
            let requested = config.requested_provisioned_concurrent_executions();
            if let Some((qualifier, requested)) = qualifier.zip(requested) {
                found.insert(qualifier.to_owned(), requested);
            }
        }
        marker = page.next_marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
        if marker.is_none() {
            return Ok(found);
        }
    }
}

/// Deletes every configuration that there is now. Returns whether there was one.
pub(super) async fn delete_all(
    context: ActionContext<'_>,
    function: &str,
) -> Result<bool, ActionError> {
    let present = list(context, function).await?;
    for qualifier in present.keys() {
        let lambda = context.account.lambda().await;
        let call = lambda.delete_provisioned_concurrency_config().function_name(function);
        let result = call.qualifier(qualifier).send().await;
        match result.map_err(|error| from_sdk("lambda:DeleteProvisionedConcurrencyConfig", &error))
        {
            Ok(_) => {}
            Err(error) if error.kind == ErrorKind::Gone => {}
            Err(error) => return Err(error),
        }
    }
    Ok(!present.is_empty())
}

/// Creates the recorded configurations again that are missing; one that others made since
/// with another value is drift, as is a version or alias that is gone.
pub(super) async fn restore(
    context: ActionContext<'_>,
    function: &str,
    before: &BTreeMap<String, i32>,
    undone: &mut Undone,
) -> Result<(), ActionError> {
    if before.is_empty() {
        return Ok(());
    }
    let present = list(context, function).await?;
    for (qualifier, count) in before {
        let what = format!("the provisioned concurrency of `{function}`, {qualifier},");
        match present.get(qualifier) {
            Some(present) if present == count => continue,
            Some(present) => {
                undone.drift.push(format!("{what} was set to {present} since"));
                continue;
            }
            None => {}
        }
        let lambda = context.account.lambda().await;
        let call = lambda.put_provisioned_concurrency_config().function_name(function);
        let result =
            call.qualifier(qualifier).provisioned_concurrent_executions(*count).send().await;
        match result.map_err(|error| from_sdk("lambda:PutProvisionedConcurrencyConfig", &error)) {
            Ok(_) => undone.restored.push(format!("{what} is {count} again")),
            Err(error) if error.kind == ErrorKind::Gone => {
                undone.drift.push(format!("{what} cannot be restored: {}", error.message));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
