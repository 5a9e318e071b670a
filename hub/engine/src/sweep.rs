//! What time brings: looked for each minute, by the index of what is due, so
//! that a sweep costs what is due and no more.

use std::collections::HashSet;
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use jiff::SignedDuration;
use tokio::time::timeout_at;
use tracing::{error, warn};

use super::approve::POLICY;
use super::carry_out::fenced;
use super::undo::EXPIRY;
use super::{Delivery, Responder};
use firebreak_aws::deadline::HAND_BACK;
use firebreak_aws::error::HubError;
use firebreak_aws::ledger::Written;
use firebreak_policy::{Mode, Otherwise, Tags};
use firebreak_response::audit_event::{Event, What};
use firebreak_response::notice::Notice;
use firebreak_response::outbox::Outgoing;
use firebreak_response::record::{Answer, Drift, Response, ResponseId, State, Undo, Verdict};
use firebreak_response::switches;
use firebreak_response::target::Entry;

/// How much of each kind is looked at in one go, and how much of it side by side.
const AT_ONCE: usize = 100;
const SIDE_BY_SIDE: usize = 16;
const CHAINED_AT_ONCE: usize = 1_000;

/// What is too short to begin anything in.
const ENOUGH_TIME: Duration = Duration::from_secs(20);

/// How long what cannot be done while it is paused is left alone.
const WHILE_PAUSED: SignedDuration = SignedDuration::from_mins(1);

/// What a sweep came to.
#[derive(Clone, Debug, Default)]
pub struct Swept {
    /// The responses that were looked at: as they are now, or why not.
    pub responses: Vec<Result<Response, HubError>>,
    /// How many items of the outbox were told.
    pub told: usize,
    /// How many events of the record were chained.
    pub chained: usize,
    /// Why items of the outbox were not told, and stay there.
    pub later: Vec<String>,
    /// Why items of the outbox were given up.
    pub dropped: Vec<String>,
    /// What else went wrong.
    pub errors: Vec<HubError>,
}

impl Swept {
    fn add(&mut self, delivery: Delivery) {
        self.told += delivery.told;
        self.later.extend(delivery.later);
        self.dropped.extend(delivery.dropped);
    }

    /// What is tried again by the next sweep, or was given up: somebody should
    /// look at it.
    pub fn failures(&self) -> Vec<String> {
        let mut failures: Vec<String> = Vec::new();
        for response in &self.responses {
            match response {
                Err(error) => failures.push(error.to_string()),
                // An undo that failed is tried again.
                Ok(response) if response.undo.is_some() && response.state.holds_resource() => {
                    failures.push(format!("{}: {}", response.id, response.reason));
                }
                Ok(_) => {}
            }
        }
        failures.extend(self.dropped.iter().cloned());
        failures.extend(self.errors.iter().map(ToString::to_string));
        failures
    }
}

impl Responder {
    /// Looks at everything that is due: approvals whose time is over, ends by
    /// the clock, what a worker left or handed over, what was not told yet. What
    /// still runs before the deadline is dropped: it is resumed from its record.
    pub async fn sweep(&self) -> Swept {
        let mut swept = Swept::default();
        let work = Box::pin(self.sweep_all(&mut swept));
        if let Some(at) = self.deadline.before(HAND_BACK) {
            if timeout_at(at, work).await.is_err() {
                warn!("the sweep's time is over: what is left is the next one's");
            }
        } else {
            work.await;
        }
        for failure in swept.failures() {
            error!("sweep: {failure}");
        }
        swept
    }

    async fn sweep_all(&self, swept: &mut Swept) {
        let mut seen: HashSet<ResponseId> = HashSet::new();
        Box::pin(self.sweep_outbox(swept)).await;
        loop {
            // What was looked at and stays due stands before the rest.
            let due = match self.ledger.due(self.now(), AT_ONCE + seen.len()).await {
                Ok(due) => due,
                Err(error) => {
                    swept.errors.push(error.context("cannot read what is due"));
                    break;
                }
            };
            // What stays due is for the next sweep.
            let due: Vec<ResponseId> =
                due.into_iter().filter(|id| seen.insert(id.clone())).collect();
            if due.is_empty() || !self.has_time() {
                break;
            }
            let mut looked_at = stream::iter(due)
                .map(|id| async move { self.look_at(&id).await.transpose() }.boxed())
                .buffer_unordered(SIDE_BY_SIDE);
            while let Some(ended) = looked_at.next().await {
                swept.responses.extend(ended);
            }
        }
        Box::pin(self.sweep_outbox(swept)).await;
        Box::pin(self.sweep_record(swept)).await;
    }

