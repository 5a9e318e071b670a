//! Telling how a response stands, from the outbox: at once by whoever wrote it,
//! by the write-back queue, or by the sweep.
//!
//! # Guarantees
//!
//! - Security Hub is told how a response stands *now*: what was overtaken
//!   meanwhile is not told any more.
//! - An item leaves the outbox once it was told, or once it was recorded that
//!   it could not be.

use std::collections::BTreeMap;
use std::time::Duration;

use firebreak_model::resource::Region;
use futures::future::join_all;
use jiff::Timestamp;
use tracing::{error, info, instrument, warn};

use super::Responder;
use firebreak_aws::error::HubError;
use firebreak_aws::ledger::Written;
use firebreak_aws::security_hub::{TellResult, Telling, Told};
use firebreak_model::finding::SecurityHubId;
use firebreak_response::audit_event::{Event, ORGANIZATION, What};
use firebreak_response::notice::Notice;
use firebreak_response::outbox::{
    self, Archive, Channel, Outgoing, OutgoingKey, TRIED_AT_MOST, UNKNOWN_AT_MOST,
};
use firebreak_response::record::Response;
use firebreak_response::status::{self, Workflow};

/// After how long of telling a response is looked at again.
const SLOW: Duration = Duration::from_millis(500);

/// What became of what was to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// How many items were told, or had nothing left to tell.
    pub told: usize,
    /// Since when each of those was to be told that Security Hub took.
    pub written: Vec<Timestamp>,
    /// Why items stay in the outbox.
    pub later: Vec<String>,
    /// Why items were given up.
    pub dropped: Vec<String>,
    /// The workflow status that was written last.
    pub workflow: Option<String>,
}

impl Responder {
    /// Has what a response's transaction put into the outbox told: by the queue
    /// where there is one, otherwise here and now. Returns the workflow status
    /// that was written, and why somebody was not told; that is no failure of
    /// the response, because the sweep finds it.
    pub(super) async fn tell(
        &self,
        response: &Response,
        outgoing: Vec<Outgoing>,
    ) -> (Option<String>, Option<String>) {
        if outgoing.is_empty() {
            return (None, None);
        }
        if let Some(queue) = &self.queue {
            let account = response.resource.account.as_str();
            let sent = queue.send(account, &outgoing).await;
            return (None, sent.err().map(|error| error.to_string()));
        }
        let known = outgoing.into_iter().map(|one| (one, Some(response.clone()))).collect();
        let delivery = Box::pin(self.deliver(known)).await;
        let untold = delivery.later.into_iter().chain(delivery.dropped).collect::<Vec<_>>();
        (delivery.workflow, (!untold.is_empty()).then(|| untold.join("; ")))
    }

    /// The same for what may have been told by somebody else already, and then
    /// does not stand in the outbox.
    pub(super) async fn tell_if_written(&self, response: &Response, outgoing: &[Outgoing]) {
        if outgoing.is_empty() {
            return;
        }
        let account = response.resource.account.as_str();
        let told = if let Some(queue) = &self.queue {
            queue.send(account, outgoing).await
        } else {
            let keys: Vec<OutgoingKey> = outgoing.iter().map(Outgoing::key).collect();
            Box::pin(self.deliver_keys(&keys)).await.map(drop)
        };
        if let Err(error) = told {
            warn!(response.id = %response.id, "left to the sweep: {error}");
        }
    }

    /// Tells what these keys of the outbox hold; what is not there was told.
    pub async fn deliver_keys(&self, keys: &[OutgoingKey]) -> Result<Delivery, HubError> {
        let outgoing = self.ledger.outgoing(keys).await?;
        let now = self.now();
        let taken = join_all(outgoing.into_iter().map(|mut one| async move {
            match self.ledger.take_outgoing(&mut one, now).await {
                Ok(Written::Yes) => Some((one, None)),
                // Somebody else is at it.
                Ok(Written::Lost | Written::Spent) => None,
                Err(error) => {
                    warn!("`{}` stays in the outbox: {error}", one.response);
                    None
                }
            }
        }))
        .await;
        Ok(Box::pin(self.deliver(taken.into_iter().flatten().collect())).await)
    }

