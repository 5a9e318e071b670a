//! Processes due work each minute: expiries, approval timeouts, expired leases,
//! the outbox, audit chaining. It reads the index of due items, so that a sweep
//! costs what is due and no more.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use jiff::SignedDuration;
use tokio::time::timeout_at;
use tracing::{error, warn};

use super::approve::Approvals;
use super::deliver::{Deliverer, Delivery};
use super::execute::Execution;
use super::recorder::Recorder;
use super::recover::Recoverer;
use super::undo::Undoer;
use firebreak_aws::deadline::{Deadline, HAND_BACK};
use firebreak_aws::error::HubError;
use firebreak_aws::organization::Organization;
use firebreak_aws::policies::Policies;
use firebreak_policy::{Mode, Otherwise, Tags};
use firebreak_response::record::{
    ApprovalAnswer, ApprovalDecision, Approver, Drift, Response, ResponseId, State, Undo, UndoCause,
};
use firebreak_response::transition::{Event, Record};

/// How many items of each kind are read at once, and how many are processed
/// concurrently.
const PAGE_SIZE: usize = 100;
const MAX_PARALLEL: usize = 16;
const CHAIN_PAGE_SIZE: usize = 1_000;

/// With less time than this, no new work is begun.
const ENOUGH_TIME: Duration = Duration::from_secs(20);

/// How long due work waits while a pause covers it.
const RETRY_WHILE_PAUSED: SignedDuration = SignedDuration::from_mins(1);

/// The result of a sweep.
#[derive(Clone, Debug, Default)]
pub struct SweepReport {
    /// The processed responses, or why one could not be processed.
    pub responses: Vec<Result<Response, HubError>>,
    /// How many outbox items were delivered.
    pub delivered: usize,
    /// How many audit events were chained.
    pub chained: usize,
    /// Why outbox items are still pending.
    pub pending: Vec<String>,
    /// Why outbox items were given up.
    pub given_up: Vec<String>,
    /// Other errors.
    pub errors: Vec<HubError>,
}

impl SweepReport {
    fn add(&mut self, delivery: Delivery) {
        self.delivered += delivery.delivered.len();
        self.pending.extend(delivery.pending);
        self.given_up.extend(delivery.given_up);
    }

    /// Failures that people should know of: those that the next sweep retries, and
    /// deliveries that were given up.
    pub fn failures(&self) -> Vec<String> {
        let mut failures: Vec<String> = Vec::new();
        for response in &self.responses {
            match response {
                Err(error) => failures.push(error.to_string()),
                // An undo that failed is tried again.
                Ok(response)
                    if response.undo.is_some() && response.state.may_have_changed_resource() =>
                {
                    failures.push(format!("{}: {}", response.id, response.reason));
                }
                Ok(_) => {}
            }
        }
        failures.extend(self.given_up.iter().cloned());
        failures.extend(self.errors.iter().map(ToString::to_string));
        failures
    }
}

/// Processes what is due.
#[derive(Clone, Debug)]
pub(super) struct Sweeper {
    pub(super) recorder: Recorder,
    pub(super) deliverer: Deliverer,
    pub(super) recoverer: Recoverer,
    pub(super) undoer: Undoer,
    pub(super) approvals: Approvals,
    pub(super) policies: Arc<Policies>,
    pub(super) organization: Arc<Organization>,
    /// Whether the hub's processes share the places of accounts in the table.
    pub(super) share_places: bool,
    pub(super) deadline: Deadline,
}

impl Sweeper {
    /// See [`super::Engine::sweep`].
    pub(super) async fn sweep(&self) -> SweepReport {
        let mut swept = SweepReport::default();
        let work = Box::pin(self.sweep_all(&mut swept));
        if let Some(at) = self.deadline.before(HAND_BACK) {
            if timeout_at(at, work).await.is_err() {
                warn!("the sweep ran out of time: the next one continues");
            }
        } else {
            work.await;
        }
        for failure in swept.failures() {
            error!("sweep: {failure}");
        }
        swept
    }

