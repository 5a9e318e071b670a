//! Suppresses findings of one type on a target, and releases them.

use jiff::Timestamp;

use super::recorder::Recorder;
use firebreak_aws::error::HubError;
use firebreak_response::record::{Response, ResponseId, Suppression};
use firebreak_response::target::Findings;
use firebreak_response::transition::{Event, Record};

/// Suppresses and releases findings.
#[derive(Clone, Debug)]
pub(super) struct Suppressor {
    pub(super) recorder: Recorder,
}

impl Suppressor {
    /// See [`super::Engine::suppress`].
    pub(super) async fn suppress(
        &self,
        id: &ResponseId,
        until: Timestamp,
        reason: Option<String>,
    ) -> Result<Response, HubError> {
        let record =
            Record { response: self.recorder.load(id).await?, findings: Findings::default() };
        let by = self.recorder.caller.arn().await?;
        let suppression = Suppression { until, by, response: id.clone(), reason };
        Ok(self.recorder.apply(&record, Event::Suppressed { suppression }).await?.record.response)
    }

    /// See [`super::Engine::release`].
    pub(super) async fn release(&self, id: &ResponseId) -> Result<Response, HubError> {
        let response = self.recorder.load(id).await?;
        let arn = response.resource.arn();
        let target_state = self.recorder.store.target(&arn, &response.resource.account).await?;
        // Read after the target, whose revision the write depends on: the entry that
        // follows from the record is never older than the one in the table.
        let response = self.recorder.load(id).await?;
        let entry = target_state.entries.get(&response.key);
        let entry = entry.filter(|it| it.response == *id && it.state == response.state);
        let findings = entry.map(|entry| entry.findings.clone()).unwrap_or_default();
        let target_revision = entry.map(|_| target_state.revision);
        let record = Record { response, findings };
        let event = Event::Released { by: self.recorder.caller.arn().await?, target_revision };
        match self.recorder.try_apply(&record, event).await? {
            Some(released) => Ok(released.record.response),
            None => Err(HubError::transient(format!(
                "the state of `{arn}` was changed at the same time; release `{id}` again"
            ))),
        }
    }
}