    async fn sweep_outbox(&self, swept: &mut Swept) {
        let mut seen = HashSet::new();
        while self.has_time() {
            let due = match self.ledger.due_outgoing(self.now(), AT_ONCE + seen.len()).await {
                Ok(due) => due,
                Err(error) => {
                    swept.errors.push(error.context("cannot read the outbox"));
                    return;
                }
            };
            let due: Vec<_> = due.into_iter().filter(|key| seen.insert(key.clone())).collect();
            if due.is_empty() {
                return;
            }
            match Box::pin(self.deliver_keys(&due)).await {
                Ok(delivery) => swept.add(delivery),
                // One that cannot be read keeps none of the others.
                Err(HubError::Failed(_) | HubError::Refused(_)) => {
                    for key in &due {
                        match Box::pin(self.deliver_keys(std::slice::from_ref(key))).await {
                            Ok(delivery) => swept.add(delivery),
                            Err(error) => swept.errors.push(error.context(&key.pk)),
                        }
                    }
                }
                Err(error @ HubError::Transient(_)) => {
                    swept.errors.push(error.context("cannot read the outbox"));
                    return;
                }
            }
        }
    }

    /// Puts what was decided into the chains of the record.
    async fn sweep_record(&self, swept: &mut Swept) {
        while self.has_time() {
            match self.ledger.chain_due(self.now(), CHAINED_AT_ONCE).await {
                Ok(0) => return,
                Ok(chained) => swept.chained += chained,
                Err(error) => {
                    swept.errors.push(error.context("cannot chain the record"));
                    return;
                }
            }
        }
    }

    /// Whether there is time to begin something.
    fn has_time(&self) -> bool {
        self.deadline.allows(ENOUGH_TIME)
    }

    /// Looks at one response that was due; `None` where nothing was to be done.
    async fn look_at(&self, id: &ResponseId) -> Result<Option<Response>, HubError> {
        let looked = async {
            let response = self.load(id).await?;
            let now = self.now();
            // The index lags: the record is what counts.
            if response.due.is_none_or(|due| due > now) {
                return Ok(None);
            }
            match response.state {
                State::Running | State::Undoing => {
                    Box::pin(self.go_on_with(response)).await.map(Some)
                }
                State::AwaitingApproval => {
                    Box::pin(self.approval_is_over(response)).await.map(Some)
                }
                State::Contained | State::Completed | State::PartiallyContained | State::Failed => {
                    Box::pin(self.let_end(response)).await.map(Some)
                }
                State::Observed
                | State::Refused
                | State::Denied
                | State::Undone
                | State::Expired => Ok(None),
            }
        };
        looked.await.map_err(|error: HubError| error.context(format_args!("the sweep of `{id}`")))
    }

    /// Goes on with what a worker left or handed over.
    async fn go_on_with(&self, response: Response) -> Result<Response, HubError> {
        let entry = self.entry_of(&response).await?;
        let carried = Box::pin(self.go_on(response, entry, tokio::time::Instant::now())).await?;
        Box::pin(self.tell(&carried.response, carried.outgoing)).await;
        Ok(carried.response)
    }

    /// Undoes what policy lets stand no longer.
    async fn let_end(&self, mut response: Response) -> Result<Response, HubError> {
        if self.is_paused(&response).await? {
            let mut entry = self.entry_of(&response).await?;
            return self.look_again(&mut response, &mut entry).await;
        }
        let request =
            Undo { by: EXPIRY.to_owned(), step: None, drift: Drift::Leave, hold_until: None };
        Box::pin(self.undo(&response.id, request)).await
    }

