//! What winterbaume leaves out of a transaction: that no item is in it twice, not
//! even to be checked, and a message that tells what came of every part. It checks
//! all conditions before it writes, and the storage writes all or nothing.

use std::collections::BTreeSet;

use serde::Deserialize as _;
use serde_json::Value;
use winterbaume_dynamodb::DynamoDbError;
use winterbaume_dynamodb::types::AttributeValue;

use super::storage::Storage;
use crate::wire::{HttpResponse, ServiceError};

/// What is asked of a transaction's part.
const PARTS: [&str; 4] = ["Put", "Update", "Delete", "ConditionCheck"];

/// Why a transaction is refused before its conditions are looked at, if it is.
pub(super) fn refusal(storage: &Storage, region: &str, body: &Value) -> Option<ServiceError> {
    let invalid = |message| Some(ServiceError::new(400, "ValidationException", message));
    let parts = body.get("TransactItems").and_then(Value::as_array);
    let mut targets = BTreeSet::new();
    for item in parts.into_iter().flatten() {
        let Some(part) = PARTS.iter().find_map(|name| item.get(*name)) else {
            return invalid("a part of the transaction is no action");
        };
        let table = part.get("TableName").and_then(Value::as_str).unwrap_or_default();
        let subject = part.get("Item").or(part.get("Key"));
        let key = storage
            .key(region, table, |name| AttributeValue::deserialize(subject?.get(name)?).ok());
        match key.map(|key| targets.insert((table, key))) {
            Ok(true) => {}
            Ok(false) => {
                return invalid(
                    "Transaction request cannot include multiple operations on one item",
                );
            }
            Err(error @ DynamoDbError::ResourceNotFound(_)) => {
                let code = "ResourceNotFoundException";
                return Some(ServiceError::new(400, code, error.to_string()));
            }
            Err(error) => {
                return Some(ServiceError::new(400, "ValidationException", error.to_string()));
            }
        }
    }
    None
}

/// An answer whose message names what came of each part, if it was cancelled.
pub(super) fn with_reasons(mut answer: HttpResponse) -> HttpResponse {
    if answer.code.as_deref() != Some("TransactionCanceledException") {
        return answer;
    }
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let reasons = body.get("CancellationReasons").and_then(Value::as_array);
    let codes: Vec<&str> =
        reasons.into_iter().flatten().filter_map(|reason| reason.get("Code")?.as_str()).collect();
    let message = format!(
        "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
        codes.join(", ")
    );
    if let Some(body) = body.as_object_mut() {
        body.remove("message");
        body.insert("Message".to_owned(), Value::String(message));
    }
    answer.body = body.to_string().into_bytes();
    answer
}