    /// Tells what was taken out of the outbox, together where it is the same.
    #[instrument(name = "write-back", skip_all)]
    async fn deliver(&self, outgoing: Vec<(Outgoing, Option<Response>)>) -> Delivery {
        let mut delivery = Delivery::default();
        let loaded = join_all(outgoing.into_iter().map(|(one, response)| async move {
            let response = match response {
                Some(response) => Ok(response),
                None => self.load(&one.response).await,
            };
            (one, response)
        }))
        .await;
        let (mut statuses, mut notices) = (Vec::new(), Vec::new());
        for (one, response) in loaded {
            match (response, one.channel) {
                (Ok(response), Channel::SecurityHub) => statuses.push((one, response)),
                (Ok(response), Channel::Archive) => {
                    let from = outbox::archived_from(&one, &response);
                    if let Some(from) = from.filter(|from| *from > self.now()) {
                        let why = "other targets of the finding may not be decided yet";
                        self.put_off(one, from, why, &mut delivery).await;
                        continue;
                    }
                    let archived = self.archive(&response).await;
                    self.told(one, &response, archived, &mut delivery).await;
                }
                (Ok(response), Channel::Topic | Channel::Bus) => notices.push((one, response)),
                (Err(error), _) => {
                    Box::pin(self.try_later(one, None, &error.to_string(), &mut delivery)).await;
                }
            }
        }
        Box::pin(self.tell_security_hub(statuses, &mut delivery)).await;
        Box::pin(self.send_notices(notices, &mut delivery)).await;
        delivery
    }

    /// Publishes notices and puts them on the bus, the latter together.
    async fn send_notices(&self, due: Vec<(Outgoing, Response)>, delivery: &mut Delivery) {
        let (mut events, mut of_events) = (Vec::new(), Vec::new());
        for (one, response) in due {
            match (&one.notice, one.channel) {
                (Some(notice), Channel::Topic) => {
                    let published = self.notices.publish(notice).await;
                    self.told(one, &response, published, delivery).await;
                }
                (Some(notice), Channel::Bus) => {
                    events.push(notice.clone());
                    of_events.push((one, response));
                }
                // Nothing of this kind is ever written: there is nothing to tell.
                (None, _) | (Some(_), Channel::SecurityHub | Channel::Archive) => {
                    self.forget(&one, delivery).await;
                }
            }
        }
        let events: Vec<&Notice> = events.iter().collect();
        let put = self.notices.put_events(&events).await;
        for ((one, response), put) in of_events.into_iter().zip(put) {
            self.told(one, &response, put, delivery).await;
        }
    }

    /// Archives the findings of a response in GuardDuty that no other response
    /// holds open, or takes all out of the archive, each in its Region.
    async fn archive(&self, response: &Response) -> Result<(), HubError> {
        let Some(archive) = outbox::archives(response) else { return Ok(()) };
        let open = match archive {
            Archive::Into => self.open_elsewhere(response).await?,
            Archive::OutOf => Vec::new(),
        };
        let mut regions: BTreeMap<Region, Vec<String>> = BTreeMap::new();
        let settled = response.security_hub_ids().filter(|id| !open.contains(id));
        for id in settled.filter_map(guardduty_id) {
            regions.entry(id.0).or_default().push(id.1);
        }
        for (region, ids) in regions {
            match archive {
                Archive::Into => self.guardduty.archive(&region, &ids).await?,
                Archive::OutOf => self.guardduty.unarchive(&region, &ids).await?,
            }
        }
        Ok(())
    }

