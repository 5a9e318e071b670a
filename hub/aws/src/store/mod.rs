//! The hub's DynamoDB table: the state of each target, the record of each response,
//! budgets, pauses, the outbox, and the audit chains.
//!
//! # Layout
//!
//! | pk | sk | what |
//! |---|---|---|
//! | `target#<arn>` | `target` | for each rule its latest response, epoch, state and the findings that it covers; for each finding type its suppression, if there is one |
//! | `unanswered#<digest>` | `unanswered` | that no rule answered a finding on one of its several targets |
//! | `response#<id>` | `record` | the response, and `day` and `created` for the index `by-day` |
//! | `places#<two digits>` | `places` | where the accounts are whose ids end so, for a while |
//! | `places` | `places` | until when these are used |
//! | `rate#<account>` | `rate` | how far the buckets of its rate limits are used, for all processes |
//! | `pauses` | `pauses` | what is paused |
//! | `budget#<digest>` | `budget` | what was drawn on one budget |
//! | `outbox#<response>` | `<revision>#<channel>` | pending notifications |
//! | `audit#<account>#<day>` | `k#<digest>`, `head` | decisions, and the end of their chain; `day` and `created` of a head for the index `by-day` |
//! | `audit#<account>` | `account` | where the account's chains end, for the next one to refer to |
//!
//! Every item that the sweep processes has `due_shard`, by kind, and `due` for the
//! index `by-due`, so that a sweep costs only what is due. Budgets, places, rates and
//! unanswered findings have `expires_at`, the table's time to live.
//!
//! # Guarantees
//!
//! - A claim is one transaction: the target's revision must be the one that was read
//!   *before* the prior state was captured, so nobody changed the target in between; it
//!   also draws on the budgets. A worker whose condition fails has changed nothing.
//! - Every later write is conditional on the record's revision before it: a
//!   worker that stalled cannot write after its successor.
//! - Outbox items and audit events are written in the same transaction as the state change.
//! - Records are stored as JSON text, so that they are read exactly as they were
//!   written.

mod audit;
mod budgets;
mod chain;
mod chains;
mod commit;
mod items;
mod outbox;
mod pauses;
mod places;
mod rates;
mod responses;
mod table;
mod target;

use std::collections::HashMap;
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

pub use self::budgets::Counter;
pub use self::commit::Commit;
use self::items::ITEMS_PER_CALL;
use self::rates::SeenRates;
pub use self::rates::SharedTokens;
use self::target::{TARGETS_PER_CALL, TargetId};
use crate::error::{HubError, failed};
use crate::settings::Settings;
use firebreak_client::batcher::LookupBatcher;
use firebreak_response::record::{Response, ResponseId};
use firebreak_response::target::TargetState;

type Item = HashMap<String, AttributeValue>;

/// The index of responses by the day on which they were first recorded.
const BY_DAY: &str = "by-day";

/// The index of due items, in shards: one partition takes a thousand writes a second,
/// and a storm contains many targets at once.
const BY_DUE: &str = "by-due";
const DUE_SHARDS: u8 = 4;

/// How many calls of a kind a process makes at once: one that is throttled must not delay
/// those that come later.
const CALLS_AT_ONCE: usize = 8;

/// Whether a conditional write was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Written {
    Yes,
    /// Another caller wrote first; nothing was changed.
    Lost,
    /// A budget does not allow it any more; nothing was changed.
    Spent,
}

/// What the sweep processes, each kind in its own partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DueKind {
    Response,
    Outbox,
    Audit,
}

impl DueKind {
    fn name(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Outbox => "outbox",
            Self::Audit => "audit",
        }
    }
}

/// The hub's table.
#[derive(Clone, Debug)]
pub struct Store {
    client: aws_sdk_dynamodb::Client,
    table: String,
    targets: Arc<LookupBatcher<TargetId, Result<TargetState, HubError>, HubError>>,
    responses: Arc<LookupBatcher<ResponseId, Result<Response, HubError>, HubError>>,
    rates: Arc<SeenRates>,
}

