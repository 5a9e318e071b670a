//! Whether a finding stands open at another of its targets: each target has a
//! response of its own, and a finding is told as resolved, or archived, only
//! when none of them is open. Only reads, and only for findings that have
//! several targets.

use futures::future::join_all;

use super::Responder;
use firebreak_aws::error::HubError;
use firebreak_model::finding::SecurityHubId;
use firebreak_response::record::{Beside, Response};

impl Responder {
    /// Those of a response's findings that another response on record, at
    /// another of their targets, holds open.
    pub(super) async fn open_elsewhere(
        &self,
        response: &Response,
    ) -> Result<Vec<SecurityHubId>, HubError> {
        let looks = response.beside.iter().map(|beside| async move {
            let open = beside.more > 0 || self.is_open_at_one(response, beside).await?;
            Ok::<_, HubError>(open.then(|| beside.security_hub.clone()))
        });
        join_all(looks).await.into_iter().filter_map(Result::transpose).collect()
    }

    async fn is_open_at_one(&self, response: &Response, beside: &Beside) -> Result<bool, HubError> {
        for arn in &beside.targets {
            // The place that is read with it is not looked at.
            let seen = self.ledger.target(arn, &response.resource.account).await?;
            let mut entries = seen.entries.values();
            if entries.any(|entry| {
                entry.state.stands_open() && entry.findings.contains_key(&beside.finding)
            }) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
