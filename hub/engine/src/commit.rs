//! Applies an event to a record and stores what follows from it.

use firebreak_aws::error::{HubError, HubErrorKind};
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
        let transition = self.next(record, event).await.map_err(refused)?;
        self.commit(transition, &[]).await
    }

    /// The same for a finding: where the state does not allow the event any more, another
    /// worker was faster, and the finding is delivered again.
    pub(super) async fn apply_for_finding(
        &self,
        record: &Record,
        event: Event,
    ) -> Result<Transition, HubError> {
        let next = self.next(record, event).await;
        let transition = next.map_err(|illegal| match illegal.reason {
            Reason::State(_) => HubError::transient(format!("{illegal}: it changed meanwhile")),
            Reason::Leased | Reason::NothingToUndo | Reason::StepsLeft => refused(illegal),
        })?;
        self.commit(transition, &[]).await
    }

    /// The same; `None` when another worker was faster.
    pub(super) async fn try_apply(
        &self,
        record: &Record,
        event: Event,
    ) -> Result<Option<Transition>, HubError> {
        let transition = match self.next(record, event).await {
            Ok(transition) => transition,
            Err(IllegalTransition { reason: Reason::State(_), .. }) => return Ok(None),
            Err(illegal) => return Err(refused(illegal)),
        };
        let written = self.store.commit(self.now()).transition(&transition)?.write().await?;
        Ok((written == Written::Yes).then_some(transition))
    }

    /// What follows from an event; nothing is stored.
    pub(super) async fn next(
        &self,
        record: &Record,
        event: Event,
    ) -> Result<Transition, IllegalTransition> {
        let hub = self.identity().await;
        transition::apply(record, event, &self.context(&hub))
    }

    /// Stores a transition whole, and draws on budgets with it.
    ///
    /// # Errors
    ///
    /// `Transient` when another worker was faster or a budget is spent.
    pub(super) async fn commit(
        &self,
        transition: Transition,
        counters: &[Counter],
    ) -> Result<Transition, HubError> {
        let commit = self.store.commit(self.now()).transition(&transition)?.draw(counters)?;
        match commit.write().await? {
            Written::Yes => Ok(transition),
            Written::Lost | Written::Spent => Err(lease_lost(&transition.record.response.id)),
        }
    }

    pub(super) fn context<'a>(&'a self, hub: &'a str) -> Context<'a> {
        let lease = jiff::SignedDuration::try_from(self.settings.lease)
            .unwrap_or(jiff::SignedDuration::MAX);
        Context { now: self.now(), hub, channels: &self.channels, lease }
    }
}

/// The error of an event that a person, or the sweep, asked for.
pub(super) fn refused(illegal: IllegalTransition) -> HubError {
    let kind = match illegal.reason {
        Reason::Leased => HubErrorKind::Transient,
        Reason::StepsLeft => HubErrorKind::Failed,
        Reason::State(_) | Reason::NothingToUndo => HubErrorKind::Refused,
    };
    HubError::illegal(kind, illegal)
}

/// Another worker has the response.
pub(super) fn lease_lost(id: &ResponseId) -> HubError {
    HubError::transient(format!("another worker took over response `{id}`"))
}
