//! Reads the audit chains, to verify or to export them. It writes nothing.
//!
//! Four sources list the chains: the index by day has every head and every account's
//! item; the account's item and each chain refer to earlier chains; and the index of
//! due items has the events that are not chained yet. If one source lacks a chain,
//! another one has it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;

use super::chain::{ACCOUNTS, HEAD, KEY_PREFIX, chain_of, heads_of, pk, read_head};
use super::{BY_DAY, DueKind, Item, Store, number, responses, text};
use crate::error::{HubError, failed};
use firebreak_audit::account::{AccountRecord, Range};
use firebreak_audit::chain::{Chain, ChainId, Chained, Head, Stray, Waiting};
use firebreak_response::record::ResponseId;

/// How often an account is read again if it was chained meanwhile.
const READS: u32 = 5;

/// The maximum number of unchained events that are read: many more than a sweep leaves.
const WAITING: usize = 100_000;

/// The accounts with an audit log, and their known days.
type KnownChains = BTreeMap<String, BTreeSet<Date>>;

impl Store {
    /// The accounts with an audit log, and the days of the range on which they have
    /// chains or unchained events.
    pub async fn audited(&self, range: Range, now: Timestamp) -> Result<KnownChains, HubError> {
        let mut known = KnownChains::new();
        for pk in self.partitions(ACCOUNTS).await? {
            if let Some(account) = pk.strip_prefix("audit#") {
                known.entry(account.to_owned()).or_default();
            }
        }
        let mut day = range.since;
        while day <= range.until {
            for pk in self.partitions(&heads_of(day)).await? {
                if let Some(id) = chain_of(&pk) {
                    known.entry(id.account).or_default().insert(id.day);
                }
            }
            let Ok(next) = day.tomorrow() else { break };
            day = next;
        }
        for (pk, _) in self.due_keys(DueKind::Audit, now, WAITING).await? {
            if let Some(id) = chain_of(&pk).filter(|id| range.has(id.day)) {
                known.entry(id.account).or_default().insert(id.day);
            }
        }
        Ok(known)
    }

    /// The responses that were first recorded on the days of the range, each with its
    /// account and time; read from an index that may lag by a moment.
    pub async fn recorded_responses(
        &self,
        range: Range,
    ) -> Result<Vec<(ResponseId, String, Option<Timestamp>)>, HubError> {
        let mut responses = Vec::new();
        let mut day = range.since;
        while day <= range.until {
            for item in self.of_day(&day.to_string()).await? {
                let value = |name: &str| item.get(name)?.as_s().ok().cloned();
                let id = value("pk").and_then(|pk| pk.strip_prefix("response#")?.parse().ok());
                if let Some((id, account)) = id.zip(value("account")) {
                    let created = value("created").and_then(|created| created.parse().ok());
                    responses.push((id, account, created));
                }
            }
            let Ok(next) = day.tomorrow() else { break };
            day = next;
        }
        Ok(responses)
    }

    async fn partitions(&self, day: &str) -> Result<Vec<String>, HubError> {
        let items = self.of_day(day).await?;
        Ok(items.iter().filter_map(|item| item.get("pk")?.as_s().ok().cloned()).collect())
    }

