//! Suppresses findings of one type on a target, and releases them.

use jiff::Timestamp;

use super::Engine;
use firebreak_aws::error::HubError;
use firebreak_response::audit_event::{AuditEvent, AuditKind};
use firebreak_response::record::{Response, ResponseId, State, Suppression};
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
        let response = self.load(id).await?;
        let by = self.caller().await?;
        let suppression = Suppression { until, by, response: id.clone(), reason };
        let (arn, kind) = (response.resource.arn(), &response.finding.kind);
        self.store.set_suppression(&arn, kind, Some(&suppression)).await?;
        let why = suppression.reason.as_deref().unwrap_or("no reason given");
        let detail = format!("{kind} suppressed until {until}: {why}");
        let event = AuditEvent {
            at: self.now(),
            ..AuditEvent::of(AuditKind::Suppressed, &response, &suppression.by, &detail)
        };
        self.store.write_event(&event).await?;
        Ok(response)
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
        self.store.set_suppression(&arn, &response.finding.kind, None).await?;
        let target_state = self.store.target(&arn, &response.resource.account).await?;
        // Read after the target, whose revision the write depends on: the entry that
        // follows from the record is never older than the one that stands there.
        let response = self.load(id).await?;
        let entry = target_state.entries.get(&response.key).filter(|it| it.response == *id);
        let findings = entry.map(|entry| entry.findings.clone()).unwrap_or_default();
        let (by, target_revision) = (self.caller().await?, target_state.revision);
        let is_over = matches!(response.state, State::Undone | State::Denied);
        let releases = is_over && entry.is_some_and(|entry| entry.state == response.state);
        let record = Record { response, findings };
        if releases {
            let event = Event::Released { by, target_revision };
            if self.try_apply(&record, event).await?.is_none() {
                return Err(HubError::Transient(format!(
                    "the state of `{arn}` changed meanwhile; release `{id}` again"
                )));
            }
            return Ok(record.response);
        }
        let response = record.response;
        let detail = format!("findings of type {} are handled again", response.finding.kind);
        let event = AuditEvent {
            at: self.now(),
            ..AuditEvent::of(AuditKind::Released, &response, &by, &detail)
        };
        self.store.write_event(&event).await?;
        Ok(response)
    }
}
