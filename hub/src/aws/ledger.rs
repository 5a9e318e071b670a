//! The hub's DynamoDB table, as far as responses go: what is known of a target,
//! and the record of each response.
//!
//! # Layout
//!
//! | pk | sk | what |
//! |---|---|---|
//! | `target#<arn>` | `target` | for each rule its latest response, epoch, state and the findings that it answers; for each finding type the hold, if there is one |
//! | `response#<id>` | `record` | the response, and `day` and `created` for the index `by-day`; while it has to end by itself `due_shard` and `due` for the index `by-due` |
//!
//! # Guarantees
//!
//! - A claim is one transaction: the target's revision is the one that was
//!   read *before* the prior state was read, so nobody changed the target in
//!   between; whoever loses the condition has changed nothing.
//! - Every later write is conditional on the record's revision before it: a
//!   worker that stalled cannot write after its successor.
//! - Records are stored as JSON text, so that they come back as they went in.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement,
    KeyType, Projection, ProjectionType, Put, ScalarAttributeType, TransactWriteItem, Update,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::error;

use crate::aws::error::{HubError, failed};
use crate::record::{FORMAT, Hold, Response, ResponseId, State};
use crate::settings::Settings;

/// The index of responses by the day on which they were recorded first.
const BY_DAY: &str = "by-day";
const RULE_PREFIX: &str = "rule#";
const HOLD_PREFIX: &str = "hold#";

/// The index of what is due, in shards: one partition takes a thousand writes a
/// second, and a storm contains many targets at once.
const BY_DUE: &str = "by-due";
const DUE_SHARDS: u8 = 4;

/// What is known of a target under one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its latest response.
    pub response: ResponseId,
    /// That response's epoch.
    pub epoch: u64,
    /// That response's state.
    pub state: State,
    /// Until when a worker may be at it.
    pub lease_until: Option<Timestamp>,
    /// The findings that it answers, each with the update that was seen last.
    pub findings: BTreeMap<String, Option<Timestamp>>,
    /// Whether Security Hub still has to be told.
    pub unsent: bool,
    /// Whether it was undone because its time was over, and not by anybody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
}

/// What is known of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetItem {
    /// Counts the claims and the ends; 0 for a target never seen.
    pub revision: u64,
    /// By rule, `<attach>/<rule>`.
    pub entries: BTreeMap<String, Entry>,
    /// By finding type.
    pub holds: BTreeMap<String, Hold>,
}

/// Whether a conditional write was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// It was.
    Yes,
    /// Somebody else wrote first; nothing was changed.
    Lost,
}

/// The table.
#[derive(Clone, Debug)]
pub struct Ledger {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

impl Ledger {
    /// The table of the settings, under the hub's credentials.
    pub fn new(config: &SdkConfig, settings: &Settings) -> Self {
        Self { client: aws_sdk_dynamodb::Client::new(config), table: settings.table.clone() }
    }

