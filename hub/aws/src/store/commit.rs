//! One transaction: everything that one step of the engine writes, together or not at
//! all.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::{PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
use jiff::Timestamp;

use super::pauses::{PAUSES, SCOPE_PREFIX};
use super::target::{KEY_PREFIX, SUPPRESSION_PREFIX};
use super::{Counter, Store, Written, count, text, unbuilt, unreadable};
use crate::error::{HubError, failed};
use firebreak_response::audit_event::AuditEvent;
use firebreak_response::outbox::OutboxItem;
use firebreak_response::pauses::{Pause, PauseScope};
use firebreak_response::record::SuppressionChange;
use firebreak_response::target::TargetEntry;
use firebreak_response::transition::{Transition, Write};

/// How often a transaction is tried if it conflicts with others, and the first wait at
/// most; each wait is up to twice the one before.
const TRIES: u32 = 7;
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// Why DynamoDB rejects a part of a transaction (DynamoDB API reference,
/// TransactWriteItems, "CancellationReason").
const FAILED: &str = "ConditionalCheckFailed";
const CONFLICT: &str = "TransactionConflict";
const THROTTLED: [&str; 2] = ["ThrottlingError", "ProvisionedThroughputExceeded"];

/// The kind of a part of a transaction: it decides what a failed condition means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Another worker wrote the target or the response first: nothing is written.
    Claim,
    /// The budget does not allow the draw any more.
    Budget,
    /// Another worker sent the notice of the spent budget: nothing is left to send.
    Trip,
    /// A notice that is sent only with its trip.
    TripNotice,
    /// The same decision is recorded already.
    Event,
    /// Has no condition.
    Unconditional,
}

/// A transaction that is being put together.
#[derive(Debug)]
#[must_use]
pub struct Commit<'a> {
    pub(super) store: &'a Store,
    pub(super) now: Timestamp,
    parts: Vec<(Part, TransactWriteItem)>,
}

impl Store {
    /// Begins a transaction, at `now`.
    pub fn commit(&self, now: Timestamp) -> Commit<'_> {
        Commit { store: self, now, parts: Vec::new() }
    }
}

