//! Links recorded audit events into their chains.
//!
//! # Guarantees
//!
//! - An event is chained once: its position is written on condition that it has none,
//!   in the transaction that moves the chain's head and the account's item on from
//!   where they were read. Of two concurrent writers one fails and changes nothing.
//! - A crash leaves only whole transactions, so the chain always verifies.
//! - The days of an account are chained in order, but a late event may be added to a
//!   day after a later one has begun.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use jiff::Timestamp;
use jiff::civil::Date;
use tracing::error;

use super::{DueKind, Item, Store, Written, count, number, sortable, text, unbuilt, unreadable};
use crate::error::{HubError, failed};
use firebreak_audit::chain::{AccountChains, ChainId, Chained, Head, Link};
use firebreak_response::audit_event::AuditEvent;

/// "Up to 100 actions" and "4 MB" in a transaction (DynamoDB API reference,
/// TransactWriteItems), less the head and the account's item.
const EVENTS: usize = 98;
const BYTES: usize = 3_000_000;

/// How many accounts are chained concurrently.
const MAX_PARALLEL: usize = 8;

pub(super) const HEAD: &str = "head";
pub(super) const ACCOUNT: &str = "account";
pub(super) const KEY_PREFIX: &str = "k#";

/// The day in the index by day that the accounts' items have.
pub(super) const ACCOUNTS: &str = "audit#accounts";

/// An event that is not chained yet.
#[derive(Debug)]
struct Recorded {
    at: Timestamp,
    /// Orders events of the same time.
    revision: Option<u64>,
    key: String,
    body: String,
}