    /// Forgets what was told, and keeps what was not.
    async fn told(
        &self,
        one: Outgoing,
        response: &Response,
        told: Result<(), HubError>,
        delivery: &mut Delivery,
    ) {
        match told {
            Ok(()) => self.forget(&one, delivery).await,
            Err(error) => {
                Box::pin(self.try_later(one, Some(response), &error.to_string(), delivery)).await;
            }
        }
    }

    async fn tell_security_hub(&self, due: Vec<(Outgoing, Response)>, delivery: &mut Delivery) {
        let mut tellings = Vec::new();
        let mut asked = Vec::new();
        for (one, response) in due {
            // Under way again: its next state is told when it comes.
            let Some(update) = status::of(&response) else {
                self.forget(&one, delivery).await;
                continue;
            };
            let findings: Vec<SecurityHubId> = if one.findings.is_empty() {
                response.security_hub_ids().cloned().collect()
            } else {
                one.findings.clone()
            };
            let open = match update.workflow {
                Some(Workflow::Resolved) => self.open_elsewhere(&response).await,
                Some(Workflow::New | Workflow::Notified) | None => Ok(Vec::new()),
            };
            let open = match open {
                Ok(open) => open,
                Err(error) => {
                    let why = error.to_string();
                    Box::pin(self.try_later(one, Some(&response), &why, delivery)).await;
                    continue;
                }
            };
            for finding in &findings {
                let region = region_of(finding).unwrap_or_else(|| response.finding.region.clone());
                let update = update.clone();
                let update = if open.contains(finding) { update.not_resolved() } else { update };
                tellings.push(Telling { region, findings: vec![finding.clone()], update });
            }
            asked.push((one, response, findings.len()));
        }
        if tellings.is_empty() {
            return;
        }
        let began = tokio::time::Instant::now();
        let mut told = self.security_hub.tell(&tellings).await.into_iter();
        let slow = began.elapsed() > SLOW;
        for (one, response, findings) in asked {
            let told: Vec<Told> = told.by_ref().take(findings).collect();
            if slow && self.is_overtaken(&response).await {
                // What was said may stand over a newer word: it is said again.
                let why = "it was overtaken while it was told";
                self.try_later(one, Some(&response), why, delivery).await;
                continue;
            }
            Box::pin(self.settle(one, &response, told, delivery)).await;
        }
    }

    /// Whether a response has become another since it was read.
    async fn is_overtaken(&self, response: &Response) -> bool {
        match self.load(&response.id).await {
            Ok(now) => now.revision != response.revision,
            Err(error) => {
                warn!(response.id = %response.id, "told, and not looked at again: {error}");
                true
            }
        }
    }

    /// Keeps of one item what is left to be told, or forgets it.
    async fn settle(
        &self,
        mut one: Outgoing,
        response: &Response,
        told: Vec<Told>,
        delivery: &mut Delivery,
    ) {
        let age = self.now().duration_since(one.created);
        let (mut left, mut reasons) = (Vec::new(), Vec::new());
        for Told { finding, result } in told {
            let id = finding.id().to_owned();
            let refused = match result {
                TellResult::Written { workflow } => {
                    delivery.workflow =
                        Some(workflow.map_or("unchanged", Workflow::name).to_owned());
                    continue;
                }
                TellResult::Kept { status, by } => {
                    info!(response.id = %response.id, "`{id}` keeps {status} of {by}");
                    delivery.workflow = Some("unchanged".to_owned());
                    continue;
                }
                TellResult::NotFound if age < UNKNOWN_AT_MOST => {
                    reasons.push(format!("Security Hub does not know `{id}` yet"));
                    left.push(finding);
                    continue;
                }
                TellResult::NotFound => format!("Security Hub does not know `{id}`"),
                TellResult::Later(why) if age < TRIED_AT_MOST => {
                    reasons.push(format!("`{id}`: {why}"));
                    left.push(finding);
                    continue;
                }
                TellResult::Later(why) | TellResult::Refused(why) => format!("`{id}`: {why}"),
            };
            Box::pin(self.give_up(&one, Some(response), &refused, delivery)).await;
        }
        if left.is_empty() {
            delivery.written.push(one.created);
            self.forget(&one, delivery).await;
            return;
        }
        one.findings = left;
        Box::pin(self.try_later(one, Some(response), &reasons.join("; "), delivery)).await;
    }