    async fn sweep_all(&self, swept: &mut SweepReport) {
        let mut done: HashSet<ResponseId> = HashSet::new();
        Box::pin(self.sweep_outbox(swept)).await;
        loop {
            // Responses that were processed and are still due come first in the index.
            let due =
                match self.recorder.store.due(self.recorder.now(), PAGE_SIZE + done.len()).await {
                    Ok(due) => due,
                    Err(error) => {
                        swept.errors.push(error.context("cannot read the due items"));
                        break;
                    }
                };
            // Responses that are still due are left to the next sweep.
            let due: Vec<ResponseId> =
                due.into_iter().filter(|id| done.insert(id.clone())).collect();
            if due.is_empty() || !self.has_time() {
                break;
            }
            let mut processed = stream::iter(due)
                .map(|id| async move { self.process_due(&id).await.transpose() }.boxed())
                .buffer_unordered(MAX_PARALLEL);
            while let Some(ended) = processed.next().await {
                swept.responses.extend(ended);
            }
        }
        Box::pin(self.sweep_outbox(swept)).await;
        Box::pin(self.sweep_record(swept)).await;
        // Last: in a large organization it may take the rest of the time.
        self.list_places(swept).await;
    }

    /// Lists where all accounts are, for every process, when half of their time is over.
    async fn list_places(&self, swept: &mut SweepReport) {
        if !self.share_places {
            return;
        }
        let ttl = SignedDuration::try_from(self.organization.ttl()).unwrap_or(SignedDuration::MAX);
        let listed = async {
            let (now, until) = (self.recorder.now(), self.recorder.store.places_until().await?);
            if until.is_some_and(|until| until.duration_since(now) > ttl / 2) {
                return Ok(());
            }
            let Some(places) = self.organization.list(|| self.has_time()).await? else {
                warn!("the organization's accounts were not listed in time");
                return Ok(());
            };
            self.recorder.store.remember_places(places, now + ttl).await
        };
        if let Err(error) = listed.await {
            swept.errors.push(error.context("cannot list the organization's accounts"));
        }
    }

    async fn sweep_outbox(&self, swept: &mut SweepReport) {
        let mut done = HashSet::new();
        while self.has_time() {
            let due = match self
                .recorder
                .store
                .due_outbox_items(self.recorder.now(), PAGE_SIZE + done.len())
                .await
            {
                Ok(due) => due,
                Err(error) => {
                    swept.errors.push(error.context("cannot read the outbox"));
                    return;
                }
            };
            let due: Vec<_> = due.into_iter().filter(|key| done.insert(key.clone())).collect();
            if due.is_empty() {
                return;
            }
            match Box::pin(self.deliverer.deliver_keys(&due)).await {
                Ok(delivery) => swept.add(delivery),
                // An item that cannot be read must not block the others.
                Err(error) if !error.is_transient() => {
                    for key in &due {
                        match Box::pin(self.deliverer.deliver_keys(std::slice::from_ref(key))).await
                        {
                            Ok(delivery) => swept.add(delivery),
                            Err(error) => swept.errors.push(error.context(&key.pk)),
                        }
                    }
                }
                Err(error) => {
                    swept.errors.push(error.context("cannot read the outbox"));
                    return;
                }
            }
        }
    }