    /// What is known of a target: one consistent read.
    pub async fn target(&self, arn: &str) -> Result<TargetItem, HubError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(format!("target#{arn}")))
            .key("sk", text("target"))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failed("dynamodb:GetItem", &error))?;
        let mut target = TargetItem::default();
        for (name, value) in answer.item.unwrap_or_default() {
            if name == "revision" {
                target.revision = number(&value)
                    .ok_or_else(|| unreadable(arn, "its `revision` is not a number"))?;
            } else if let Some(rule) = name.strip_prefix(RULE_PREFIX) {
                let json = value.as_s().map_err(|_| unreadable(arn, "a rule is not text"))?;
                let entry = serde_json::from_str(json).map_err(|error| unreadable(arn, error))?;
                target.entries.insert(rule.to_owned(), entry);
            } else if let Some(finding_type) = name.strip_prefix(HOLD_PREFIX) {
                let json = value.as_s().map_err(|_| unreadable(arn, "a hold is not text"))?;
                let hold = serde_json::from_str(json).map_err(|error| unreadable(arn, error))?;
                target.holds.insert(finding_type.to_owned(), hold);
            }
        }
        Ok(target)
    }

    /// Claims a target for a new response: writes the response and its entry,
    /// if the target still is as it was read and the response is new.
    pub async fn claim(
        &self,
        seen: &TargetItem,
        response: &Response,
        entry: &Entry,
    ) -> Result<Written, HubError> {
        let arn = response.resource.arn();
        let update = self.entry_update(&arn, &response.rule, entry)?.condition_expression(
            if seen.revision == 0 { "attribute_not_exists(pk)" } else { "revision = :seen" },
        );
        let update = if seen.revision == 0 {
            update
        } else {
            update.expression_attribute_values(":seen", count(seen.revision))
        };
        let put = self.record_put(response)?.condition_expression("attribute_not_exists(pk)");
        self.transact(update, put).await
    }

    /// Writes a response's next revision, and nothing else.
    pub async fn record(&self, response: &Response) -> Result<Written, HubError> {
        let put = self.record_put(response)?;
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(put.build().map_err(unbuilt)?.item.into())
            .condition_expression("revision = :before")
            .expression_attribute_values(":before", count(response.revision.saturating_sub(1)))
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
            Err(error) => Err(failed("dynamodb:PutItem", &error)),
        }
    }

    /// Writes a response's next revision together with its target's entry.
    pub async fn record_with_entry(
        &self,
        response: &Response,
        entry: &Entry,
    ) -> Result<Written, HubError> {
        let arn = response.resource.arn();
        let update = self.entry_update(&arn, &response.rule, entry)?;
        let put = self
            .record_put(response)?
            .condition_expression("revision = :before")
            .expression_attribute_values(":before", count(response.revision.saturating_sub(1)));
        self.transact(update, put).await
    }

    /// Writes a target's entry alone, if the target is as it was read: for what
    /// is not part of a response's own life, such as one more finding.
    pub async fn note(
        &self,
        seen: &TargetItem,
        arn: &str,
        rule: &str,
        entry: &Entry,
    ) -> Result<Written, HubError> {
        let update = self.entry_update(arn, rule, entry)?.build().map_err(unbuilt)?;
        let answer = self
            .client
            .update_item()
            .table_name(update.table_name)
            .set_key(Some(update.key))
            .update_expression(update.update_expression)
            .set_expression_attribute_names(update.expression_attribute_names)
            .set_expression_attribute_values(update.expression_attribute_values)
            .expression_attribute_values(":seen", count(seen.revision))
            .condition_expression("revision = :seen")
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

    /// Places a hold on a target for findings of one type, or takes it off: with
    /// `None`. The target's revision counts it, so that a claim which did not
    /// see the hold is lost.
    pub async fn hold(
        &self,
        arn: &str,
        finding_type: &str,
        hold: Option<&Hold>,
    ) -> Result<(), HubError> {
        let call = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(format!("target#{arn}")))
            .key("sk", text("target"))
            .expression_attribute_names("#hold", format!("{HOLD_PREFIX}{finding_type}"))
            .expression_attribute_values(":one", count(1));
        let call = match hold {
            Some(hold) => {
                let json = serde_json::to_string(hold).map_err(|error| unreadable(arn, error))?;
                call.update_expression("SET #hold = :hold ADD revision :one")
                    .expression_attribute_values(":hold", text(json))
            }
            None => call.update_expression("REMOVE #hold ADD revision :one"),
        };
        call.send().await.map_err(|error| failed("dynamodb:UpdateItem", &error))?;
        Ok(())
    }

    /// The responses whose time was over at `now`, from an index that may lag
    /// by a moment: read each again before anything is done. An item that is no
    /// response keeps none of the others from ending.
    pub async fn due(&self, now: Timestamp) -> Result<Vec<ResponseId>, HubError> {
        let mut due = Vec::new();
        for shard in 0..DUE_SHARDS {
            let mut pages = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(BY_DUE)
                .key_condition_expression("due_shard = :shard AND due <= :now")
                .expression_attribute_values(":shard", text(shard.to_string()))
                .expression_attribute_values(":now", text(sortable(now)))
                .into_paginator()
                .items()
                .send();
            while let Some(item) = pages.next().await {
                let item = item.map_err(|error| failed("dynamodb:Query", &error))?;
                let pk = item.get("pk").and_then(|pk| pk.as_s().ok());
                let id = pk.and_then(|pk| pk.strip_prefix("response#"));
                let id = id.and_then(|id| id.parse().ok());
                if id.is_none() {
                    error!("the index {BY_DUE} has an item that is no response: {pk:?}");
                }
                due.extend(id);
            }
        }
        Ok(due)
    }

    /// One response, read consistently; `None` when there is none of this id.
    pub async fn response(&self, id: &ResponseId) -> Result<Option<Response>, HubError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(format!("response#{id}")))
            .key("sk", text("record"))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failed("dynamodb:GetItem", &error))?;
        answer.item.map(|item| read_response(&item)).transpose()
    }

    /// The responses recorded first from `since` until `until`, newest first,
    /// read from an index that may lag by a moment.
    pub async fn responses(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Response>, HubError> {
        let mut responses = Vec::new();
        let mut day = until;
        while day_of(day) >= day_of(since) {
            let mut pages = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(BY_DAY)
                .key_condition_expression("#day = :day")
                .expression_attribute_names("#day", "day")
                .expression_attribute_values(":day", text(day_of(day)))
                .scan_index_forward(false)
                .into_paginator()
                .items()
                .send();
            while let Some(item) = pages.next().await {
                let item = item.map_err(|error| failed("dynamodb:Query", &error))?;
                let response = read_response(&item)?;
                if response.created >= since && response.created <= until {
                    responses.push(response);
                }
            }
            day = day
                .checked_sub(SignedDuration::from_hours(24))
                .map_err(|error| HubError::Failed(format!("no day before {day}: {error}")))?;
        }
        Ok(responses)
    }

    fn entry_update(
        &self,
        arn: &str,
        rule: &str,
        entry: &Entry,
    ) -> Result<aws_sdk_dynamodb::types::builders::UpdateBuilder, HubError> {
        let json = serde_json::to_string(entry).map_err(|error| unreadable(arn, error))?;
        Ok(Update::builder()
            .table_name(&self.table)
            .key("pk", text(format!("target#{arn}")))
            .key("sk", text("target"))
            .update_expression("SET #rule = :entry ADD revision :one")
            .expression_attribute_names("#rule", format!("{RULE_PREFIX}{rule}"))
            .expression_attribute_values(":entry", text(json))
            .expression_attribute_values(":one", count(1)))
    }

    fn record_put(
        &self,
        response: &Response,
    ) -> Result<aws_sdk_dynamodb::types::builders::PutBuilder, HubError> {
        let json =
            serde_json::to_string(response).map_err(|error| unreadable(&response.id, error))?;
        let put = Put::builder()
            .table_name(&self.table)
            .item("pk", text(format!("response#{}", response.id)))
            .item("sk", text("record"))
            .item("revision", count(response.revision))
            .item("state", text(response.state.name()))
            .item("account", text(response.resource.account.to_string()))
            .item("day", text(day_of(response.created)))
            .item("created", text(response.created.to_string()))
            .item("body", text(json));
        Ok(match response.due {
            Some(due) => put
                .item("due_shard", text(shard(&response.id).to_string()))
                .item("due", text(sortable(due))),
            None => put,
        })
    }

    async fn transact(
        &self,
        update: aws_sdk_dynamodb::types::builders::UpdateBuilder,
        put: aws_sdk_dynamodb::types::builders::PutBuilder,
    ) -> Result<Written, HubError> {
        let answer = self
            .client
            .transact_write_items()
            .transact_items(
                TransactWriteItem::builder().update(update.build().map_err(unbuilt)?).build(),
            )
            .transact_items(TransactWriteItem::builder().put(put.build().map_err(unbuilt)?).build())
            .send()
            .await;
        let Err(error) = answer else { return Ok(Written::Yes) };
        let lost = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                let mut codes = cancelled.cancellation_reasons().iter().filter_map(|it| it.code());
                // A conflict with a transaction under way is lost as well: the
                // caller reads again and sees who won.
                codes.any(|code| matches!(code, "ConditionalCheckFailed" | "TransactionConflict"))
            }
            _ => false,
        };
        if lost { Ok(Written::Lost) } else { Err(failed("dynamodb:TransactWriteItems", &error)) }
    }

    /// Makes the table, for the demo, tests and emulators; an organization
    /// deploys it with CloudFormation.
    pub async fn create_table(&self) -> Result<(), HubError> {
        let attribute = |name: &str| {
            AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(ScalarAttributeType::S)
                .build()
                .map_err(unbuilt)
        };
        let key = |name: &str, kind: KeyType| {
            KeySchemaElement::builder().attribute_name(name).key_type(kind).build().map_err(unbuilt)
        };
        self.client
            .create_table()
            .table_name(&self.table)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute("pk")?)
            .attribute_definitions(attribute("sk")?)
            .attribute_definitions(attribute("day")?)
            .attribute_definitions(attribute("created")?)
            .attribute_definitions(attribute("due_shard")?)
            .attribute_definitions(attribute("due")?)
            .key_schema(key("pk", KeyType::Hash)?)
            .key_schema(key("sk", KeyType::Range)?)
            .global_secondary_indexes(
                GlobalSecondaryIndex::builder()
                    .index_name(BY_DAY)
                    .key_schema(key("day", KeyType::Hash)?)
                    .key_schema(key("created", KeyType::Range)?)
                    .projection(Projection::builder().projection_type(ProjectionType::All).build())
                    .build()
                    .map_err(unbuilt)?,
            )
            .global_secondary_indexes(
                GlobalSecondaryIndex::builder()
                    .index_name(BY_DUE)
                    .key_schema(key("due_shard", KeyType::Hash)?)
                    .key_schema(key("due", KeyType::Range)?)
                    .projection(
                        Projection::builder().projection_type(ProjectionType::KeysOnly).build(),
                    )
                    .build()
                    .map_err(unbuilt)?,
            )
            .send()
            .await
            .map_err(|error| failed("dynamodb:CreateTable", &error))?;
        Ok(())
    }
}

