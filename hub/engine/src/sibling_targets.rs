//! Sibling targets: a finding with several targets has a response for each, and
//! is not marked resolved, or archived, while any of them is unresolved. Only
//! reads.

use futures::future::join_all;

use firebreak_aws::error::HubError;
use firebreak_aws::store::Store;
use firebreak_model::finding::SecurityHubId;
use firebreak_response::record::{Response, SiblingTargets};

/// A response's findings that are unresolved at a sibling target.
pub(super) async fn unresolved_elsewhere(
    store: &Store,
    response: &Response,
) -> Result<Vec<SecurityHubId>, HubError> {
    let looks = response.siblings.iter().map(|beside| async move {
        let open = beside.more > 0 || is_unresolved_at_sibling(store, response, beside).await?;
        Ok::<_, HubError>(open.then(|| beside.security_hub.clone()))
    });
    join_all(looks).await.into_iter().filter_map(Result::transpose).collect()
}

async fn is_unresolved_at_sibling(
    store: &Store,
    response: &Response,
    siblings: &SiblingTargets,
) -> Result<bool, HubError> {
    for arn in &siblings.targets {
        // The place that is read with it is not used.
        let target_state = store.target(arn, &response.resource.account).await?;
        let mut entries = target_state.entries.values();
        if entries
            .any(|entry| entry.is_unresolved() && entry.findings.contains_key(&siblings.finding))
        {
            return Ok(true);
        }
    }
    Ok(false)
}
