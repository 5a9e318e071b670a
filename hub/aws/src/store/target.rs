//! The state of a target, its account's place and rate limits, and the pauses: one read for
//! all.

use std::collections::HashMap;

use firebreak_model::resource::AccountId;

use super::pauses::{PAUSES, read_pauses};
use super::{Item, Store, number, places, rates, unreadable};
use crate::error::HubError;
use firebreak_response::pauses::Pauses;
use firebreak_response::target::{TargetKey, TargetState};

/// The prefix of the attributes that hold entries; the rest of the name is the key.
pub(super) const KEY_PREFIX: &str = "rule#";
pub(super) const SUPPRESSION_PREFIX: &str = "suppression#";

/// A target, by ARN and account.
pub(super) type TargetId = (String, AccountId);

/// How many targets are read in one call: with the items that belong to them, "up to 100
/// items" (DynamoDB API reference, BatchGetItem).
pub(super) const TARGETS_PER_CALL: usize = 32;

impl Store {
    /// The state of a target, the place of its account, and the pauses, in one consistent
    /// read. Targets that are asked for at the same moment share a call.
    pub async fn target(&self, arn: &str, account: &AccountId) -> Result<TargetState, HubError> {
        let id = (arn.to_owned(), account.clone());
        let read = self.targets.ask(id, |ids| self.read_targets(ids)).await?;
        read.unwrap_or_else(|| Err(HubError::transient(format!("`{arn}` was not read"))))
    }

    async fn read_targets(
        &self,
        ids: Vec<TargetId>,
    ) -> Result<HashMap<TargetId, Result<TargetState, HubError>>, HubError> {
        let mut keys = vec![(PAUSES.to_owned(), PAUSES)];
        for (arn, account) in &ids {
            keys.push((format!("target#{arn}"), "target"));
            keys.push((places::pk_of(account), "places"));
            keys.push((rates::pk_of(account.as_str()), "rate"));
        }
        let keys = keys.into_iter().map(|(pk, sk)| (pk, sk.to_owned()));
        let items = self.read_items(keys).await?.into_iter();
        let pk = |item: &Item| item.get("pk")?.as_s().ok().cloned();
        let mut items: HashMap<String, Item> =
            items.filter_map(|item| Some((pk(&item)?, item))).collect();
        let pauses = match items.remove(PAUSES) {
            Some(item) => read_pauses(item)?,
            None => Pauses::default(),
        };
        let mut targets = HashMap::new();
        for id in ids {
            let (arn, account) = &id;
            if let Some(rates) = items.get(&rates::pk_of(account.as_str())) {
                self.rates.remember(account.as_str(), rates);
            }
            let read = || {
                let mut target = TargetState { pauses: pauses.clone(), ..TargetState::default() };
                if let Some(item) = items.get(&format!("target#{arn}")) {
                    read_target(arn, item, &mut target)?;
                }
                if let Some(item) = items.get(&places::pk_of(account)) {
                    target.place = places::read_place(item, account)?;
                }
                Ok(target)
            };
            targets.insert(id.clone(), read());
        }
        Ok(targets)
    }
}

fn read_target(arn: &str, item: &Item, target: &mut TargetState) -> Result<(), HubError> {
    for (name, value) in item {
        if name == "revision" {
            target.revision =
                number(value).ok_or_else(|| unreadable(arn, "its `revision` is not a number"))?;
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
