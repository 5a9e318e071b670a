//! DynamoDB, for the account that owns a table. winterbaume takes requests apart
//! and evaluates expressions; the items are kept here (see `storage`), and so is
//! what it lacks: idempotency of transactions by their client token, the limit of
//! an item's size, keys that are sound, and pages.
//!
//! With a failed condition the item is returned for UpdateItem alone; a request for it with
//! other calls is refused, and so is what else is not modelled; reserved words are not
//! checked.

mod place;
mod select;
mod size;
mod storage;
mod table;
#[cfg(test)]
mod tests;
mod transactions;
mod unmodelled;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use winterbaume_core::{MockRequest, MockService};
use winterbaume_dynamodb::{DynamoDbService, Item};

use self::storage::Storage;
use crate::wire::{self, HttpRequest, HttpResponse, Protocol, ServiceError};

/// One account's tables in every Region.
pub struct DynamoDb {
    storage: Arc<Storage>,
    /// One call at a time: a condition and the write that rests on it are one.
    service: tokio::sync::Mutex<DynamoDbService>,
    /// When a transaction was made, and a digest of its request, by token.
    tokens: Mutex<HashMap<String, (Timestamp, u64)>>,
}

impl Default for DynamoDb {
    fn default() -> Self {
        let storage = Arc::<Storage>::default();
        let service = DynamoDbService::with_backend(storage.clone());
        Self { storage, service: tokio::sync::Mutex::new(service), tokens: Mutex::default() }
    }
}

impl std::fmt::Debug for DynamoDb {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DynamoDb").finish_non_exhaustive()
    }
}

/// "A client request token is valid for 10 minutes" (API reference,
/// TransactWriteItems).
const TOKEN_VALID: SignedDuration = SignedDuration::from_mins(10);

impl DynamoDb {
    /// Answers a request in a Region.
    pub async fn answer(
        &self,
        request: &HttpRequest,
        region: &str,
        operation: &str,
        now: Timestamp,
    ) -> HttpResponse {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let refusal = unmodelled::refusal(operation, &body, &request.body);
        if let Some(error) = refusal.or_else(|| too_many(&body)) {
            return wire::error(Protocol::Json, &error);
        }
        let service = self.service.lock().await;
        if operation != "TransactWriteItems" {
            let mut answer = ask(&service, request).await;
            if answer.code.as_deref() == Some("ConditionalCheckFailedException")
                && body.get(ON_FAILURE).and_then(Value::as_str) == Some("ALL_OLD")
                && let Some(item) = self.storage.item(region, &body)
            {
                add_item(&mut answer, &item);
            }
            let counted = body.get("Select").and_then(Value::as_str) == Some("COUNT");
            return if counted { without_items(answer) } else { answer };
        }
        let token = body.get("ClientRequestToken").and_then(Value::as_str).map(str::to_owned);
        let digest = digest(&request.body);
        if let Some(token) = &token
            && let Some(seen) = self.seen(token, now)
        {
            if seen == digest {
                // All that a transaction answers when it succeeds.
                return wire::json(&json!({}));
            }
            let code = "IdempotentParameterMismatchException";
            let message =
                "The request uses the same client token as a previous, but non-identical request";
            return wire::error(Protocol::Json, &ServiceError::new(400, code, message));
        }
        if let Some(error) = transactions::refusal(&self.storage, region, &body) {
            return wire::error(Protocol::Json, &error);
        }
        let answer = transactions::with_reasons(ask(&service, request).await);
        if let (Some(token), 200) = (token, answer.status) {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.insert(token, (now, digest));
        }
        answer
    }

    /// Every item of a table.
    pub(crate) async fn items(&self, table: &str) -> Vec<Value> {
        let _between_calls = self.service.lock().await;
        let items = self.storage.items(table);
        items.iter().map(|item| json!(item)).collect()
    }

    /// The digest of the request that was made with a token which is still valid.
    fn seen(&self, token: &str, now: Timestamp) -> Option<u64> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        // What is over is dropped now and then: there is one for each transaction.
        if tokens.len() > 10_000 && tokens.len().is_power_of_two() {
            tokens.retain(|_, (at, _)| now.duration_since(*at) < TOKEN_VALID);
        }
        let (at, digest) = tokens.get(token)?;
        (now.duration_since(*at) < TOKEN_VALID).then_some(*digest)
    }
}

/// Lets winterbaume answer.
async fn ask(service: &DynamoDbService, request: &HttpRequest) -> HttpResponse {
    let asked = MockRequest {
        method: request.method.clone(),
        uri: format!("https://{}{}", request.host, request.path),
        headers: request.headers.clone(),
        body: request.body.clone().into(),
    };
    let answer = service.handle(asked).await;
    let code = (answer.status >= 400).then(|| {
        let error: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let name = error.get("__type").and_then(Value::as_str).unwrap_or("unknown");
        name.rsplit('#').next().unwrap_or(name).to_owned()
    });
    let body = answer.body.into();
    HttpResponse { status: answer.status, headers: answer.headers, body, code }
}

/// Asks for the item with the error of a failed condition (API reference, UpdateItem).
const ON_FAILURE: &str = "ReturnValuesOnConditionCheckFailure";

/// Adds the item to the error of a failed condition.
fn add_item(answer: &mut HttpResponse, item: &Item) {
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if let Some(body) = body.as_object_mut() {
        body.insert("Item".to_owned(), json!(item));
    }
    answer.body = body.to_string().into_bytes();
}

/// What a query answers that only counts.
fn without_items(mut answer: HttpResponse) -> HttpResponse {
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if let Some(body) = body.as_object_mut() {
        body.remove("Items");
    }
    answer.body = body.to_string().into_bytes();
    answer
}

fn digest(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

/// "Up to 100 items" of all tables (API reference, BatchGetItem).
fn too_many(body: &Value) -> Option<ServiceError> {
    let tables = body.get("RequestItems").and_then(Value::as_object).into_iter().flatten();
    let asked: usize = tables.filter_map(|(_, it)| Some(it.get("Keys")?.as_array()?.len())).sum();
    (asked > 100).then(|| {
        let message = "Too many items requested for the BatchGetItem call";
        ServiceError::new(400, "ValidationException", message)
    })
}