    /// Links recorded audit events into their chains.
    async fn sweep_record(&self, swept: &mut SweepReport) {
        while self.has_time() {
            match self.recorder.store.chain_due(self.recorder.now(), CHAIN_PAGE_SIZE).await {
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

    /// Processes one due response; `None` if there was nothing to do.
    async fn process_due(&self, id: &ResponseId) -> Result<Option<Response>, HubError> {
        let processed = async {
            let response = self.recorder.load(id).await?;
            let now = self.recorder.now();
            // The index lags: the record decides.
            if response.due.is_none_or(|due| due > now) {
                return Ok(None);
            }
            match response.state {
                State::Running | State::Undoing => {
                    Box::pin(self.recover_due(response)).await.map(Some)
                }
                State::AwaitingApproval => {
                    Box::pin(self.approval_timed_out(response)).await.map(Some)
                }
                State::Contained | State::Completed | State::PartiallyContained | State::Failed => {
                    Box::pin(self.expire(response)).await.map(Some)
                }
                State::Observed
                | State::Refused
                | State::Denied
                | State::Undone
                | State::Expired => Ok(None),
            }
        };
        processed
            .await
            .map_err(|error: HubError| error.context(format_args!("the sweep of `{id}`")))
    }

    /// Recovers a response that a worker left or handed over.
    async fn recover_due(&self, response: Response) -> Result<Response, HubError> {
        let record = self.recorder.record_of(response).await?;
        let execution =
            Box::pin(self.recoverer.recover(record, tokio::time::Instant::now())).await?;
        let Execution { record, outbox_items, .. } = execution;
        Box::pin(self.deliverer.deliver_outbox(&record.response, outbox_items)).await;
        Ok(record.response)
    }

    /// Undoes a response whose `expires` is over.
    async fn expire(&self, response: Response) -> Result<Response, HubError> {
        if self.recorder.is_paused(&response).await? {
            return self.postpone(&self.recorder.record_of(response).await?).await;
        }
        let cause = UndoCause::Expiry;
        let request = Undo { cause, step: None, drift: Drift::Leave, suppress_until: None };
        Box::pin(self.undoer.undo(&response.id, request)).await
    }

    /// Applies the policy's `otherwise` to a plan that nobody approved or denied in
    /// time.
    async fn approval_timed_out(&self, response: Response) -> Result<Response, HubError> {
        let record = self.recorder.record_of(response).await?;
        let response = &record.response;
        let Some(approval) = response.approval.clone() else {
            let why = format!("response `{}` awaits approval and has none", response.id);
            return Err(HubError::failed(why));
        };
        let now = self.recorder.now();
        let within = approval.within.unwrap_or(RETRY_WHILE_PAUSED);
        let remind = Event::Reminded { within };
        let answer = |decision| ApprovalAnswer {
            decision,
            by: Approver::Policy,
            at: now,
            reason: Some(format!("nobody decided within {within:#}")),
        };
        match approval.otherwise {
            Otherwise::Notify => self.deliverer.apply_and_deliver(&record, remind).await,
            Otherwise::Deny => {
                let answer = answer(ApprovalDecision::Denied);
                self.deliverer.apply_and_deliver(&record, Event::Denied { answer }).await
            }
            Otherwise::Act if self.recorder.is_paused(response).await? => {
                self.postpone(&record).await
            }
            Otherwise::Act if self.needs_a_person(response).await? => {
                Box::pin(self.deliverer.apply_and_deliver(&record, remind)).await
            }
            Otherwise::Act => {
                let counters = self.recorder.store.counters(&approval.draws).await?;
                if counters.iter().any(|counter| counter.is_spent(now)) {
                    return self.deliverer.apply_and_deliver(&record, remind).await;
                }
                let answer = answer(ApprovalDecision::Approved);
                Box::pin(self.approvals.execute_approved(record, answer, &counters)).await
            }
        }
    }

    /// Whether a ceiling requires a person's approval.
    async fn needs_a_person(&self, response: &Response) -> Result<bool, HubError> {
        let policy = self.policies.current().await?;
        let place = self.organization.place(&response.resource.account).await?;
        let forbids =
            |mode| policy.forbids(&response.resource, &place, &Tags::None, mode).is_some();
        Ok(forbids(Mode::Auto) && !forbids(Mode::Approve))
    }

    /// Postpones a paused response to a later sweep.
    async fn postpone(&self, record: &Record) -> Result<Response, HubError> {
        let event = Event::Postponed { by: RETRY_WHILE_PAUSED };
        Ok(self.recorder.apply(record, event).await?.record.response)
    }
}