impl Store {
    /// The configured table, with the hub's credentials.
    pub fn new(config: &SdkConfig, settings: &Settings) -> Self {
        Self {
            client: aws_sdk_dynamodb::Client::new(config),
            table: settings.table.clone(),
            targets: Arc::new(LookupBatcher::new(TARGETS_PER_CALL, CALLS_AT_ONCE)),
            responses: Arc::new(LookupBatcher::new(ITEMS_PER_CALL, CALLS_AT_ONCE)),
            rates: Arc::default(),
        }
    }

    /// The keys of the items of a kind that were due at `now`, the earliest of each
    /// shard first, at most `at_most`. The index may lag by a moment: read each item
    /// again before acting on it.
    async fn due_keys(
        &self,
        kind: DueKind,
        now: Timestamp,
        at_most: usize,
    ) -> Result<Vec<(String, String)>, HubError> {
        let shards = (0..DUE_SHARDS).map(|shard| async move {
            let mut keys = Vec::new();
            let mut pages = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(BY_DUE)
                .key_condition_expression("due_shard = :shard AND due <= :now")
                .expression_attribute_values(":shard", text(format!("{}-{shard}", kind.name())))
                .expression_attribute_values(":now", text(sortable(now)))
                // Without a limit each read returns a whole page of 1 MB, however few
                // items are used.
                .limit(i32::try_from(at_most).unwrap_or(i32::MAX))
                .into_paginator()
                .items()
                .send();
            while let Some(item) = pages.next().await {
                let item = item.map_err(|error| failed("dynamodb:Query", &error))?;
                let key = |name: &str| item.get(name)?.as_s().ok().cloned();
                if let (Some(pk), Some(sk)) = (key("pk"), key("sk")) {
                    keys.push((pk, sk));
                }
                if keys.len() >= at_most {
                    break;
                }
            }
            Ok::<_, HubError>(keys)
        });
        let shards = futures::future::try_join_all(shards).await?;
        // Takes from the shards in turn, so that none waits for the others.
        let longest = shards.iter().map(Vec::len).max().unwrap_or_default();
        let in_turn = (0..longest).flat_map(|nth| shards.iter().filter_map(move |it| it.get(nth)));
        Ok(in_turn.take(at_most).cloned().collect())
    }
}

/// The attributes that put an item of a kind into the index of due items.
fn due_attributes(kind: DueKind, key: &str, due: Timestamp) -> [(&'static str, AttributeValue); 2] {
    let shard = key.bytes().last().unwrap_or_default() % DUE_SHARDS;
    [("due_shard", text(format!("{}-{shard}", kind.name()))), ("due", text(sortable(due)))]
}

/// A time as text that sorts in the order of time: always with milliseconds.
fn sortable(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn day_of(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn count(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The attribute by which DynamoDB deletes items that are not needed any more, some
/// days after `end`: "within a few days of their expiration" (developer guide, "Using
/// time to live"). Only counters, cached places, rates and unanswered findings have it: responses and the audit log
/// are never deleted.
const EXPIRES_AT: &str = "expires_at";

fn expires_after(end: Timestamp) -> AttributeValue {
    AttributeValue::N(end.as_second().saturating_add(86_400).to_string())
}

fn number(value: &AttributeValue) -> Option<u64> {
    value.as_n().ok()?.parse().ok()
}

/// Parses the JSON text of an item's attribute.
fn read_json<T: serde::de::DeserializeOwned>(
    item: &Item,
    attribute: &str,
    what: &str,
) -> Result<T, HubError> {
    let json = item
        .get(attribute)
        .and_then(|body| body.as_s().ok())
        .ok_or_else(|| unreadable(what, format!("it has no `{attribute}`")))?;
    serde_json::from_str(json).map_err(|error| unreadable(what, error))
}

fn unreadable(what: impl std::fmt::Display, why: impl std::fmt::Display) -> HubError {
    HubError::failed(format!("cannot read or write the record of `{what}`: {why}"))
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
fn unbuilt(error: aws_sdk_dynamodb::error::BuildError) -> HubError {
    HubError::failed(format!("cannot build a request to DynamoDB: {error}"))
}
