//! The state of a target, its account's place and the pauses: one read for all.

use aws_sdk_dynamodb::types::KeysAndAttributes;
use firebreak_model::resource::AccountId;

use super::pauses::{PAUSES, read_pauses};
use super::{EXPIRES_AT, Item, Store, expires_after, number, read_json, text, unbuilt, unreadable};
use crate::error::{HubError, failed};
use firebreak_response::target::{StoredPlace, TargetKey, TargetState};

/// The prefix of the attributes that hold entries; the rest of the name is the key.
pub(super) const KEY_PREFIX: &str = "rule#";
pub(super) const SUPPRESSION_PREFIX: &str = "suppression#";

/// How often missing items of a partial result are read again.
const READS: u32 = 4;

impl Store {
    /// The state of a target, the place of its account, and the pauses: one consistent
    /// read.
    pub async fn target(&self, arn: &str, account: &AccountId) -> Result<TargetState, HubError> {
        let key = |pk: &str, sk: &str| {
            Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
        };
        let (target_pk, place_pk) = (format!("target#{arn}"), format!("place#{account}"));
        let mut wanted = KeysAndAttributes::builder()
            .consistent_read(true)
            .keys(key(&target_pk, "target"))
            .keys(key(PAUSES, PAUSES))
            .keys(key(&place_pk, "place"))
            .build()
            .map_err(unbuilt)?;
        let mut target = TargetState::default();
        for _ in 0..READS {
            let output = self
                .client
                .batch_get_item()
                .request_items(&self.table, wanted)
                .send()
                .await
                .map_err(|error| failed("dynamodb:BatchGetItem", &error))?;
            let items = output.responses.unwrap_or_default().remove(&self.table);
            for item in items.unwrap_or_default() {
                let pk = item.get("pk").and_then(|pk| pk.as_s().ok());
                if pk == Some(&target_pk) {
                    read_target(arn, item, &mut target)?;
                } else if pk == Some(&place_pk) {
                    target.place = Some(read_json(&item, "body", &place_pk)?);
                } else {
                    target.pauses = read_pauses(item)?;
                }
            }
            // "If none of the items can be processed … a partial result" (DynamoDB API
            // reference, BatchGetItem): missing items are read again, because a pause
            // that was not read would have no effect.
            let left = output.unprocessed_keys.unwrap_or_default().remove(&self.table);
            match left.filter(|left| !left.keys.is_empty()) {
                None => return Ok(target),
                Some(left) => wanted = left,
            }
        }
        Err(HubError::transient(format!("dynamodb:BatchGetItem left `{arn}` unread")))
    }

    /// Stores an account's place for the other processes.
    pub async fn remember_place(
        &self,
        account: &AccountId,
        place: &StoredPlace,
    ) -> Result<(), HubError> {
        let json = serde_json::to_string(place).map_err(|error| unreadable(account, error))?;
        self.client
            .put_item()
            .table_name(&self.table)
            .item("pk", text(format!("place#{account}")))
            .item("sk", text("place"))
            .item("body", text(json))
            .item(EXPIRES_AT, expires_after(place.until))
            .send()
            .await
            .map_err(|error| failed("dynamodb:PutItem", &error))?;
        Ok(())
    }
}

fn read_target(arn: &str, item: Item, target: &mut TargetState) -> Result<(), HubError> {
    for (name, value) in item {
        if name == "revision" {
            target.revision =
                number(&value).ok_or_else(|| unreadable(arn, "its `revision` is not a number"))?;
        } else if let Some(key) = name.strip_prefix(KEY_PREFIX) {
            let json = value.as_s().map_err(|_| unreadable(arn, "an entry is not text"))?;
            let entry = serde_json::from_str(json).map_err(|error| unreadable(arn, error))?;
            target.entries.insert(TargetKey::from(key.to_owned()), entry);
        } else if let Some(finding_type) = name.strip_prefix(SUPPRESSION_PREFIX) {
            let json = value.as_s().map_err(|_| unreadable(arn, "a suppression is not text"))?;
            let suppression = serde_json::from_str(json).map_err(|error| unreadable(arn, error))?;
            target.suppressions.insert(finding_type.to_owned(), suppression);
        }
    }
    Ok(())
}
