//! Delivers the outbox: at once by the worker that wrote the item, by the write-back
//! queue, or by the sweep.
//!
//! # Guarantees
//!
//! - Security Hub gets the *present* state of a response: an older state is never sent.
//! - An item leaves the outbox when it was delivered, or when it was recorded
//!   that delivery was given up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use firebreak_model::resource::Region;
use futures::future::join_all;
use jiff::Timestamp;
use tracing::{error, info, instrument, warn};

use super::recorder::Recorder;
use super::sibling_targets::unresolved_elsewhere;
use firebreak_aws::error::HubError;
use firebreak_aws::guardduty::GuardDuty;
use firebreak_aws::notices::Notices;
use firebreak_aws::queue::Queue;
use firebreak_aws::security_hub::{FindingUpdate, SecurityHub, UpdateResult, UpdatedFinding};
use firebreak_model::finding::SecurityHubId;
use firebreak_response::audit_event::{AuditEvent, AuditKind, ORGANIZATION};
use firebreak_response::notice::Notice;
use firebreak_response::outbox::{
    self, Archive, Channel, OutboxItem, OutboxKey, TRIED_AT_MOST, UNKNOWN_AT_MOST,
};
use firebreak_response::record::Response;
use firebreak_response::status::{self, Workflow};
use firebreak_response::transition::{Event, Record};

/// If a delivery takes longer than this, the response is read again afterwards.
const SLOW: Duration = Duration::from_millis(500);

/// The result of one delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The items that were delivered, or had nothing left to deliver.
    pub delivered: Vec<OutboxKey>,
    /// When each item that Security Hub accepted was created.
    pub written: Vec<Timestamp>,
    /// Why items are still pending.
    pub pending: Vec<String>,
    /// Why items were given up.
    pub given_up: Vec<String>,
    /// The workflow status that was written last.
    pub workflow: Option<String>,
}

/// Delivers outbox items to their channels.
#[derive(Clone, Debug)]
pub(super) struct Deliverer {
    pub(super) recorder: Recorder,
    pub(super) security_hub: Arc<SecurityHub>,
    pub(super) guardduty: Arc<GuardDuty>,
    pub(super) notices: Arc<Notices>,
    /// The write-back queue, if configured.
    pub(super) queue: Option<Queue>,
}

impl Deliverer {
    /// Delivers what a response's transaction put into the outbox: through the
    /// queue where there is one, otherwise directly. Returns the workflow status
    /// that was written, and why something was not delivered; that does not fail
    /// the response, because the sweep delivers it later.
    pub(super) async fn deliver_outbox(
        &self,
        response: &Response,
        outbox_items: Vec<OutboxItem>,
    ) -> (Option<String>, Option<String>) {
        if outbox_items.is_empty() {
            return (None, None);
        }
        if let Some(queue) = &self.queue {
            let account = response.resource.account.as_str();
            let sent = queue.send(account, &outbox_items).await;
            return (None, sent.err().map(|error| error.to_string()));
        }
        let known = outbox_items.into_iter().map(|item| (item, Some(response.clone()))).collect();
        let delivery = Box::pin(self.deliver_items(known)).await;
        let undelivered = delivery.pending.into_iter().chain(delivery.given_up).collect::<Vec<_>>();
        (delivery.workflow, (!undelivered.is_empty()).then(|| undelivered.join("; ")))
    }

    /// Applies an event that ends with the record, and delivers what it emits.
    pub(super) async fn apply_and_deliver(
        &self,
        record: &Record,
        event: Event,
    ) -> Result<Response, HubError> {
        let applied = self.recorder.apply(record, event).await?;
        Box::pin(self.deliver_outbox(&applied.record.response, applied.outbox)).await;
        Ok(applied.record.response)
    }

    /// Delivers items that another worker may have delivered already; those
    /// are no longer in the outbox.
    pub(super) async fn deliver_if_written(
        &self,
        response: &Response,
        outbox_items: &[OutboxItem],
    ) {
        if outbox_items.is_empty() {
            return;
        }
        let account = response.resource.account.as_str();
        let sent = if let Some(queue) = &self.queue {
            queue.send(account, outbox_items).await
        } else {
            let keys: Vec<OutboxKey> = outbox_items.iter().map(OutboxItem::key).collect();
            Box::pin(self.deliver_keys(&keys)).await.map(drop)
        };
        if let Err(error) = sent {
            warn!(response.id = %response.id, "left to the sweep: {error}");
        }
    }

