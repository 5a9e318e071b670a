//! The state of a target, its account's place and rate limits, and the pauses: one read for
//! all.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::Put;
use firebreak_model::digest::sha256_hex_of_parts;
use firebreak_model::finding::Finding;
use firebreak_model::resource::AccountId;
use jiff::SignedDuration;

use super::commit::{Commit, Part};
use super::pauses::{PAUSES, read_pauses};
use super::{
    EXPIRES_AT, Item, Store, expires_after, number, places, rates, read_json, text, unreadable,
};
use crate::error::HubError;
use firebreak_response::pauses::Pauses;
use firebreak_response::target::{TargetKey, TargetState, Unanswered};

/// The prefix of the attributes that hold entries; the rest of the name is the key.
pub(super) const KEY_PREFIX: &str = "rule#";
pub(super) const SUPPRESSION_PREFIX: &str = "suppression#";

/// A target, by ARN and account; and the finding for which it is read, if that has several
/// targets.
pub(super) type TargetId = (String, AccountId, Option<String>);

/// How many targets are read in one call: with the items that belong to them, "up to 100
/// items" (DynamoDB API reference, BatchGetItem).
pub(super) const TARGETS_PER_CALL: usize = 24;

/// How long it is known that no rule answered a finding: longer than SQS keeps a message.
const UNANSWERED_KEPT: SignedDuration = SignedDuration::from_hours(5 * 24);

impl Store {
    /// The state of a target, the place of its account, and the pauses, in one consistent
    /// read. Targets that are asked for at the same moment share a call.
    pub async fn target(&self, arn: &str, account: &AccountId) -> Result<TargetState, HubError> {
        self.target_for(arn, account, None).await
    }

    /// The same for a finding: with several targets, also whether no rule answered it on
    /// this one before.
    pub async fn target_for(
        &self,
        arn: &str,
        account: &AccountId,
        finding: Option<&Finding>,
    ) -> Result<TargetState, HubError> {
        let several = finding.filter(|finding| finding.targets.len() > 1);
        let id = (arn.to_owned(), account.clone(), several.map(identity));
        let read = self.targets.ask(id, |ids| self.read_targets(ids)).await?;
        read.unwrap_or_else(|| Err(HubError::transient(format!("`{arn}` was not read"))))
    }

    async fn read_targets(
        &self,
        ids: Vec<TargetId>,
    ) -> Result<HashMap<TargetId, Result<TargetState, HubError>>, HubError> {
        let mut keys = vec![(PAUSES.to_owned(), PAUSES)];
        for (arn, account, finding) in &ids {
            if let Some(finding) = finding {
                keys.push((unanswered_pk(arn, finding), UNANSWERED));
            }
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
            let (arn, account, finding) = &id;
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
                let unanswered = finding.as_ref().map(|finding| unanswered_pk(arn, finding));
                if let Some(item) = unanswered.and_then(|pk| items.get(&pk)) {
                    target.unanswered = Some(read_json(item, "body", arn)?);
                }
                Ok(target)
            };
            targets.insert(id.clone(), read());
        }
        Ok(targets)
    }
}

const UNANSWERED: &str = "unanswered";

/// What a finding is known by: the id of an imported one is its sender's.
fn identity(finding: &Finding) -> String {
    let Finding { product, kind, account, id, .. } = finding;
    sha256_hex_of_parts([product.as_str(), kind.as_str(), account.as_str(), id.as_str()])
}

fn unanswered_pk(arn: &str, finding: &str) -> String {
    format!("{UNANSWERED}#{}", sha256_hex_of_parts([arn, finding]))
}

impl Commit<'_> {
    /// Adds that no rule answers a finding on a target.
    pub fn unanswered(
        self,
        arn: &str,
        finding: &Finding,
        unanswered: Unanswered,
    ) -> Result<Self, HubError> {
        let json = serde_json::to_string(&unanswered).map_err(|error| unreadable(arn, error))?;
        let put = Put::builder()
            .table_name(&self.store.table)
            .item("pk", text(unanswered_pk(arn, &identity(finding))))
            .item("sk", text(UNANSWERED))
            .item("body", text(json))
            .item(EXPIRES_AT, expires_after(self.now + UNANSWERED_KEPT));
        self.put(Part::Unconditional, put)
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
