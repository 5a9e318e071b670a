//! Where the organization's accounts are: the sweep lists them for all processes, so that
//! a storm of findings does not look up each account.
//!
//! They are kept in a hundred items, by the last two digits of the account's id: few to
//! write, and small to read beside a target.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EXPIRES_AT, Item, Store, expires_after, read_json, text, unreadable};
use crate::error::{HubError, failed};
use firebreak_model::organization::OuPath;
use firebreak_model::resource::AccountId;
use firebreak_response::target::StoredPlace;

/// How many items are written at once.
const MAX_PARALLEL: usize = 16;

/// The places of some accounts, until when they are used.
#[derive(Debug, Serialize, Deserialize)]
struct StoredPlaces {
    until: Timestamp,
    paths: BTreeMap<AccountId, OuPath>,
}

/// The partition key of the item that has an account's place.
pub(super) fn pk_of(account: &AccountId) -> String {
    let account = account.as_str();
    let digits = account.get(account.len().saturating_sub(2)..).unwrap_or(account);
    format!("places#{digits}")
}

/// Reads an account's place from its item; `None` if it was not listed.
pub(super) fn read_place(
    item: &Item,
    account: &AccountId,
) -> Result<Option<StoredPlace>, HubError> {
    let mut places: StoredPlaces = read_json(item, "body", &pk_of(account))?;
    let until = places.until;
    Ok(places.paths.remove(account).map(|ou_path| StoredPlace { ou_path, until }))
}

/// The partition key of the item that says until when the listed places are used.
const LISTED: &str = "places";

impl Store {
    /// Until when the places that were listed last are used; `None` before the first time.
    pub async fn places_until(&self) -> Result<Option<Timestamp>, HubError> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(LISTED)))
            .send()
            .await
            .map_err(|error| failed("dynamodb:GetItem", &error))?;
        let Some(item) = output.item else { return Ok(None) };
        let places: StoredPlaces = read_json(&item, "body", LISTED)?;
        Ok(Some(places.until))
    }

    /// Stores the places of all accounts for every process.
    pub async fn remember_places(
        &self,
        places: BTreeMap<AccountId, OuPath>,
        until: Timestamp,
    ) -> Result<(), HubError> {
        let mut items: BTreeMap<String, BTreeMap<AccountId, OuPath>> = BTreeMap::new();
        for (account, path) in places {
            items.entry(pk_of(&account)).or_default().insert(account, path);
        }
        let writes = items.into_iter().map(|(pk, paths)| self.put_places(pk, paths, until));
        let () = stream::iter(writes).buffer_unordered(MAX_PARALLEL).try_collect().await?;
        // Last, so that a failure lists them again.
        self.put_places(LISTED.to_owned(), BTreeMap::new(), until).await
    }

    async fn put_places(
        &self,
        pk: String,
        paths: BTreeMap<AccountId, OuPath>,
        until: Timestamp,
    ) -> Result<(), HubError> {
        let json = serde_json::to_string(&StoredPlaces { until, paths })
            .map_err(|error| unreadable(&pk, error))?;
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(key(&pk)))
            .item("body", text(json))
            .item(EXPIRES_AT, expires_after(until))
            .send()
            .await
            .map_err(|error| failed("dynamodb:PutItem", &error))?;
        Ok(())
    }
}

fn key(pk: &str) -> Item {
    Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text("places"))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_s_place_is_in_the_item_of_its_last_two_digits() {
        assert_eq!(pk_of(&"200000000107".parse().unwrap()), "places#07");
    }
}