    /// Delivers the outbox items under these keys; a missing item was delivered already.
    pub(super) async fn deliver_keys(&self, keys: &[OutboxKey]) -> Result<Delivery, HubError> {
        let outbox_items = self.recorder.store.outbox_items(keys).await?;
        let now = self.recorder.now();
        let claimed = self.recorder.store.claim_outbox_items(outbox_items, now).await?;
        let claimed = claimed.into_iter().map(|item| (item, None)).collect();
        Ok(Box::pin(self.deliver_items(claimed)).await)
    }

    /// Delivers claimed items; items with the same content share a call.
    #[instrument(name = "write-back", skip_all)]
    async fn deliver_items(&self, outbox_items: Vec<(OutboxItem, Option<Response>)>) -> Delivery {
        let mut delivery = Delivery::default();
        let loaded = join_all(outbox_items.into_iter().map(|(item, response)| async move {
            let response = match response {
                Some(response) => Ok(response),
                None => self.recorder.load(&item.response).await,
            };
            (item, response)
        }))
        .await;
        let (mut statuses, mut archives, mut notices) = (Vec::new(), Vec::new(), Vec::new());
        for (item, response) in loaded {
            match (response, item.channel) {
                (Ok(response), Channel::SecurityHub) => statuses.push((item, response)),
                (Ok(response), Channel::Archive) => archives.push((item, response)),
                (Ok(response), Channel::Topic | Channel::Bus) => notices.push((item, response)),
                (Err(error), _) => {
                    Box::pin(self.retry_later(item, None, &error.to_string(), &mut delivery)).await;
                }
            }
        }
        Box::pin(self.change_archives(archives, &mut delivery)).await;
        Box::pin(self.update_security_hub(statuses, &mut delivery)).await;
        self.delete_items(&delivery.delivered).await;
        let deleted = delivery.delivered.len();
        Box::pin(self.send_notices(notices, &mut delivery)).await;
        self.delete_items(delivery.delivered.get(deleted..).unwrap_or_default()).await;
        delivery
    }

    /// Publishes notices beside each other, and puts them on the bus in batches.
    async fn send_notices(&self, due: Vec<(OutboxItem, Response)>, delivery: &mut Delivery) {
        let (mut events, mut of_events) = (Vec::new(), Vec::new());
        let mut published = Vec::new();
        for (item, response) in due {
            match (&item.notice, item.channel) {
                (Some(_), Channel::Topic) => published.push((item, response)),
                (Some(notice), Channel::Bus) => {
                    events.push(notice.clone());
                    of_events.push((item, response));
                }
                // Such items are never written: there is nothing to deliver.
                (None, _) | (Some(_), Channel::SecurityHub | Channel::Archive) => {
                    forget(&item, delivery);
                }
            }
        }
        let results = join_all(published.iter().map(|(item, _)| async {
            match &item.notice {
                Some(notice) => self.notices.publish(notice).await,
                None => Ok(()),
            }
        }))
        .await;
        for ((item, response), result) in published.into_iter().zip(results) {
            self.settle_result(item, &response, result, delivery).await;
        }
        let events: Vec<&Notice> = events.iter().collect();
        let put = self.notices.put_events(&events).await;
        for ((item, response), put) in of_events.into_iter().zip(put) {
            self.settle_result(item, &response, put, delivery).await;
        }
    }

    /// Archives the findings of responses in GuardDuty, or unarchives them, each in its
    /// Region: one call for all responses of a Region.
    async fn change_archives(&self, due: Vec<(OutboxItem, Response)>, delivery: &mut Delivery) {
        let mut settled = Vec::new();
        let mut wanted: BTreeMap<(Archive, Region), BTreeSet<String>> = BTreeMap::new();
        for (item, response) in due {
            let from = outbox::archive_not_before(&item, &response);
            if let Some(from) = from.filter(|from| *from > self.recorder.now()) {
                let why = "other targets of the finding may not be decided yet";
                self.postpone_item(item, from, why, delivery).await;
                continue;
            }
            match self.archive_calls(&response).await {
                Ok(calls) => {
                    for (call, id) in &calls {
                        wanted.entry(call.clone()).or_default().insert(id.clone());
                    }
                    settled.push((item, response, calls));
                }
                Err(error) => {
                    let why = error.to_string();
                    Box::pin(self.retry_later(item, Some(&response), &why, delivery)).await;
                }
            }
        }
        let mut failed: BTreeMap<(Archive, Region), HubError> = BTreeMap::new();
        for ((archive, region), ids) in wanted {
            let ids: Vec<String> = ids.into_iter().collect();
            if let Err(error) = self.change_archive(archive, &region, &ids).await {
                failed.insert((archive, region), error);
            }
        }
        for (item, response, calls) in settled {
            let mut result = Ok(());
            for (call, id) in calls {
                result = match failed.get(&call) {
                    None => continue,
                    Some(error) if error.is_transient() => Err(error.clone()),
                    // An id that GuardDuty does not take must not keep the others.
                    Some(_) => self.change_archive(call.0, &call.1, &[id]).await,
                };
                if result.is_err() {
                    break;
                }
            }
            self.settle_result(item, &response, result, delivery).await;
        }
    }

