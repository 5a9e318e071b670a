//! DynamoDB, for the account that owns a table: winterbaume's model, with what
//! it lacks in front: idempotency of transactions by their client token, the
//! limit of an item's size, and partitions (see [`partitions`]). It does not
//! return the item on a failed condition, so a request for it is refused;
//! reserved words are not checked.

pub mod partitions;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use self::partitions::Partitions;
use crate::wire::{self, HttpRequest, HttpResponse, Protocol, ServiceError};

/// One account's tables in every Region.
#[derive(Default)]
pub struct DynamoDb {
    /// One call at a time: a condition and the write that rests on it are one.
    partitions: tokio::sync::Mutex<Partitions>,
    /// When a transaction was made, and a digest of its request, by token.
    tokens: Mutex<HashMap<String, (Timestamp, u64)>>,
}

impl std::fmt::Debug for DynamoDb {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DynamoDb").finish_non_exhaustive()
    }
}

/// "The maximum item size in DynamoDB is 400 KB" (developer guide, "Quotas").
const ITEM_BYTES: usize = 400 * 1_024;

/// "A client request token is valid for 10 minutes" (API reference,
/// TransactWriteItems).
const TOKEN_VALID: SignedDuration = SignedDuration::from_mins(10);

impl DynamoDb {
    /// Answers a request.
    pub async fn answer(
        &self,
        request: &HttpRequest,
        operation: &str,
        now: Timestamp,
    ) -> HttpResponse {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if let Some(error) = too_large(&body).or_else(|| unsound_keys(&body)) {
            return wire::error(Protocol::Json, &error);
        }
        if request.text().contains("ReturnValuesOnConditionCheckFailure") {
            let message = "the simulation does not model ReturnValuesOnConditionCheckFailure";
            let error = ServiceError::new(501, "NotModelled", message);
            return wire::error(Protocol::Json, &error);
        }
        let mut partitions = self.partitions.lock().await;
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
        let answer = partitions.answer(request, operation, &body).await;
        if let (Some(token), 200) = (token, answer.status) {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.insert(token, (now, digest));
        }
        answer
    }

    /// Every item of a table.
    pub(crate) async fn items(&self, table: &str) -> Vec<Value> {
        self.partitions.lock().await.items(table).await
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

fn digest(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

fn too_large(body: &Value) -> Option<ServiceError> {
    let transacted = body.get("TransactItems").and_then(Value::as_array).into_iter().flatten();
    let items = transacted
        .filter_map(|item| item.pointer("/Put/Item"))
        .chain(body.get("Item"))
        .any(|item| item.to_string().len() > ITEM_BYTES);
    items.then(|| {
        let message = "Item size has exceeded the maximum allowed size";
        ServiceError::new(400, "ValidationException", message)
    })
}

/// The keys of a BatchGetItem: none twice, and none empty (DynamoDB API
/// reference, BatchGetItem; developer guide, "Primary key").
fn unsound_keys(body: &Value) -> Option<ServiceError> {
    let invalid = |message| Some(ServiceError::new(400, "ValidationException", message));
    let tables = body.get("RequestItems").and_then(Value::as_object).into_iter().flatten();
    for keys in tables.filter_map(|(_, asked)| asked.get("Keys")?.as_array()) {
        // By value: the order of a key's parts is the caller's.
        let mut each = keys.iter().enumerate();
        if each.any(|(index, key)| keys.iter().take(index).any(|it| it == key)) {
            return invalid("Provided list of item keys contains duplicates");
        }
        let parts = keys.iter().filter_map(Value::as_object).flat_map(|key| key.values());
        if parts.into_iter().any(|part| part.get("S").is_some_and(|text| text == "")) {
            return invalid(
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value.",
            );
        }
    }
    None
}
