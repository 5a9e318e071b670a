//! What is still to be told: one item each, from the transaction that makes it
//! true until it was told.

use std::collections::HashSet;

use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{KeysAndAttributes, Put};
use jiff::{SignedDuration, Timestamp};

use super::{
    Item, Kind, Ledger, Written, count, due_attributes, number, read_json, sortable, text, unbuilt,
    unreadable,
};
use crate::error::{HubError, failed};
use firebreak_response::outbox::{Outgoing, OutgoingKey};

/// For how long what was just written, or taken by somebody, is left to whoever
/// wrote or took it.
const LEFT_ALONE: SignedDuration = SignedDuration::from_secs(90);

impl Ledger {
    /// What was due to be told at `now`, at most so many.
    pub async fn due_outgoing(
        &self,
        now: Timestamp,
        at_most: usize,
    ) -> Result<Vec<OutgoingKey>, HubError> {
        let keys = self.due_keys(Kind::Outbox, now, at_most).await?;
        Ok(keys.into_iter().map(|(pk, sk)| OutgoingKey { pk, sk }).collect())
    }

    /// Reads what is still to be told of these, each once; what was told is not
    /// there.
    pub async fn outgoing(&self, keys: &[OutgoingKey]) -> Result<Vec<Outgoing>, HubError> {
        let mut outgoing = Vec::new();
        // "Provided list of item keys contains duplicates" fails the whole call
        // (DynamoDB API reference, BatchGetItem), and SQS delivers twice.
        let mut seen = HashSet::new();
        let keys: Vec<&OutgoingKey> = keys.iter().filter(|key| seen.insert(*key)).collect();
        // "Up to 100 items" (DynamoDB API reference, BatchGetItem).
        for some in keys.chunks(100) {
            let mut wanted = KeysAndAttributes::builder().consistent_read(true);
            for OutgoingKey { pk, sk } in some {
                wanted = wanted
                    .keys(Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))]));
            }
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.table, wanted.build().map_err(unbuilt)?)
                .send()
                .await
                .map_err(|error| failed("dynamodb:BatchGetItem", &error))?;
            // What DynamoDB left out stays due: the sweep finds it.
            let items = answer.responses.unwrap_or_default().remove(&self.table);
            for item in items.unwrap_or_default() {
                let mut one: Outgoing = read_json(&item, "body", "the outbox")?;
                let tries = item.get("tries").and_then(number).unwrap_or_default();
                one.tries = u32::try_from(tries).unwrap_or(u32::MAX);
                outgoing.push(one);
            }
        }
        Ok(outgoing)
    }

    /// Takes one in hand, so that nobody else tells it meanwhile: `Lost` when
    /// somebody else has taken or told it.
    pub async fn take_outgoing(
        &self,
        outgoing: &mut Outgoing,
        now: Timestamp,
    ) -> Result<Written, HubError> {
        self.postpone(outgoing, now + LEFT_ALONE).await
    }

    /// Lets one be tried again at `due`; what is left of it is written.
    pub async fn postpone(
        &self,
        outgoing: &mut Outgoing,
        due: Timestamp,
    ) -> Result<Written, HubError> {
        let OutgoingKey { pk, sk } = outgoing.key();
        let before = outgoing.tries;
        outgoing.tries = before.saturating_add(1);
        let json = serde_json::to_string(&outgoing).map_err(|error| unreadable(&pk, error))?;
        let answer = self
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
            .expression_attribute_values(":tries", count(outgoing.tries.into()))
            .expression_attribute_values(":before", count(before.into()))
            .expression_attribute_values(":due", text(sortable(due)))
            .send()
            .await;
        match answer {
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

    /// Deletes what was told, or given up.
    pub async fn forget_outgoing(&self, outgoing: &Outgoing) -> Result<(), HubError> {
        let OutgoingKey { pk, sk } = outgoing.key();
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
        outgoing: &Outgoing,
        now: Timestamp,
    ) -> Result<PutBuilder, HubError> {
        let OutgoingKey { pk, sk } = outgoing.key();
        let json = serde_json::to_string(outgoing).map_err(|error| unreadable(&pk, error))?;
        let mut put = Put::builder()
            .table_name(&self.table)
            .item("pk", text(&pk))
            .item("sk", text(sk))
            .item("tries", count(outgoing.tries.into()))
            .item("body", text(json));
        for (name, value) in due_attributes(Kind::Outbox, &pk, now + LEFT_ALONE) {
            put = put.item(name, value);
        }
        Ok(put)
    }
}