    /// Leaves an item in the outbox for the sweep, unless its time is over.
    async fn try_later(
        &self,
        one: Outgoing,
        response: Option<&Response>,
        why: &str,
        delivery: &mut Delivery,
    ) {
        let now = self.now();
        if now.duration_since(one.created) >= TRIED_AT_MOST {
            Box::pin(self.give_up(&one, response, why, delivery)).await;
            self.forget(&one, delivery).await;
            return;
        }
        let due = one.again_at(now);
        self.put_off(one, due, why, delivery).await;
    }

    /// Leaves an item in the outbox until it is due.
    async fn put_off(&self, mut one: Outgoing, due: Timestamp, why: &str, delivery: &mut Delivery) {
        warn!(response.id = %one.response, "{} is told later: {why}", one.channel.name());
        delivery.later.push(why.to_owned());
        match self.ledger.postpone(&mut one, due).await {
            // Lost: somebody else has it in hand.
            Ok(_) => {}
            // It stays due as it was.
            Err(error) => warn!("`{}` stays in the outbox as it was: {error}", one.response),
        }
    }

    /// Records that somebody is not told any more, and tells people of it where
    /// it is Security Hub that does not know.
    async fn give_up(
        &self,
        one: &Outgoing,
        response: Option<&Response>,
        why: &str,
        delivery: &mut Delivery,
    ) {
        let told = format!("{} was not told: {why}", one.channel.name());
        error!(response.id = %one.response, "given up: {told}");
        let (by, now) = (self.identity().await, self.now());
        let account = response.map_or(ORGANIZATION, |it| it.resource.account.as_str());
        let event = Event {
            response: Some(one.response.clone()),
            revision: Some(one.revision),
            ..Event::new(What::Untold, account, &by, &told, now)
        };
        let notices = match (response, one.channel) {
            (Some(response), Channel::SecurityHub) => {
                let notice = Notice::undelivered(response, "Security Hub", why);
                Outgoing::notices(response, &notice, &self.channels, now)
            }
            (_, Channel::SecurityHub | Channel::Archive | Channel::Topic | Channel::Bus) => {
                Vec::new()
            }
        };
        let written =
            async { self.ledger.commit(now).event(&event)?.send(&notices)?.write().await };
        if let Err(error) = written.await {
            error!(response.id = %one.response, "and it could not be recorded: {error}");
        }
        delivery.dropped.push(told);
    }

    async fn forget(&self, one: &Outgoing, delivery: &mut Delivery) {
        delivery.told += 1;
        if let Err(error) = self.ledger.forget_outgoing(one).await {
            // The sweep tells it once more, which changes nothing.
            warn!("`{}` was told and stays in the outbox: {error}", one.response);
        }
    }
}

/// The Region in which Security Hub keeps a finding: its product's ARN says so.
fn region_of(finding: &SecurityHubId) -> Option<Region> {
    match finding {
        SecurityHubId::Asff { product_arn, .. } => product_arn.split(':').nth(3)?.parse().ok(),
        SecurityHubId::Ocsf { .. } => None,
    }
}

/// Region and id of a finding of GuardDuty's.
fn guardduty_id(finding: &SecurityHubId) -> Option<(Region, String)> {
    match finding {
        SecurityHubId::Asff { id, product_arn } if product_arn.ends_with("/aws/guardduty") => {
            let (arn, id) = id.rsplit_once("/finding/")?;
            Some((arn.split(':').nth(3)?.parse().ok()?, id.to_owned()))
        }
        SecurityHubId::Asff { .. } | SecurityHubId::Ocsf { .. } => None,
    }
}