fn read_response(
    item: &std::collections::HashMap<String, AttributeValue>,
) -> Result<Response, HubError> {
    let name = item.get("pk").and_then(|pk| pk.as_s().ok()).map_or("a response", String::as_str);
    let json = item
        .get("body")
        .and_then(|body| body.as_s().ok())
        .ok_or_else(|| unreadable(name, "it has no `body`"))?;
    let response: Response = serde_json::from_str(json).map_err(|error| unreadable(name, error))?;
    if response.format > FORMAT {
        return Err(unreadable(
            name,
            format!("its format {} is newer than this version's {FORMAT}", response.format),
        ));
    }
    Ok(response)
}

/// The shard of the index of what is due: by the id, which is a digest.
fn shard(id: &ResponseId) -> u8 {
    id.as_str().bytes().last().unwrap_or_default() % DUE_SHARDS
}

/// A time whose order as text is its order: whole seconds, always as long.
fn sortable(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
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

fn number(value: &AttributeValue) -> Option<u64> {
    value.as_n().ok()?.parse().ok()
}

fn unreadable(what: impl std::fmt::Display, why: impl std::fmt::Display) -> HubError {
    HubError::Failed(format!("cannot read or write the record of `{what}`: {why}"))
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
fn unbuilt(error: aws_sdk_dynamodb::error::BuildError) -> HubError {
    HubError::Failed(format!("cannot build a request to DynamoDB: {error}"))
}
