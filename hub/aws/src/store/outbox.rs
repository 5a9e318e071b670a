//! The outbox: one item for each pending notification, written with the state
//! change and deleted on delivery.

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use jiff::{SignedDuration, Timestamp};

use super::items::ITEMS_PER_CALL;
use super::{
    DueKind, Store, Written, count, due_attributes, number, read_json, sortable, text, unbuilt,
    unreadable,
};
use crate::error::{HubError, failed};
use firebreak_response::outbox::{OutboxItem, OutboxKey};

/// Visibility timeout of an outbox item after it was written or claimed.
const LEFT_ALONE: SignedDuration = SignedDuration::from_secs(90);

impl Store {
    /// The keys of items that are due at `now`, at most `at_most`.
    pub async fn due_outbox_items(
        &self,
        now: Timestamp,
        at_most: usize,
    ) -> Result<Vec<OutboxKey>, HubError> {
        let keys = self.due_keys(DueKind::Outbox, now, at_most).await?;
        Ok(keys.into_iter().map(|(pk, sk)| OutboxKey { pk, sk }).collect())
    }

    /// Reads the pending items among these, each once; delivered items do not exist any
    /// more.
    pub async fn outbox_items(&self, keys: &[OutboxKey]) -> Result<Vec<OutboxItem>, HubError> {
        let mut outbox_items = Vec::new();
        let keys = keys.iter().map(|OutboxKey { pk, sk }| (pk.clone(), sk.clone()));
        for item in self.read_items(keys).await? {
            let mut one: OutboxItem = read_json(&item, "body", "the outbox")?;
            let tries = item.get("tries").and_then(number).unwrap_or_default();
            one.tries = u32::try_from(tries).unwrap_or(u32::MAX);
            outbox_items.push(one);
        }
        Ok(outbox_items)
    }

    /// Claims items, so that no other worker delivers them meanwhile. Those that another
    /// worker has claimed or delivered are left out.
    ///
    /// # Errors
    ///
    /// `Transient` if DynamoDB cannot be reached, or others wrote to the items each time.
    pub async fn claim_outbox_items(
        &self,
        outbox_items: Vec<OutboxItem>,
        now: Timestamp,
    ) -> Result<Vec<OutboxItem>, HubError> {
        let mut claimed = Vec::new();
        let mut wanted = outbox_items;
        while !wanted.is_empty() {
            let rest = wanted.split_off(wanted.len().min(ITEMS_PER_CALL));
            claimed.extend(self.claim_some(wanted, now).await?);
            wanted = rest;
        }
        Ok(claimed)
    }

    async fn claim_some(
        &self,
        mut outbox_items: Vec<OutboxItem>,
        now: Timestamp,
    ) -> Result<Vec<OutboxItem>, HubError> {
        // Each cancelled transaction has at least one item less.
        while !outbox_items.is_empty() {
            let claims: Result<Vec<TransactWriteItem>, _> =
                outbox_items.iter().map(|item| self.claim(item, now)).collect();
            let Err(codes) = self.transact(claims.map_err(unbuilt)?).await? else {
                for item in &mut outbox_items {
                    item.tries = item.tries.saturating_add(1);
                }
                return Ok(outbox_items);
            };
            let before = outbox_items.len();
            let mut is_lost = codes.iter().map(|code| code == "ConditionalCheckFailed");
            outbox_items.retain(|_| !is_lost.next().unwrap_or(false));
            if outbox_items.len() == before {
                let why =
                    format!("dynamodb:TransactWriteItems was cancelled: {}", codes.join(", "));
                return Err(HubError::transient(why));
            }
        }
        Ok(outbox_items)
    }

    /// The part of a transaction that claims an item, on condition that it is as it was read.
    fn claim(&self, item: &OutboxItem, now: Timestamp) -> Result<TransactWriteItem, BuildError> {
        let OutboxKey { pk, sk } = item.key();
        let update = Update::builder()
            .table_name(&self.table)
            .key("pk", text(pk))
            .key("sk", text(sk))
            .update_expression("SET tries = :tries, due = :due")
            .condition_expression("tries = :before")
            .expression_attribute_values(":tries", count(item.tries.saturating_add(1).into()))
            .expression_attribute_values(":before", count(item.tries.into()))
            .expression_attribute_values(":due", text(sortable(now + LEFT_ALONE)))
            .build()?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// Postpones the next try of an item until `due`, and writes what is still pending
    /// in it.
    pub async fn postpone(
        &self,
        outbox_items: &mut OutboxItem,
        due: Timestamp,
    ) -> Result<Written, HubError> {
        let OutboxKey { pk, sk } = outbox_items.key();
        let before = outbox_items.tries;
        outbox_items.tries = before.saturating_add(1);
        let json = serde_json::to_string(&outbox_items).map_err(|error| unreadable(&pk, error))?;
        let output = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(pk))
            .key("sk", text(sk))
            .update_expression("SET #body = :body, tries = :tries, due = :due")
            .condition_expression("tries = :before")
            // Short words may be reserved (DynamoDB developer guide, "Reserved words").
            .expression_attribute_names("#body", "body")
            .expression_attribute_values(":body", text(json))
            .expression_attribute_values(":tries", count(outbox_items.tries.into()))
            .expression_attribute_values(":before", count(before.into()))
            .expression_attribute_values(":due", text(sortable(due)))
            .send()
            .await;
        match output {
            Ok(_) => Ok(Written::Yes),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(Written::Lost)
            }
            Err(error) => Err(failed("dynamodb:UpdateItem", &error)),
        }
    }

    /// Deletes items that were delivered or given up.
    pub async fn delete_outbox_items(&self, keys: &[OutboxKey]) -> Result<(), HubError> {
        self.delete_items(keys.iter().map(|key| (key.pk.clone(), key.sk.clone()))).await
    }

    pub(super) fn outgoing_put(
        &self,
        outbox_items: &OutboxItem,
        now: Timestamp,
    ) -> Result<PutBuilder, HubError> {
        let OutboxKey { pk, sk } = outbox_items.key();
        let json = serde_json::to_string(outbox_items).map_err(|error| unreadable(&pk, error))?;
        let mut put = Put::builder()
            .table_name(&self.table)
            .item("pk", text(&pk))
            .item("sk", text(sk))
            .item("tries", count(outbox_items.tries.into()))
            .item("body", text(json));
        for (name, value) in due_attributes(DueKind::Outbox, &pk, now + LEFT_ALONE) {
            put = put.item(name, value);
        }
        Ok(put)
    }
}
