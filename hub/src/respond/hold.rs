//! Holding responses off a target, and letting them come again.

use jiff::Timestamp;

use super::Responder;
use crate::aws::error::HubError;
use crate::aws::ledger::Written;
use crate::record::{Hold, Response, ResponseId, State};

impl Responder {
    /// Holds responses to findings of a response's type off its target. What is
    /// contained stays so.
    ///
    /// # Errors
    ///
    /// `Failed` when there is no such response.
    pub async fn hold(
        &self,
        id: &ResponseId,
        until: Timestamp,
        reason: Option<String>,
    ) -> Result<Response, HubError> {
        let response = self.load(id).await?;
        let by = self.caller().await?;
        let hold = Hold { until, by, response: id.clone(), reason };
        let (arn, kind) = (response.resource.arn(), &response.finding.kind);
        self.ledger.hold(&arn, kind, Some(&hold)).await?;
        Ok(response)
    }

    /// Takes a hold off, and lets the findings that an undone response answered
    /// be decided again when they are next seen.
    ///
    /// # Errors
    ///
    /// `Failed` when there is no such response, `Transient` when a worker
    /// changed the target in the same moment.
    pub async fn release(&self, id: &ResponseId) -> Result<Response, HubError> {
        let response = self.load(id).await?;
        let arn = response.resource.arn();
        self.ledger.hold(&arn, &response.finding.kind, None).await?;
        let seen = self.ledger.target(&arn).await?;
        let entry = seen.entries.get(&response.rule);
        if let Some(entry) = entry.filter(|it| it.response == *id && it.state == State::Undone) {
            let mut entry = entry.clone();
            entry.findings.clear();
            if self.ledger.note(&seen, &arn, &response.rule, &entry).await? == Written::Lost {
                return Err(HubError::Transient(format!(
                    "somebody changed what is known of `{arn}` in this moment; release `{id}` again"
                )));
            }
        }
        Ok(response)
    }
}