    /// The items of a day in the index.
    async fn of_day(&self, day: &str) -> Result<Vec<Item>, HubError> {
        let mut items = Vec::new();
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_DAY)
            .key_condition_expression("#day = :day")
            .expression_attribute_names("#day", "day")
            .expression_attribute_values(":day", text(day))
            .into_paginator()
            .items()
            .send();
        while let Some(item) = pages.next().await {
            let mut item = item.map_err(|error| failed("dynamodb:Query", &error))?;
            // The text may be large, and is read again consistently.
            item.remove("body");
            items.push(item);
        }
        Ok(items)
    }

    /// An account's chains on the days of the range, as they were at one moment: every
    /// transaction that chains increments the revision of the account's item, so what
    /// was read while it stayed the same is consistent.
    pub async fn account_record(
        &self,
        account: &str,
        known: &BTreeSet<Date>,
        range: Range,
    ) -> Result<AccountRecord, HubError> {
        for _ in 0..READS {
            let record = self.read_account(account, known, range).await?;
            if self.audit_account(account).await? == record.item {
                return Ok(record);
            }
        }
        let why = format!("account {account} was chained each time while its record was read");
        Err(HubError::transient(why))
    }

    async fn read_account(
        &self,
        account: &str,
        known: &BTreeSet<Date>,
        range: Range,
    ) -> Result<AccountRecord, HubError> {
        let mut record = AccountRecord::new(account);
        record.item = self.audit_account(account).await?;
        let mut days = known.clone();
        days.extend(record.item.iter().flat_map(|item| &item.tails).map(|link| link.day));
        let mut seen = BTreeSet::new();
        while let Some(day) = days.pop_last() {
            if day < range.since || !seen.insert(day) {
                continue;
            }
            let id = ChainId { account: account.to_owned(), day };
            let before = |head: &Head| head.before.iter().map(|link| link.day).collect::<Vec<_>>();
            if range.has(day) {
                let chain = self.chain(id).await?;
                days.extend(chain.head.iter().flat_map(before));
                record.chains.insert(day, chain);
            } else if let Some(head) = self.audit_head(&id).await? {
                days.extend(before(&head));
                record.later.insert(day, head);
            }
        }
        // A chain without stored items is only referred to: `NoChain` reports it.
        record.chains.retain(|_, chain| *chain != Chain::new(chain.id.clone()));
        Ok(record)
    }

    /// Everything in the partition of an account's day.
    async fn chain(&self, id: ChainId) -> Result<Chain, HubError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("#pk = :pk")
            .expression_attribute_names("#pk", "pk")
            .expression_attribute_values(":pk", text(pk(&id)))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut chain = Chain::new(id);
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| failed("dynamodb:Query", &error))?;
            sort_in(&item, &mut chain);
        }
        Ok(chain)
    }

    /// The exact texts of responses' records, read consistently; missing ones are left
    /// out.
    pub async fn record_texts(
        &self,
        of: &[ResponseId],
    ) -> Result<BTreeMap<ResponseId, String>, HubError> {
        let mut texts = BTreeMap::new();
        for item in self.read_items(of.iter().map(responses::key_of)).await? {
            let value = |name: &str| item.get(name)?.as_s().ok().cloned();
            let id = value("pk").and_then(|pk| pk.strip_prefix("response#")?.parse().ok());
            // A record without a text exists, and is reported as empty.
            texts.extend(id.map(|id| (id, value("body").unwrap_or_default())));
        }
        Ok(texts)
    }
}

/// Adds an item to its chain. An unreadable item is kept as a stray: an error would let
/// one bad item hide all others.
fn sort_in(item: &Item, chain: &mut Chain) {
    let value = |name: &str| item.get(name)?.as_s().ok().cloned();
    let sk = value("sk").unwrap_or_default();
    if sk == HEAD {
        match read_head(&chain.id, item) {
            Ok(head) => chain.head = Some(head),
            Err(error) => chain.strays.push(Stray { key: sk, why: error.to_string() }),
        }
        return;
    }
    let Some(key) = sk.strip_prefix(KEY_PREFIX).map(str::to_owned) else {
        let why = "its key is none of an event".to_owned();
        chain.strays.push(Stray { key: sk, why });
        return;
    };
    let Some(body) = value("body") else {
        chain.strays.push(Stray { key, why: "it has no text".to_owned() });
        return;
    };
    if !["seq", "previous", "hash"].iter().any(|name| item.contains_key(*name)) {
        chain.waiting.push(Waiting { key, body });
        return;
    }
    let seq = item.get("seq").and_then(number);
    if let (Some(seq), Some(previous), Some(hash)) = (seq, value("previous"), value("hash")) {
        chain.events.push(Chained { seq, previous, hash, key, body });
    } else {
        let why = "it has a part of its place in the chain only".to_owned();
        chain.strays.push(Stray { key, why });
    }
}
