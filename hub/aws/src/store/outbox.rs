//! The outbox: one item for each pending notification, written with the state
//! change and deleted on delivery.

use std::collections::HashSet;

use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{KeysAndAttributes, Put};
use jiff::{SignedDuration, Timestamp};

use super::{
    DueKind, Item, Store, Written, count, due_attributes, number, read_json, sortable, text,
    unbuilt, unreadable,
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
        // "Provided list of item keys contains duplicates" fails the whole call
        // (DynamoDB API reference, BatchGetItem), and SQS delivers twice.
        let mut seen = HashSet::new();
        let keys: Vec<&OutboxKey> = keys.iter().filter(|key| seen.insert(*key)).collect();
        // "Up to 100 items" (DynamoDB API reference, BatchGetItem).
        for some in keys.chunks(100) {
            let mut wanted = KeysAndAttributes::builder().consistent_read(true);
            for OutboxKey { pk, sk } in some {
                wanted = wanted
                    .keys(Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))]));
            }
            let output = self
                .client
                .batch_get_item()
                .request_items(&self.table, wanted.build().map_err(unbuilt)?)
                .send()
                .await
                .map_err(|error| failed("dynamodb:BatchGetItem", &error))?;
            // Items that DynamoDB left out stay due, and the sweep finds them.
            let items = output.responses.unwrap_or_default().remove(&self.table);
            for item in items.unwrap_or_default() {
                let mut one: OutboxItem = read_json(&item, "body", "the outbox")?;
                let tries = item.get("tries").and_then(number).unwrap_or_default();
                one.tries = u32::try_from(tries).unwrap_or(u32::MAX);
                outbox_items.push(one);
            }
        }
        Ok(outbox_items)
    }

    /// Claims an item, so that no other worker delivers it meanwhile: `Lost` if another
    /// worker has claimed or delivered it.
    pub async fn claim_outbox_item(
        &self,
        outbox_items: &mut OutboxItem,
        now: Timestamp,
    ) -> Result<Written, HubError> {
        self.postpone(outbox_items, now + LEFT_ALONE).await
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

    /// Deletes an item that was delivered or given up.
    pub async fn delete_outbox_item(&self, outbox_items: &OutboxItem) -> Result<(), HubError> {
        let OutboxKey { pk, sk } = outbox_items.key();
        self.client
            .delete_item()
            .table_name(&self.table)
            .key("pk", text(pk))
            .key("sk", text(sk))
            .send()
            .await
            .map_err(|error| failed("dynamodb:DeleteItem", &error))?;
        Ok(())
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