    async fn change_archive(
        &self,
        archive: Archive,
        region: &Region,
        ids: &[String],
    ) -> Result<(), HubError> {
        match archive {
            Archive::Into => self.guardduty.archive(region, ids).await,
            Archive::OutOf => self.guardduty.unarchive(region, ids).await,
        }
    }

    /// A response's findings to archive, except those that are unresolved at another
    /// target, or all of them to unarchive, each with its Region.
    async fn archive_calls(
        &self,
        response: &Response,
    ) -> Result<Vec<((Archive, Region), String)>, HubError> {
        let Some(archive) = outbox::archive_change(response) else { return Ok(Vec::new()) };
        let open = match archive {
            Archive::Into => unresolved_elsewhere(&self.recorder.store, response).await?,
            Archive::OutOf => Vec::new(),
        };
        let settled = response.security_hub_ids().filter(|id| !open.contains(id));
        let ids = settled.filter_map(guardduty_id);
        Ok(ids.map(|(region, id)| ((archive, region), id)).collect())
    }

    /// Deletes a delivered item, and keeps a failed one for a retry.
    async fn settle_result(
        &self,
        item: OutboxItem,
        response: &Response,
        result: Result<(), HubError>,
        delivery: &mut Delivery,
    ) {
        match result {
            Ok(()) => forget(&item, delivery),
            Err(error) => {
                Box::pin(self.retry_later(item, Some(response), &error.to_string(), delivery))
                    .await;
            }
        }
    }

    async fn update_security_hub(&self, due: Vec<(OutboxItem, Response)>, delivery: &mut Delivery) {
        let mut updates = Vec::new();
        let mut asked = Vec::new();
        for (item, response) in due {
            // It is running again: its next state is delivered when it is reached.
            let Some(update) = status::of(&response) else {
                forget(&item, delivery);
                continue;
            };
            let findings: Vec<SecurityHubId> = if item.findings.is_empty() {
                response.security_hub_ids().cloned().collect()
            } else {
                item.findings.clone()
            };
            let open = match update.workflow {
                Some(Workflow::Resolved) => {
                    unresolved_elsewhere(&self.recorder.store, &response).await
                }
                Some(Workflow::New | Workflow::Notified) | None => Ok(Vec::new()),
            };
            let open = match open {
                Ok(open) => open,
                Err(error) => {
                    let why = error.to_string();
                    Box::pin(self.retry_later(item, Some(&response), &why, delivery)).await;
                    continue;
                }
            };
            for finding in &findings {
                let region = region_of(finding).unwrap_or_else(|| response.finding.region.clone());
                let update = update.clone();
                let update = if open.contains(finding) { update.not_resolved() } else { update };
                updates.push(FindingUpdate { region, findings: vec![finding.clone()], update });
            }
            asked.push((item, response, findings.len()));
        }
        if updates.is_empty() {
            return;
        }
        let began = tokio::time::Instant::now();
        let mut results = self.security_hub.update_findings(&updates).await.into_iter();
        let slow = began.elapsed() > SLOW;
        let overtaken =
            asked.iter().map(async |(_, response, _)| slow && self.is_overtaken(response).await);
        let overtaken = join_all(overtaken).await;
        for ((item, response, findings), overtaken) in asked.into_iter().zip(overtaken) {
            let of_item: Vec<UpdatedFinding> = results.by_ref().take(findings).collect();
            if overtaken {
                // This update may have overwritten a newer one: it is sent again.
                let why = "the response changed while it was delivered";
                self.retry_later(item, Some(&response), why, delivery).await;
                continue;
            }
            Box::pin(self.settle_updates(item, &response, of_item, delivery)).await;
        }
    }

    /// Whether Security Hub has to be given another status than this response's.
    async fn is_overtaken(&self, response: &Response) -> bool {
        match self.recorder.load(&response.id).await {
            Ok(now) => status::of(&now) != status::of(response),
            Err(error) => {
                warn!(response.id = %response.id, "delivered, but the response could not be read again: {error}");
                true
            }
        }
    }