impl Commit<'_> {
    /// Adds a whole transition of a response with its conditions: see [`Write`].
    pub fn transition(self, transition: &Transition) -> Result<Self, HubError> {
        let Transition { record, write, outbox, audit, .. } = transition;
        let response = &record.response;
        let commit = match write {
            Write::New { target_revision } => {
                let put = self
                    .store
                    .record_put(response)?
                    .condition_expression("attribute_not_exists(pk)");
                self.entry_as_read(transition, *target_revision)?.put(Part::Claim, put)?
            }
            Write::RecordAndEntry => {
                let put = self.store.record_next(response)?;
                self.own_entry(transition)?.put(Part::Claim, put)?
            }
            Write::Record => {
                let put = self.store.record_next(response)?;
                self.put(Part::Claim, put)?
            }
            Write::Added { target_revision } => {
                let put = self.store.record_next(response)?;
                self.entry_as_read(transition, *target_revision)?.put(Part::Claim, put)?
            }
            Write::Entry { target_revision } => self.entry_as_read(transition, *target_revision)?,
            Write::Suppression => {
                let update = self.target_update(transition, None)?;
                self.update(Part::Unconditional, update)?
            }
        };
        let commit = match audit {
            Some(event) => commit.event(event)?,
            None => commit,
        };
        commit.send(outbox)
    }

    /// Pauses a scope, in place of an earlier pause of it, and adds the audit event.
    pub fn pause(
        self,
        scope: &PauseScope,
        pause: &Pause,
        event: &AuditEvent,
    ) -> Result<Self, HubError> {
        let json = serde_json::to_string(pause).map_err(|error| unreadable(scope, error))?;
        let update = self
            .pauses_update(scope)
            .update_expression("SET #scope = :pause")
            .expression_attribute_values(":pause", text(json));
        self.update(Part::Claim, update)?.event(event)
    }

    /// Ends the pause of a scope, on condition that there is one, and adds the audit
    /// event.
    pub fn unpause(self, scope: &PauseScope, event: &AuditEvent) -> Result<Self, HubError> {
        let update = self
            .pauses_update(scope)
            .update_expression("REMOVE #scope")
            .condition_expression("attribute_exists(#scope)");
        self.update(Part::Claim, update)?.event(event)
    }

    fn pauses_update(&self, scope: &PauseScope) -> UpdateBuilder {
        Update::builder()
            .table_name(&self.store.table)
            .key("pk", text(PAUSES))
            .key("sk", text(PAUSES))
            .expression_attribute_names("#scope", format!("{SCOPE_PREFIX}{scope}"))
    }

    /// Adds an audit event that belongs to no transition, and its notifications.
    pub fn audited(self, event: &AuditEvent, outbox: &[OutboxItem]) -> Result<Self, HubError> {
        self.event(event)?.send(outbox)
    }

    /// Writes a response's entry, on condition that the entry is still this response's:
    /// an older one never returns.
    fn own_entry(self, transition: &Transition) -> Result<Self, HubError> {
        let id = &transition.record.response.id;
        let update = self
            .target_update(transition, Some(&transition.record.entry()))?
            .condition_expression("contains(#key, :response)")
            .expression_attribute_values(":response", text(id.as_str()));
        self.update(Part::Claim, update)
    }

    /// Writes a response's entry, on condition that the target is as it was read.
    fn entry_as_read(
        self,
        transition: &Transition,
        target_revision: u64,
    ) -> Result<Self, HubError> {
        let update = self.target_update(transition, Some(&transition.record.entry()))?;
        let update = if target_revision == 0 {
            // The item of a target may have suppressions only: then its revision is not
            // 0.
            update.condition_expression("attribute_not_exists(pk)")
        } else {
            update
                .condition_expression("revision = :read")
                .expression_attribute_values(":read", count(target_revision))
        };
        self.update(Part::Claim, update)
    }

    /// Draws on budgets, on condition that they still allow it.
    pub fn draw(mut self, counters: &[Counter]) -> Result<Self, HubError> {
        for counter in counters {
            let update = self.store.draw(counter, self.now);
            self = self.update(Part::Budget, update)?;
        }
        Ok(self)
    }

    /// Marks a spent budget as reported, and adds its notices; neither if another
    /// worker did so before.
    pub fn trip(mut self, counter: &Counter, notices: &[OutboxItem]) -> Result<Self, HubError> {
        let update = self.store.trip(counter, self.now);
        self = self.update(Part::Trip, update)?;
        for notice in notices {
            let put = self.store.outgoing_put(notice, self.now)?;
            self = self.put(Part::TripNotice, put)?;
        }
        Ok(self)
    }

    /// Adds an audit event.
    fn event(self, event: &AuditEvent) -> Result<Self, HubError> {
        let put = self.store.event_put(event)?;
        self.put(Part::Event, put)
    }

    /// Adds the outbox items.
    fn send(mut self, outbox_items: &[OutboxItem]) -> Result<Self, HubError> {
        for one in outbox_items {
            let put = self.store.outgoing_put(one, self.now)?;
            self = self.put(Part::Unconditional, put)?;
        }
        Ok(self)
    }

    /// Writes all of it or nothing.
    ///
    /// # Errors
    ///
    /// `Transient` if DynamoDB cannot be reached, or other writers conflicted each
    /// time.
    pub async fn write(mut self) -> Result<Written, HubError> {
        let mut wait = FIRST_WAIT;
        for _ in 0..TRIES {
            if self.parts.is_empty() {
                return Ok(Written::Yes);
            }
            let items = self.parts.iter().map(|(_, item)| item.clone()).collect();
            let call = self.store.client.transact_write_items().set_transact_items(Some(items));
            let Err(error) = call.send().await else { return Ok(Written::Yes) };
            let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
                error.as_service_error()
            else {
                return Err(failed("dynamodb:TransactWriteItems", &error));
            };
            let codes: Vec<String> = cancelled
                .cancellation_reasons()
                .iter()
                .map(|reason| reason.code().unwrap_or("None").to_owned())
                .collect();
            let hit = |part: Part, code: &str| {
                self.parts.iter().zip(&codes).any(|((of, _), is)| *of == part && is == code)
            };
            if hit(Part::Claim, FAILED) {
                return Ok(Written::Lost);
            }
            if hit(Part::Budget, FAILED) {
                return Ok(Written::Spent);
            }
            let already_sent = hit(Part::Trip, FAILED);
            let recorded = hit(Part::Event, FAILED);
            let conflict = codes.iter().any(|code| code == CONFLICT);
            let throttled = |code: &String| THROTTLED.contains(&code.as_str());
            if codes.iter().any(throttled) {
                let why = "dynamodb:TransactWriteItems was throttled".to_owned();
                return Err(HubError::transient(why));
            }
            if !(already_sent || recorded || conflict) {
                return Err(failed("dynamodb:TransactWriteItems", &error));
            }
            self.parts.retain(|(part, _)| match part {
                Part::Trip | Part::TripNotice => !already_sent,
                Part::Event => !recorded,
                Part::Claim | Part::Budget | Part::Unconditional => true,
            });
            if conflict {
                tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
                wait *= 2;
            }
        }
        Err(HubError::transient("others wrote to the same items each time"))
    }

    fn update(mut self, part: Part, update: UpdateBuilder) -> Result<Self, HubError> {
        let update = update.build().map_err(unbuilt)?;
        self.parts.push((part, TransactWriteItem::builder().update(update).build()));
        Ok(self)
    }

    pub(super) fn put(mut self, part: Part, put: PutBuilder) -> Result<Self, HubError> {
        let put = put.build().map_err(unbuilt)?;
        self.parts.push((part, TransactWriteItem::builder().put(put).build()));
        Ok(self)
    }

    /// What a transition changes in the target's item. One update has all of it:
    /// a transaction must not write to an item twice (DynamoDB API reference,
    /// TransactWriteItems). It increments the target's revision, so that a claim that
    /// did not see it is lost.
    fn target_update(
        &self,
        transition: &Transition,
        entry: Option<&TargetEntry>,
    ) -> Result<UpdateBuilder, HubError> {
        let response = &transition.record.response;
        let arn = response.resource.arn();
        let mut update = Update::builder()
            .table_name(&self.store.table)
            .key("pk", text(format!("target#{arn}")))
            .key("sk", text("target"))
            .expression_attribute_values(":one", count(1));
        let (mut set, mut remove) = (Vec::new(), "");
        if let Some(entry) = entry {
            let json = serde_json::to_string(entry).map_err(|error| unreadable(&arn, error))?;
            set.push("#key = :entry");
            update = update
                .expression_attribute_names("#key", format!("{KEY_PREFIX}{}", response.key))
                .expression_attribute_values(":entry", text(json));
        }
        if let Some(change) = &transition.suppression {
            let name = format!("{SUPPRESSION_PREFIX}{}", response.finding.kind);
            update = update.expression_attribute_names("#suppression", name);
            match change {
                SuppressionChange::Set(suppression) => {
                    let json = serde_json::to_string(suppression)
                        .map_err(|error| unreadable(&arn, error))?;
                    set.push("#suppression = :suppression");
                    update = update.expression_attribute_values(":suppression", text(json));
                }
                SuppressionChange::End => remove = "REMOVE #suppression ",
            }
        }
        let set = if set.is_empty() { String::new() } else { format!("SET {} ", set.join(", ")) };
        Ok(update.update_expression(format!("{set}{remove}ADD revision :one")))
    }
}