    /// Does what policy says of a plan that nobody answered in time.
    async fn approval_is_over(&self, mut response: Response) -> Result<Response, HubError> {
        let mut entry = self.entry_of(&response).await?;
        let Some(approval) = response.approval.clone() else {
            response.due = None;
            return self.look_again(&mut response, &mut entry).await;
        };
        let now = self.now();
        let within = approval.within.unwrap_or(WHILE_PAUSED);
        let answer = |verdict| Answer {
            verdict,
            by: POLICY.to_owned(),
            at: now,
            reason: Some(format!("nobody answered within {within:#}")),
        };
        match approval.otherwise {
            Otherwise::Notify => self.ask_again(response, entry, within).await,
            Otherwise::Deny => {
                self.answer_denied(&mut response, &mut entry, answer(Verdict::Denied)).await?;
                Ok(response)
            }
            Otherwise::Act if self.is_paused(&response).await? => {
                self.look_again(&mut response, &mut entry).await
            }
            Otherwise::Act if self.needs_a_person(&response).await? => {
                Box::pin(self.ask_again(response, entry, within)).await
            }
            Otherwise::Act => {
                let counters = self.ledger.counters(&approval.draws).await?;
                if counters.iter().any(|counter| counter.is_spent(now)) {
                    return self.ask_again(response, entry, within).await;
                }
                Box::pin(self.carry_out_approved(
                    response,
                    entry,
                    answer(Verdict::Approved),
                    &counters,
                ))
                .await
            }
        }
    }

    /// Whether a ceiling keeps a plan from being carried out without a person.
    async fn needs_a_person(&self, response: &Response) -> Result<bool, HubError> {
        let policy = self.policies.current().await?;
        let place = self.organization.place(&response.resource.account).await?;
        let forbids =
            |mode| policy.forbids(&response.resource, &place, &Tags::None, mode).is_some();
        Ok(forbids(Mode::Auto) && !forbids(Mode::Approve))
    }

    /// Tells people once more that a plan waits for them.
    async fn ask_again(
        &self,
        mut response: Response,
        entry: Entry,
        within: SignedDuration,
    ) -> Result<Response, HubError> {
        let now = self.now();
        response.revision += 1;
        response.updated = now;
        response.due = Some(now + within);
        response.tries = response.tries.saturating_add(1);
        let notice = Notice::approval_due(&response);
        let outgoing = Outgoing::notices(&response, &notice, &self.channels, now);
        let by = self.identity().await;
        let why = format!("nobody answered within {within:#}: asked again");
        let event = Event::of(What::Became, &response, &by, &why);
        let commit = self.ledger.commit(now).advance(&response, &entry)?.event(&event)?;
        if commit.send(&outgoing)?.write().await? != Written::Yes {
            return Err(fenced(&response));
        }
        Box::pin(self.tell(&response, outgoing)).await;
        Ok(response)
    }

    /// Looks at it again in a while, and changes nothing else.
    async fn look_again(
        &self,
        response: &mut Response,
        entry: &mut Entry,
    ) -> Result<Response, HubError> {
        let now = self.now();
        response.revision += 1;
        response.due = response.due.map(|_| now + WHILE_PAUSED);
        let commit = self.ledger.commit(now).advance(response, entry)?;
        if commit.write().await? != Written::Yes {
            return Err(fenced(response));
        }
        Ok(response.clone())
    }

    /// Whether nothing may begin by itself where a response is.
    pub(super) async fn is_paused(&self, response: &Response) -> Result<bool, HubError> {
        let switches = self.ledger.switches().await?;
        let paused = switches.paused(&response.place(), Some(&response.rule), self.now());
        if let Some((scope, pause)) = paused {
            tracing::info!(response.id = %response.id, "waits: {}", switches::told(scope, pause));
        }
        Ok(paused.is_some())
    }

    /// The entry of a response that is the latest of its rule and target.
    pub(super) async fn entry_of(&self, response: &Response) -> Result<Entry, HubError> {
        let (id, arn) = (&response.id, response.resource.arn());
        let mut target = self.ledger.target(&arn, &response.resource.account).await?;
        target.entries.remove(&response.rule).filter(|entry| entry.response == *id).ok_or_else(
            || {
                HubError::Refused(format!(
                    "response `{id}` is not the latest of rule `{}` on `{arn}`",
                    response.rule
                ))
            },
        )
    }
}