    /// Keeps the findings of an item that are still pending, or deletes the item.
    async fn settle_updates(
        &self,
        mut item: OutboxItem,
        response: &Response,
        updated: Vec<UpdatedFinding>,
        delivery: &mut Delivery,
    ) {
        let age = self.recorder.now().duration_since(item.created);
        let (mut left, mut reasons) = (Vec::new(), Vec::new());
        for UpdatedFinding { finding, result } in updated {
            let id = finding.id().to_owned();
            let refused = match result {
                UpdateResult::Written { workflow } => {
                    delivery.workflow =
                        Some(workflow.map_or("unchanged", Workflow::name).to_owned());
                    continue;
                }
                UpdateResult::Kept { status, by } => {
                    info!(response.id = %response.id, "`{id}` keeps {status} of {by}");
                    delivery.workflow = Some("unchanged".to_owned());
                    continue;
                }
                UpdateResult::NotFound if age < UNKNOWN_AT_MOST => {
                    reasons.push(format!("Security Hub does not know `{id}` yet"));
                    left.push(finding);
                    continue;
                }
                UpdateResult::NotFound => format!("Security Hub does not know `{id}`"),
                UpdateResult::Later(why) if age < TRIED_AT_MOST => {
                    reasons.push(format!("`{id}`: {why}"));
                    left.push(finding);
                    continue;
                }
                UpdateResult::Later(why) | UpdateResult::Refused(why) => format!("`{id}`: {why}"),
            };
            Box::pin(self.give_up(&item, Some(response), &refused, delivery)).await;
        }
        if left.is_empty() {
            delivery.written.push(item.created);
            forget(&item, delivery);
            return;
        }
        item.findings = left;
        Box::pin(self.retry_later(item, Some(response), &reasons.join("; "), delivery)).await;
    }

    /// Leaves an item in the outbox for the sweep, unless its time is over.
    async fn retry_later(
        &self,
        item: OutboxItem,
        response: Option<&Response>,
        why: &str,
        delivery: &mut Delivery,
    ) {
        let now = self.recorder.now();
        if now.duration_since(item.created) >= TRIED_AT_MOST {
            Box::pin(self.give_up(&item, response, why, delivery)).await;
            forget(&item, delivery);
            return;
        }
        let due = item.again_at(now);
        self.postpone_item(item, due, why, delivery).await;
    }

    /// Leaves an item in the outbox until it is due.
    async fn postpone_item(
        &self,
        mut item: OutboxItem,
        due: Timestamp,
        why: &str,
        delivery: &mut Delivery,
    ) {
        warn!(response.id = %item.response, "{} notification pending: {why}", item.channel.name());
        delivery.pending.push(why.to_owned());
        match self.recorder.store.postpone(&mut item, due).await {
            // Lost: another worker has claimed it.
            Ok(_) => {}
            // It stays due as it was.
            Err(error) => warn!("`{}` stays in the outbox unchanged: {error}", item.response),
        }
    }

    /// Records that a delivery was given up, and sends a notice if the channel
    /// was Security Hub.
    async fn give_up(
        &self,
        item: &OutboxItem,
        response: Option<&Response>,
        why: &str,
        delivery: &mut Delivery,
    ) {
        let reason = format!("{} was not notified: {why}", item.channel.name());
        error!(response.id = %item.response, "given up: {reason}");
        let (by, now) = (self.recorder.caller.arn_or_unknown().await, self.recorder.now());
        let account = response.map_or(ORGANIZATION, |it| it.resource.account.as_str());
        let event = AuditEvent {
            response: Some(item.response.clone()),
            revision: Some(item.revision),
            ..AuditEvent::new(AuditKind::Undelivered, account, &by, &reason, now)
        };
        let notices = match (response, item.channel) {
            (Some(response), Channel::SecurityHub) => {
                let notice = Notice::undelivered(response, "Security Hub", why);
                OutboxItem::notices(response, &notice, &self.recorder.channels, now)
            }
            (_, Channel::SecurityHub | Channel::Archive | Channel::Topic | Channel::Bus) => {
                Vec::new()
            }
        };
        let written =
            async { self.recorder.store.commit(now).audited(&event, &notices)?.write().await };
        if let Err(error) = written.await {
            error!(response.id = %item.response, "and it could not be recorded: {error}");
        }
        delivery.given_up.push(reason);
    }

    /// Deletes what was delivered from the outbox.
    async fn delete_items(&self, keys: &[OutboxKey]) {
        if let Err(error) = self.recorder.store.delete_outbox_items(keys).await {
            // The sweep delivers them once more, which changes nothing.
            warn!("{} delivered item(s) stay in the outbox: {error}", keys.len());
        }
    }
}

/// Counts an item as delivered; [`Deliverer::delete_items`] deletes it.
fn forget(item: &OutboxItem, delivery: &mut Delivery) {
    delivery.delivered.push(item.key());
}

/// The Region in which Security Hub has a finding, from its product's ARN.
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
