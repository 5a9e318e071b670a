//! DynamoDB, for the account that owns a table: winterbaume's model, with what
//! it lacks in front: idempotency of transactions by their client token, the
//! limit of an item's size, and what BatchGetItem refuses. It does not return
//! the item on a failed condition, so a request for it is refused; reserved
//! words are not checked.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use winterbaume_core::{MockRequest, MockService};
use winterbaume_dynamodb::DynamoDbService;

use crate::wire::{self, HttpRequest, HttpResponse, Protocol, ServiceError};

/// When a transaction was answered, its request's body, and the answer.
type Answered = (Timestamp, Vec<u8>, HttpResponse);

/// One account's tables in every Region.
#[derive(Default)]
pub struct DynamoDb {
    service: DynamoDbService,
    /// Answers to transactions by token, with the request's body.
    tokens: Mutex<HashMap<String, Answered>>,
}

impl std::fmt::Debug for DynamoDb {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DynamoDb").finish_non_exhaustive()
    }
}

/// "The maximum item size in DynamoDB is 400 KB" (developer guide, "Quotas").
const ITEM_BYTES: usize = 400 * 1_024;

impl DynamoDb {
    /// Answers a request.
    pub async fn answer(&self, request: &HttpRequest, now: Timestamp) -> HttpResponse {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if let Some(error) = too_large(&body).or_else(|| unsound_keys(&body)) {
            return wire::error(Protocol::Json, &error);
        }
        if String::from_utf8_lossy(&request.body).contains("ReturnValuesOnConditionCheckFailure") {
            let message = "the simulation does not model ReturnValuesOnConditionCheckFailure";
            let error = ServiceError::new(501, "NotModelled", message);
            return wire::error(Protocol::Json, &error);
        }
        let token = body.get("ClientRequestToken").and_then(Value::as_str).map(str::to_owned);
        if let Some(token) = &token {
            let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, seen, answer)) = tokens.get(token)
                && now.duration_since(*at) < SignedDuration::from_mins(10)
            {
                if *seen == request.body {
                    return answer.clone();
                }
                let code = "IdempotentParameterMismatchException";
                let message = "The request uses the same client token as a previous, but non-identical request";
                return wire::error(Protocol::Json, &ServiceError::new(400, code, message));
            }
        }
        let answer = self.ask(request).await;
        if let (Some(token), 200) = (token, answer.status) {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.insert(token, (now, request.body.clone(), answer.clone()));
        }
        answer
    }

    async fn ask(&self, request: &HttpRequest) -> HttpResponse {
        let mock = MockRequest {
            method: request.method.clone(),
            uri: format!("https://{}{}", request.host, request.path),
            headers: request.headers.clone(),
            body: request.body.clone().into(),
        };
        let answer = self.service.handle(mock).await;
        let body = answer.body.to_vec();
        let code = (answer.status >= 400).then(|| {
            let error: Value = serde_json::from_slice(&body).unwrap_or_default();
            let name = error.get("__type").and_then(Value::as_str).unwrap_or("unknown");
            name.rsplit('#').next().unwrap_or(name).to_owned()
        });
        HttpResponse { status: answer.status, headers: answer.headers, body, code }
    }
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
        let mut seen = HashSet::new();
        if !keys.iter().all(|key| seen.insert(key.to_string())) {
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
