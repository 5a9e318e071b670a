//! Applies an event to a record and stores what follows from it.

use firebreak_aws::error::HubError;
use firebreak_aws::store::{Counter, Written};
use firebreak_response::record::ResponseId;
use firebreak_response::transition::{
    self, Context, Event, IllegalTransition, Reason, Record, Transition,
};

use super::Engine;

impl Engine {
    /// Applies an event and stores the transition whole.
    ///
    /// # Errors
    ///
    /// `Transient` when another worker holds the response or was faster, `Refused`
    /// when its state does not allow the event.
    pub(super) async fn apply(
        &self,
        record: &Record,
        event: Event,
    ) -> Result<Transition, HubError> {
        self.apply_drawing(record, event, &[]).await
    }

    /// The same; `None` when another worker was faster.
    pub(super) async fn try_apply(
        &self,
        record: &Record,
        event: Event,
    ) -> Result<Option<Transition>, HubError> {
        let hub = self.identity().await;
        let context = self.context(&hub);
        let transition = transition::apply(record, event, &context).map_err(refused)?;
        let written = self.store.commit(context.now).transition(&transition)?.write().await?;
        Ok((written == Written::Yes).then_some(transition))
    }

    /// The same, and draws on budgets with it.
    pub(super) async fn apply_drawing(
        &self,
        record: &Record,
        event: Event,
        counters: &[Counter],
    ) -> Result<Transition, HubError> {
        let hub = self.identity().await;
        let context = self.context(&hub);
        let transition = transition::apply(record, event, &context).map_err(refused)?;
        let commit = self.store.commit(context.now).transition(&transition)?.draw(counters)?;
        match commit.write().await? {
            Written::Yes => Ok(transition),
            Written::Lost | Written::Spent => Err(lease_lost(&record.response.id)),
        }
    }

    pub(super) fn context<'a>(&'a self, hub: &'a str) -> Context<'a> {
        let lease = jiff::SignedDuration::try_from(self.settings.lease)
            .unwrap_or(jiff::SignedDuration::MAX);
        Context { now: self.now(), hub, channels: &self.channels, lease }
    }
}

fn refused(illegal: IllegalTransition) -> HubError {
    let message = illegal.to_string();
    match illegal.reason {
        Reason::Leased => HubError::Transient(message),
        Reason::StepsLeft => HubError::Failed(message),
        Reason::State(_) | Reason::NothingToUndo => HubError::Refused(message),
    }
}

/// Another worker has the response.
pub(super) fn lease_lost(id: &ResponseId) -> HubError {
    HubError::Transient(format!("another worker took over response `{id}`"))
}