impl Store {
    /// Chains events that are not chained yet, at most `at_most`, the earliest first;
    /// returns how many.
    ///
    /// # Errors
    ///
    /// The first failure, after every other account was processed. Events that were not
    /// chained stay due.
    pub async fn chain_due(&self, now: Timestamp, at_most: usize) -> Result<usize, HubError> {
        let mut accounts: BTreeMap<String, BTreeMap<Date, Vec<String>>> = BTreeMap::new();
        for (pk, sk) in self.due_keys(DueKind::Audit, now, at_most).await? {
            let Some((id, key)) = chain_of(&pk).zip(sk.strip_prefix(KEY_PREFIX)) else {
                error!("the index of due items has an item that is not an event: {pk} {sk}");
                continue;
            };
            accounts.entry(id.account).or_default().entry(id.day).or_default().push(key.to_owned());
        }
        let accounts: Vec<_> = accounts.into_iter().collect();
        let (mut chained, mut failure) = (0, None);
        for some in accounts.chunks(MAX_PARALLEL) {
            let turns = some.iter().map(|(account, days)| self.chain_account(account, days, now));
            for turn in futures::future::join_all(turns).await {
                match turn {
                    Ok(events) => chained += events,
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
        }
        failure.map_or(Ok(chained), |failure| {
            Err(failure.context(format_args!("chained {chained} events, others not")))
        })
    }

    async fn chain_account(
        &self,
        account: &str,
        days: &BTreeMap<Date, Vec<String>>,
        now: Timestamp,
    ) -> Result<usize, HubError> {
        let mut chained = 0;
        let mut item =
            self.audit_account(account).await?.unwrap_or_else(|| AccountChains::new(account));
        for (day, keys) in days {
            let id = ChainId { account: account.to_owned(), day: *day };
            let mut events = self.recorded(&id, keys).await?;
            if events.is_empty() {
                continue;
            }
            events.sort_by(|a, b| (a.at, a.revision, &a.key).cmp(&(b.at, b.revision, &b.key)));
            let mut head = self.audit_head(&id).await?;
            for some in batches(&events) {
                let seen = item.revision;
                let before = head.as_ref().map(|head| head.seq);
                let mut next = match head {
                    Some(head) => head,
                    None => item.begin(id.day),
                };
                let links: Vec<Chained> =
                    some.iter().map(|event| next.append(&event.key, &event.body)).collect();
                item.note(&next);
                let write = ChainWrite { next: &next, before, item: &item, seen, now };
                match self.write_chained(&id, &links, &write).await? {
                    Written::Yes => chained += links.len(),
                    // Another writer was first and continues; the other events stay
                    // due.
                    Written::Lost | Written::Spent => return Ok(chained),
                }
                head = Some(next);
            }
        }
        Ok(chained)
    }

    /// The events of these keys that are not chained yet, read consistently: the index
    /// may lag.
    async fn recorded(&self, id: &ChainId, keys: &[String]) -> Result<Vec<Recorded>, HubError> {
        let mut recorded = Vec::new();
        let keys = keys.iter().map(|key| (pk(id), format!("{KEY_PREFIX}{key}")));
        for item in self.read_items(keys).await? {
            if item.contains_key("seq") {
                continue;
            }
            let value = |name: &str| item.get(name)?.as_s().ok().cloned();
            let key = value("sk").and_then(|sk| Some(sk.strip_prefix(KEY_PREFIX)?.to_owned()));
            let event = value("body")
                .and_then(|body| Some((serde_json::from_str::<AuditEvent>(&body).ok()?, body)));
            match key.zip(event) {
                Some((key, (AuditEvent { at, revision, .. }, body))) => {
                    recorded.push(Recorded { at, revision, key, body });
                }
                None => {
                    error!("the audit events in {} cannot be read and are not chained", pk(id));
                }
            }
        }
        Ok(recorded)
    }

    async fn write_chained(
        &self,
        id: &ChainId,
        links: &[Chained],
        write: &ChainWrite<'_>,
    ) -> Result<Written, HubError> {
        let mut call = self.client.transact_write_items();
        for link in links {
            let update = self.chained_update(id, link)?;
            call = call.transact_items(TransactWriteItem::builder().update(update).build());
        }
        let head = self.head_put(write)?;
        let account = self.account_put(write)?;
        let output = call
            .transact_items(TransactWriteItem::builder().put(head).build())
            .transact_items(TransactWriteItem::builder().put(account).build())
            .send()
            .await;
        let Err(error) = output else { return Ok(Written::Yes) };
        if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
            error.as_service_error()
        {
            let reasons = cancelled.cancellation_reasons();
            let lost =
                |code: &str| code == "ConditionalCheckFailed" || code == "TransactionConflict";
            if reasons.iter().any(|reason| reason.code().is_some_and(lost)) {
                return Ok(Written::Lost);
            }
        }
        Err(failed("dynamodb:TransactWriteItems", &error))
    }

    /// Writes an event's position, on condition that it has none and that its text is
    /// the hashed one.
    fn chained_update(&self, id: &ChainId, link: &Chained) -> Result<Update, HubError> {
        Update::builder()
            .table_name(&self.table)
            .key("pk", text(pk(id)))
            .key("sk", text(format!("{KEY_PREFIX}{}", link.key)))
            .update_expression(
                "SET #seq = :seq, #previous = :previous, #hash = :hash REMOVE #shard, #due",
            )
            .condition_expression("#body = :body AND attribute_not_exists(#seq)")
            .expression_attribute_names("#seq", "seq")
            .expression_attribute_names("#previous", "previous")
            .expression_attribute_names("#hash", "hash")
            .expression_attribute_names("#shard", "due_shard")
            .expression_attribute_names("#due", "due")
            .expression_attribute_names("#body", "body")
            .expression_attribute_values(":seq", count(link.seq))
            .expression_attribute_values(":previous", text(&link.previous))
            .expression_attribute_values(":hash", text(&link.hash))
            .expression_attribute_values(":body", text(&link.body))
            .build()
            .map_err(unbuilt)
    }

    fn head_put(&self, write: &ChainWrite<'_>) -> Result<Put, HubError> {
        let Head { seq, hash, before, .. } = write.next;
        let id = write.next.id();
        let json = serde_json::to_string(before).map_err(|error| unreadable(&id, error))?;
        let put = Put::builder()
            .table_name(&self.table)
            .item("pk", text(pk(&id)))
            .item("sk", text(HEAD))
            .item("seq", count(*seq))
            .item("hash", text(hash))
            .item("before", text(json))
            .item("day", text(heads_of(id.day)))
            .item("created", text(sortable(write.now)));
        match write.before {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(before) => put
                .condition_expression("#seq = :seen")
                .expression_attribute_names("#seq", "seq")
                .expression_attribute_values(":seen", count(before)),
        }
        .build()
        .map_err(unbuilt)
    }

    fn account_put(&self, write: &ChainWrite<'_>) -> Result<Put, HubError> {
        let AccountChains { account, revision, tails } = write.item;
        let json = serde_json::to_string(tails).map_err(|error| unreadable(account, error))?;
        let put = Put::builder()
            .table_name(&self.table)
            .item("pk", text(account_pk(account)))
            .item("sk", text(ACCOUNT))
            .item("revision", count(*revision))
            .item("tails", text(json))
            .item("day", text(ACCOUNTS))
            .item("created", text(sortable(write.now)));
        match write.seen {
            0 => put.condition_expression("attribute_not_exists(pk)"),
            seen => put
                .condition_expression("#revision = :seen")
                .expression_attribute_names("#revision", "revision")
                .expression_attribute_values(":seen", count(seen)),
        }
        .build()
        .map_err(unbuilt)
    }

    /// The account's item, if it has one.
    pub(super) async fn audit_account(
        &self,
        account: &str,
    ) -> Result<Option<AccountChains>, HubError> {
        let Some(item) = self.audit_item(account_pk(account), ACCOUNT).await? else {
            return Ok(None);
        };
        let revision = item.get("revision").and_then(number);
        let revision = revision.ok_or_else(|| unreadable(account, "it has no `revision`"))?;
        let tails: Vec<Link> = super::read_json(&item, "tails", account)?;
        Ok(Some(AccountChains { account: account.to_owned(), revision, tails }))
    }

    /// A chain's head, if there is one.
    pub(super) async fn audit_head(&self, id: &ChainId) -> Result<Option<Head>, HubError> {
        let item = self.audit_item(pk(id), HEAD).await?;
        item.map(|item| read_head(id, &item)).transpose()
    }

    async fn audit_item(&self, pk: String, sk: &str) -> Result<Option<Item>, HubError> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(pk))
            .key("sk", text(sk))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failed("dynamodb:GetItem", &error))?;
        Ok(output.item)
    }
}

