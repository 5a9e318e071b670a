//! Holding responses off a target, and letting them come again.

use jiff::Timestamp;

use super::Responder;
use firebreak_aws::error::HubError;
use firebreak_aws::ledger::Written;
use firebreak_response::audit_event::{Event, What};
use firebreak_response::record::{Hold, Response, ResponseId, State};
use firebreak_response::target::Entry;

impl Responder {
    /// Holds responses to findings of a response's type off its target. What is
    /// contained stays so.
    ///
    /// # Errors
    ///
    /// `Refused` when there is no such response.
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
        let why = hold.reason.as_deref().unwrap_or("no reason given");
        let told = format!("{kind} held off until {until}: {why}");
        let event = Event { at: self.now(), ..Event::of(What::Held, &response, &hold.by, &told) };
        self.ledger.write_event(&event).await?;
        Ok(response)
    }

    /// Takes a hold off, and lets the findings that an undone or denied response
    /// answered be decided again when they are next seen.
    ///
    /// # Errors
    ///
    /// `Refused` when there is no such response, `Transient` when a worker
    /// changed the target in the same moment.
    pub async fn release(&self, id: &ResponseId) -> Result<Response, HubError> {
        let response = self.load(id).await?;
        let arn = response.resource.arn();
        self.ledger.hold(&arn, &response.finding.kind, None).await?;
        let seen = self.ledger.target(&arn, &response.resource.account).await?;
        let entry = seen.entries.get(&response.rule).filter(|it| it.response == *id);
        let over = |it: &&Entry| match it.state {
            State::Undone | State::Denied => true,
            State::Observed
            | State::Refused
            | State::AwaitingApproval
            | State::Running
            | State::Contained
            | State::Completed
            | State::PartiallyContained
            | State::Failed
            | State::Undoing
            | State::Expired => false,
        };
        if let Some(entry) = entry.filter(over) {
            let mut entry = entry.clone();
            entry.findings.clear();
            let commit =
                self.ledger.commit(self.now()).note(&seen, &arn, &response.rule, &entry)?;
            if commit.write().await? != Written::Yes {
                return Err(HubError::Transient(format!(
                    "somebody changed what is known of `{arn}` in this moment; release `{id}` again"
                )));
            }
        }
        let (by, now) = (self.caller().await?, self.now());
        let told = format!("{} is answered again", response.finding.kind);
        let event = Event { at: now, ..Event::of(What::Released, &response, &by, &told) };
        self.ledger.write_event(&event).await?;
        Ok(response)
    }
}
