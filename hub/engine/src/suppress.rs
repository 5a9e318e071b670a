//! Suppresses findings of one type on a target, and releases them.

use jiff::Timestamp;

use super::Engine;
use firebreak_aws::error::HubError;
use firebreak_response::record::{Response, ResponseId, Suppression};
use firebreak_response::target::Findings;
use firebreak_response::transition::{Event, Record};

impl Engine {
    /// Suppresses further findings of a response's type on its target. The response
    /// stays as it is.
    ///
    /// # Errors
    ///
    /// `Refused` when there is no such response.
    pub async fn suppress(
        &self,
        id: &ResponseId,
        until: Timestamp,
        reason: Option<String>,
    ) -> Result<Response, HubError> {
        let record = Record { response: self.load(id).await?, findings: Findings::default() };
        let by = self.caller().await?;
        let suppression = Suppression { until, by, response: id.clone(), reason };
        Ok(self.apply(&record, Event::Suppressed { suppression }).await?.record.response)
    }

    /// Ends a suppression. Findings of an undone or denied response are decided
    /// again when they are next delivered.
    ///
    /// # Errors
    ///
    /// `Refused` when there is no such response, `Transient` when a worker
    /// changed the target in the same moment.
    pub async fn release(&self, id: &ResponseId) -> Result<Response, HubError> {
        let response = self.load(id).await?;
        let arn = response.resource.arn();
        let target_state = self.store.target(&arn, &response.resource.account).await?;
        // Read after the target, whose revision the write depends on: the entry that
        // follows from the record is never older than the one in the table.
        let response = self.load(id).await?;
        let entry = target_state.entries.get(&response.key);
        let entry = entry.filter(|it| it.response == *id && it.state == response.state);
        let findings = entry.map(|entry| entry.findings.clone()).unwrap_or_default();
        let target_revision = entry.map(|_| target_state.revision);
        let record = Record { response, findings };
        let event = Event::Released { by: self.caller().await?, target_revision };
        match self.try_apply(&record, event).await? {
            Some(released) => Ok(released.record.response),
            None => Err(HubError::transient(format!(
                "the state of `{arn}` changed meanwhile; release `{id}` again"
            ))),
        }
    }
}