/// What one transaction changes, and the values that it expects.
struct ChainWrite<'a> {
    next: &'a Head,
    /// The head's `seq` as it was read; `None` for a new chain.
    before: Option<u64>,
    item: &'a AccountChains,
    /// The revision of the account's item as it was read.
    seen: u64,
    now: Timestamp,
}

/// Splits events into batches that each fit in one transaction.
fn batches(mut events: &[Recorded]) -> Vec<&[Recorded]> {
    let mut batches = Vec::new();
    while !events.is_empty() {
        let mut bytes = 0_usize;
        let fit = events.iter().take(EVENTS).take_while(|event| {
            bytes = bytes.saturating_add(event.body.len());
            bytes <= BYTES
        });
        let (batch, rest) = events.split_at(fit.count().max(1));
        batches.push(batch);
        events = rest;
    }
    batches
}

pub(super) fn read_head(id: &ChainId, item: &Item) -> Result<Head, HubError> {
    let seq = item.get("seq").and_then(number).ok_or_else(|| unreadable(id, "it has no `seq`"))?;
    let hash = item.get("hash").and_then(|hash| hash.as_s().ok()).cloned();
    let hash = hash.ok_or_else(|| unreadable(id, "it has no `hash`"))?;
    let before = super::read_json(item, "before", &id.to_string())?;
    Ok(Head { account: id.account.clone(), day: id.day, seq, hash, before })
}

/// The chain of a partition key.
pub(super) fn chain_of(pk: &str) -> Option<ChainId> {
    let (account, day) = pk.strip_prefix("audit#")?.rsplit_once('#')?;
    Some(ChainId { account: account.to_owned(), day: day.parse().ok()? })
}

pub(super) fn pk(id: &ChainId) -> String {
    format!("audit#{}#{}", id.account, id.day)
}

pub(super) fn account_pk(account: &str) -> String {
    format!("audit#{account}")
}

/// The day in the index by day that the heads of a day's chains have.
pub(super) fn heads_of(day: Date) -> String {
    format!("audit#{day}")
}
