//! The record of each response.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::Put;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use jiff::{SignedDuration, Timestamp};
use tracing::error;

use super::items::ItemKey;
use super::{
    BY_DAY, DueKind, Item, Store, count, day_of, due_attributes, read_json, text, unreadable,
};
use crate::error::{HubError, failed};
use firebreak_response::record::{FORMAT, Response, ResponseId};

impl Store {
    /// The responses that were due at `now`, at most `at_most`. The index may lag by a
    /// moment: read each response again before acting on it. An item that is not a
    /// response is skipped.
    pub async fn due(&self, now: Timestamp, at_most: usize) -> Result<Vec<ResponseId>, HubError> {
        let keys = self.due_keys(DueKind::Response, now, at_most).await?;
        let ids = keys.into_iter().filter_map(|(pk, _)| {
            let id = pk.strip_prefix("response#").and_then(|id| id.parse().ok());
            if id.is_none() {
                error!("the index of due items has an item that is not a response: {pk}");
            }
            id
        });
        Ok(ids.collect())
    }

    /// One response, read consistently; `None` if there is none of this id. Those that are
    /// asked for at the same moment share a call.
    pub async fn response(&self, id: &ResponseId) -> Result<Option<Response>, HubError> {
        self.responses.ask(id.clone(), |ids| self.read_responses(ids)).await?.transpose()
    }

    async fn read_responses(
        &self,
        ids: Vec<ResponseId>,
    ) -> Result<HashMap<ResponseId, Result<Response, HubError>>, HubError> {
        let items = self.read_items(ids.iter().map(key_of)).await?;
        let id = |item: &Item| {
            let pk = item.get("pk")?.as_s().ok()?;
            pk.strip_prefix("response#")?.parse().ok()
        };
        Ok(items.iter().filter_map(|item| Some((id(item)?, read_response(item)))).collect())
    }

    /// The responses first recorded from `since` until `until`, newest first, read from
    /// an index that may lag by a moment.
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
                .map_err(|error| HubError::failed(format!("no day before {day}: {error}")))?;
        }
        Ok(responses)
    }

    /// Writes the next revision, on condition that the one before is stored.
    pub(super) fn record_next(&self, response: &Response) -> Result<PutBuilder, HubError> {
        Ok(self
            .record_put(response)?
            .condition_expression("revision = :before")
            .expression_attribute_values(":before", count(response.revision.saturating_sub(1))))
    }

    pub(super) fn record_put(&self, response: &Response) -> Result<PutBuilder, HubError> {
        let json =
            serde_json::to_string(response).map_err(|error| unreadable(&response.id, error))?;
        let mut put = Put::builder()
            .table_name(&self.table)
            .item("pk", text(format!("response#{}", response.id)))
            .item("sk", text("record"))
            .item("revision", count(response.revision))
            .item("state", text(response.state.name()))
            .item("account", text(response.resource.account.to_string()))
            .item("day", text(day_of(response.created)))
            .item("created", text(response.created.to_string()))
            .item("body", text(json));
        if let Some(due) = response.due {
            for (name, value) in due_attributes(DueKind::Response, response.id.as_str(), due) {
                put = put.item(name, value);
            }
        }
        Ok(put)
    }
}

/// The key of a response's record.
pub(super) fn key_of(id: &ResponseId) -> ItemKey {
    (format!("response#{id}"), "record".to_owned())
}

fn read_response(item: &Item) -> Result<Response, HubError> {
    let name = item.get("pk").and_then(|pk| pk.as_s().ok()).map_or("a response", String::as_str);
    let response: Response = read_json(item, "body", name)?;
    if response.format > FORMAT {
        return Err(unreadable(
            name,
            format!("its format {} is newer than this version's {FORMAT}", response.format),
        ));
    }
    Ok(response)
}
