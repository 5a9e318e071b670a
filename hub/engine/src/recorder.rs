//! Loads records, applies events to them, and stores the transitions.

use std::sync::Arc;

use firebreak_aws::error::{HubError, HubErrorKind};
use firebreak_aws::store::{Counter, Store, Written};
use firebreak_response::outbox::Channel;
use firebreak_response::pauses;
use firebreak_response::record::{Response, ResponseId};
use firebreak_response::transition::{
    self, Context, Event, IllegalTransition, Reason, Record, Transition,
};
use jiff::{SignedDuration, Timestamp};

use tracing::info;

use super::caller::Caller;
use super::clock::Clock;

/// Reads records, and stores every transition of one.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    pub(super) store: Arc<Store>,
    pub(super) caller: Caller,
    pub(super) clock: Clock,
    /// The channels that are configured.
    pub(super) channels: Arc<[Channel]>,
    /// The length of a lease; it is renewed when progress is recorded.
    pub(super) lease: SignedDuration,
}

impl Recorder {
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Loads a response; `Refused` if there is none.
    pub(super) async fn load(&self, id: &ResponseId) -> Result<Response, HubError> {
        self.store.response(id).await?.ok_or_else(|| {
            HubError::refused(format!(
                "there is no response `{id}`\nhelp: `firebreak responses list` shows the latest"
            ))
        })
    }

    /// The response with the findings that it covers; `Refused` unless it is the latest
    /// response of its rule on its target.
    pub(super) async fn record_of(&self, response: Response) -> Result<Record, HubError> {
        let (id, arn) = (&response.id, response.resource.arn());
        let mut target = self.store.target(&arn, &response.resource.account).await?;
        let entry = target.entries.remove(&response.key).filter(|entry| entry.response == *id);
        let Some(entry) = entry else {
            return Err(HubError::refused(format!(
                "response `{id}` is not the latest response of rule `{}` on `{arn}`",
                response.key
            )));
        };
        Ok(Record { response, findings: entry.findings })
    }

    /// Whether a pause covers this response.
    pub(super) async fn is_paused(&self, response: &Response) -> Result<bool, HubError> {
        let pauses = self.store.pauses().await?;
        let found = pauses.paused(&response.place(), Some(&response.key.rule), self.now());
        if let Some((scope, pause)) = found {
            info!(response.id = %response.id, "response `{}` waits: {}", response.id, pauses::describe(scope, pause));
        }
        Ok(found.is_some())
    }

    /// Applies an event and stores the transition in one transaction.
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

    /// As [`Self::apply`], for an event that a finding causes. If the state does not allow it
    /// any more, another worker wrote first: `Transient`, so that the finding is delivered
    /// again.
    pub(super) async fn apply_for_finding(
        &self,
        record: &Record,
        event: Event,
    ) -> Result<Transition, HubError> {
        let next = self.next(record, event).await;
        let transition = next.map_err(|illegal| match illegal.reason {
            Reason::State(_) => {
                HubError::transient(format!("{illegal}: it was changed at the same time"))
            }
            Reason::Leased | Reason::NothingToUndo | Reason::StepsLeft => refused(illegal),
        })?;
        self.commit(transition, &[]).await
    }

    /// As [`Self::apply`]; `None` if the state does not allow the event any more or another
    /// worker wrote first.
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

    /// The transition for an event, not stored.
    pub(super) async fn next(
        &self,
        record: &Record,
        event: Event,
    ) -> Result<Transition, IllegalTransition> {
        let hub = self.caller.arn_or_unknown().await;
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
            Written::Lost => Err(lease_lost(&transition.record.response.id)),
            Written::Spent => Err(HubError::transient(format!(
                "a budget for response `{}` was spent meanwhile",
                transition.record.response.id
            ))),
        }
    }

    pub(super) fn context<'a>(&'a self, hub: &'a str) -> Context<'a> {
        Context { now: self.now(), hub, channels: &self.channels, lease: self.lease }
    }
}

/// The error for an event that the record does not allow.
pub(super) fn refused(illegal: IllegalTransition) -> HubError {
    let kind = match illegal.reason {
        Reason::Leased => HubErrorKind::Transient,
        Reason::StepsLeft => HubErrorKind::Failed,
        Reason::State(_) | Reason::NothingToUndo => HubErrorKind::Refused,
    };
    HubError::illegal(kind, illegal)
}

/// The error when another worker holds the response now.
pub(super) fn lease_lost(id: &ResponseId) -> HubError {
    HubError::transient(format!("another worker took over response `{id}`"))
}
