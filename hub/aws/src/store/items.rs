//! Reads and deletes several items with one call.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Delete, KeysAndAttributes, TransactWriteItem};

use super::{Item, Store, text, unbuilt};
use crate::error::{HubError, failed};

/// "Up to 100 items" (DynamoDB API reference, BatchGetItem and TransactWriteItems).
pub(super) const ITEMS_PER_CALL: usize = 100;

/// How often items that DynamoDB left out are asked for again.
const READS: u32 = 4;

/// How often a transaction is tried that conflicts with another one, and the first wait at
/// most; each wait is up to twice the one before.
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// An item's partition key and sort key.
pub(super) type ItemKey = (String, String);

fn key(pk: &str, sk: &str) -> Item {
    Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

impl Store {
    /// The items of these keys that exist, in any order, each read consistently and once.
    ///
    /// # Errors
    ///
    /// `Transient` if DynamoDB leaves some unread each time: "a partial result is returned"
    /// (API reference, BatchGetItem), and an item that was not read must not count as absent.
    pub(super) async fn read_items(
        &self,
        keys: impl IntoIterator<Item = ItemKey>,
    ) -> Result<Vec<Item>, HubError> {
        // "Provided list of item keys contains duplicates" fails the whole call.
        let keys: BTreeSet<ItemKey> = keys.into_iter().collect();
        let keys: Vec<ItemKey> = keys.into_iter().collect();
        let mut items = Vec::new();
        for some in keys.chunks(ITEMS_PER_CALL) {
            let some = some.iter().map(|(pk, sk)| key(pk, sk)).collect();
            let wanted = KeysAndAttributes::builder().consistent_read(true).set_keys(Some(some));
            items.extend(self.read_some(wanted.build().map_err(unbuilt)?).await?);
        }
        Ok(items)
    }

    async fn read_some(&self, mut wanted: KeysAndAttributes) -> Result<Vec<Item>, HubError> {
        let (mut items, mut tries) = (Vec::new(), 0);
        while tries < READS {
            let call = self.client.batch_get_item().request_items(&self.table, wanted);
            let output = call.send().await;
            let output = output.map_err(|error| failed("dynamodb:BatchGetItem", &error))?;
            let read = output.responses.unwrap_or_default().remove(&self.table).unwrap_or_default();
            // A result above 16 MB is partial too, and comes in as many parts as it needs.
            tries = if read.is_empty() { tries + 1 } else { 0 };
            items.extend(read);
            let left = output.unprocessed_keys.unwrap_or_default().remove(&self.table);
            match left.filter(|left| !left.keys.is_empty()) {
                None => return Ok(items),
                Some(left) => wanted = left,
            }
        }
        Err(HubError::transient("dynamodb:BatchGetItem left items unread"))
    }

    /// Deletes these items, which may not exist any more.
    pub(super) async fn delete_items(
        &self,
        keys: impl IntoIterator<Item = ItemKey>,
    ) -> Result<(), HubError> {
        // A transaction must not name an item twice.
        let keys: BTreeSet<ItemKey> = keys.into_iter().collect();
        let keys: Vec<ItemKey> = keys.into_iter().collect();
        let mut failure = None;
        for some in keys.chunks(ITEMS_PER_CALL) {
            let deletes: Result<Vec<TransactWriteItem>, _> = some
                .iter()
                .map(|(pk, sk)| {
                    let delete = Delete::builder().table_name(&self.table);
                    let delete = delete.set_key(Some(key(pk, sk))).build();
                    Ok(TransactWriteItem::builder().delete(delete?).build())
                })
                .collect();
            if !matches!(self.transact(deletes.map_err(unbuilt)?).await, Ok(Ok(()))) {
                // They need not go together: one that cannot be deleted keeps no other.
                failure = self.delete_each(some).await.err().or(failure);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Deletes items one by one. All are tried; the last error is returned.
    async fn delete_each(&self, keys: &[ItemKey]) -> Result<(), HubError> {
        let mut failure = None;
        for (pk, sk) in keys {
            let call = self.client.delete_item().table_name(&self.table);
            if let Err(error) = call.set_key(Some(key(pk, sk))).send().await {
                failure = Some(failed("dynamodb:DeleteItem", &error));
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Writes all of it or nothing. `Err` in it has the code of each item, "None" where an
    /// item had no part in the cancellation (API reference, CancellationReason). What
    /// conflicts with another transaction is tried again.
    pub(super) async fn transact(
        &self,
        items: Vec<TransactWriteItem>,
    ) -> Result<Result<(), Vec<String>>, HubError> {
        let mut wait = FIRST_WAIT;
        let mut tries = 1;
        loop {
            let call = self.client.transact_write_items();
            let sent = call.set_transact_items(Some(items.clone())).send().await;
            let Err(error) = sent else { return Ok(Ok(())) };
            let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
                error.as_service_error()
            else {
                return Err(failed("dynamodb:TransactWriteItems", &error));
            };
            let reasons = cancelled.cancellation_reasons().iter();
            let codes: Vec<String> =
                reasons.map(|reason| reason.code().unwrap_or("None").to_owned()).collect();
            let is_conflict = codes.iter().any(|code| code == "TransactionConflict");
            if !is_conflict || tries == TRIES {
                return Ok(Err(codes));
            }
            tries += 1;
            tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
            wait *= 2;
        }
    }
}
