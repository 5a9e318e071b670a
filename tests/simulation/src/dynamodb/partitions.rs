//! A table's partitions, each a table of winterbaume's.
//!
//! winterbaume copies all that a table holds at every call, and it looks at a
//! transaction's conditions before it takes the lock under which it writes. So
//! each hash key has a small table of its own (some share one, by a digest), as
//! DynamoDB has partitions, and a transaction is made here: first all of its
//! conditions are checked, then all of it is written, under the one lock that
//! the caller holds.
//!
//! What DynamoDB does and this does not: pages end at a `Limit` only, not at
//! 1 MB, and a filter is applied before the limit.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use http::HeaderValue;
use serde_json::{Map, Value, json};
use winterbaume_core::{MockRequest, MockService};
use winterbaume_dynamodb::DynamoDbService;

use crate::wire::{self, HttpRequest, HttpResponse, Protocol, ServiceError};

/// How many partitions there are at most.
const PARTITIONS: u64 = 4_096;

/// The partitions of one account's tables.
#[derive(Default)]
pub struct Partitions {
    /// Those that hold something, by number; 0 has every table's description.
    services: BTreeMap<u64, DynamoDbService>,
    /// The requests that made the tables, for each new partition.
    created: Vec<HttpRequest>,
    tables: BTreeMap<String, Keys>,
}

/// A table's or an index's keys.
#[derive(Clone, Debug, Default)]
struct Keys {
    hash: String,
    range: Option<String>,
    indexes: BTreeMap<String, (String, Option<String>)>,
}

/// What is asked of a transaction's part.
const PARTS: [&str; 4] = ["Put", "Update", "Delete", "ConditionCheck"];

impl Partitions {
    /// Answers a request whose body is `body`.
    pub async fn answer(
        &mut self,
        request: &HttpRequest,
        operation: &str,
        body: &Value,
    ) -> HttpResponse {
        match operation {
            "CreateTable" => {
                let answer = self.ask(0, request, body).await;
                if answer.status == 200 {
                    for service in self.services.iter().filter(|(at, _)| **at != 0) {
                        service.1.handle(mock(request, request.body.clone())).await;
                    }
                    self.created.push(request.clone());
                    self.tables.insert(text(body, "TableName"), Keys::of(body));
                }
                answer
            }
            "PutItem" => self.ask(self.partition(body, body.get("Item")), request, body).await,
            "GetItem" | "UpdateItem" | "DeleteItem" => {
                self.ask(self.partition(body, body.get("Key")), request, body).await
            }
            "Query" | "Scan" => self.select(request, body).await,
            "TransactWriteItems" => self.transact(request, body).await,
            "BatchGetItem" => self.get_each(request, body).await,
            "BatchWriteItem" | "TransactGetItems" => {
                let message = format!("the simulation does not model dynamodb:{operation}");
                wire::error(Protocol::Json, &ServiceError::new(501, "NotModelled", message))
            }
            _ => self.ask(0, request, body).await,
        }
    }

    /// Every item of a table.
    pub(crate) async fn items(&mut self, table: &str) -> Vec<Value> {
        let named = |request: &&HttpRequest| {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            text(&body, "TableName") == table
        };
        let Some(mut request) = self.created.iter().find(named).cloned() else { return Vec::new() };
        let target = HeaderValue::from_static("DynamoDB_20120810.Scan");
        request.headers.insert("x-amz-target", target);
        let answer = self.select(&request, &json!({ "TableName": table })).await;
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        told.get("Items").and_then(Value::as_array).cloned().unwrap_or_default()
    }

    /// The partition of an item or of a key.
    fn partition(&self, body: &Value, item: Option<&Value>) -> u64 {
        let keys = self.tables.get(&text(body, "TableName"));
        let value = keys.and_then(|keys| item?.get(&keys.hash));
        value.map_or(0, partition_of)
    }

    /// Lets one partition answer.
    async fn ask(&mut self, partition: u64, request: &HttpRequest, body: &Value) -> HttpResponse {
        if !self.services.contains_key(&partition) {
            let service = DynamoDbService::default();
            for created in &self.created {
                service.handle(mock(created, created.body.clone())).await;
            }
            self.services.insert(partition, service);
        }
        let Some(service) = self.services.get(&partition) else {
            let error = ServiceError::new(500, "InternalServerError", "there is no such partition");
            return wire::error(Protocol::Json, &error);
        };
        let answer = service.handle(mock(request, body.to_string().into_bytes())).await;
        let body = answer.body.to_vec();
        let code = (answer.status >= 400).then(|| {
            let error: Value = serde_json::from_slice(&body).unwrap_or_default();
            let name = error.get("__type").and_then(Value::as_str).unwrap_or("unknown");
            name.rsplit('#').next().unwrap_or(name).to_owned()
        });
        HttpResponse { status: answer.status, headers: answer.headers, body, code }
    }

    /// "Up to 100 items" of any partition (API reference, BatchGetItem).
    async fn get_each(&mut self, request: &HttpRequest, body: &Value) -> HttpResponse {
        let mut responses = Map::new();
        let tables = body.get("RequestItems").and_then(Value::as_object).into_iter().flatten();
        let mut asked = 0;
        let mut one = request.clone();
        let target = HeaderValue::from_static("DynamoDB_20120810.GetItem");
        one.headers.insert("x-amz-target", target);
        for (table, wanted) in tables {
            let mut items = Vec::new();
            for key in wanted.get("Keys").and_then(Value::as_array).into_iter().flatten() {
                asked += 1;
                let mut get = wanted.clone();
                if let Some(get) = get.as_object_mut() {
                    get.remove("Keys");
                }
                set(&mut get, "TableName", json!(table));
                set(&mut get, "Key", key.clone());
                let partition = self.partition(&get, Some(key));
                let answer = self.ask(partition, &one, &get).await;
                if answer.status != 200 {
                    return answer;
                }
                let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                items.extend(told.get("Item").cloned());
            }
            responses.insert(table.clone(), Value::Array(items));
        }
        if asked > 100 {
            let message = "Too many items requested for the BatchGetItem call";
            let error = ServiceError::new(400, "ValidationException", message);
            return wire::error(Protocol::Json, &error);
        }
        wire::json(&json!({ "Responses": responses, "UnprocessedKeys": {} }))
    }

    /// All conditions first, then all writes.
    async fn transact(&mut self, request: &HttpRequest, body: &Value) -> HttpResponse {
        let empty = Vec::new();
        let items = body.get("TransactItems").and_then(Value::as_array).unwrap_or(&empty);
        if items.len() > 100 {
            return self.ask(0, request, body).await;
        }
        let mut parts: Vec<(u64, &str, &Value)> = Vec::new();
        let mut targets = BTreeSet::new();
        for item in items {
            let part = PARTS.iter().find_map(|name| Some((*name, item.get(*name)?)));
            let Some((name, part)) = part else { return self.ask(0, request, body).await };
            let subject = part.get("Item").or(part.get("Key"));
            if !targets.insert(self.identity(part, subject)) {
                let message = "Transaction request cannot include multiple operations on one item";
                let error = ServiceError::new(400, "ValidationException", message);
                return wire::error(Protocol::Json, &error);
            }
            parts.push((self.partition(part, subject), name, part));
        }
        let mut reasons = Vec::new();
        for (partition, _, part) in &parts {
            let Some(check) = condition_of(part) else {
                reasons.push(json!({ "Code": "None" }));
                continue;
            };
            let check = json!({ "TransactItems": [{ "ConditionCheck": check }] });
            let answer = self.ask(*partition, request, &check).await;
            let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            match (answer.status, told.pointer("/CancellationReasons/0")) {
                (200, _) => reasons.push(json!({ "Code": "None" })),
                (_, Some(reason)) => reasons.push(reason.clone()),
                (_, None) => return answer,
            }
        }
        let failed = |reason: &Value| reason.get("Code") != Some(&json!("None"));
        if reasons.iter().any(failed) {
            return cancelled(&reasons);
        }
        for (partition, name, part) in parts {
            if name == "ConditionCheck" {
                continue;
            }
            let mut part = part.clone();
            if let Some(part) = part.as_object_mut() {
                part.remove("ConditionExpression");
            }
            let write = json!({ "TransactItems": [{ name: part }] });
            let answer = self.ask(partition, request, &write).await;
            if answer.status != 200 {
                return answer;
            }
        }
        wire::json(&json!({}))
    }

    fn identity(&self, part: &Value, subject: Option<&Value>) -> String {
        let table = text(part, "TableName");
        let keys = self.tables.get(&table).cloned().unwrap_or_default();
        let of = |name: &str| subject.and_then(|it| it.get(name)).map(Value::to_string);
        let range = keys.range.as_deref().and_then(of);
        json!([table, of(&keys.hash), range]).to_string()
    }

    /// A query or a scan: of one partition where the hash key says which, of
    /// all otherwise, put in order.
    async fn select(&mut self, request: &HttpRequest, body: &Value) -> HttpResponse {
        let Some(keys) = self.tables.get(&text(body, "TableName")).cloned() else {
            return self.ask(0, request, body).await;
        };
        let index = body.get("IndexName").and_then(Value::as_str);
        if index.is_none()
            && let Some(value) = hash_value(body, &keys.hash)
        {
            return self.ask(partition_of(&value), request, body).await;
        }
        let mut each = body.clone();
        if let Some(each) = each.as_object_mut() {
            each.remove("Limit");
            each.remove("ExclusiveStartKey");
        }
        let mut items: Vec<Map<String, Value>> = Vec::new();
        let partitions: Vec<u64> = self.services.keys().copied().collect();
        let mut counted = 0;
        for partition in partitions {
            let answer = self.ask(partition, request, &each).await;
            if answer.status != 200 {
                return answer;
            }
            let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            counted += told.get("Count").and_then(Value::as_u64).unwrap_or_default();
            let list = told.get("Items").and_then(Value::as_array);
            items.extend(list.into_iter().flatten().filter_map(|it| it.as_object().cloned()));
        }
        if body.get("Select").and_then(Value::as_str) == Some("COUNT") {
            return wire::json(&json!({ "Count": counted, "ScannedCount": counted }));
        }
        let by = index.and_then(|index| keys.indexes.get(index));
        let mut order: Vec<&str> = Vec::new();
        order.extend(by.and_then(|(_, range)| range.as_deref()));
        order.push(&keys.hash);
        order.extend(keys.range.as_deref());
        let place = |item: &Map<String, Value>| -> Vec<Place> {
            order.iter().map(|name| Place::of(item.get(*name))).collect()
        };
        items.sort_by_cached_key(place);
        let backwards = body.get("ScanIndexForward") == Some(&json!(false));
        if backwards {
            items.reverse();
        }
        if let Some(start) = body.get("ExclusiveStartKey").and_then(Value::as_object) {
            let start = place(start);
            items.retain(|item| if backwards { place(item) < start } else { place(item) > start });
        }
        let limit = body.get("Limit").and_then(Value::as_u64);
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let mut answer = json!({ "Count": items.len(), "ScannedCount": items.len() });
        if let Some(last) = items.last().filter(|_| more) {
            order.extend(by.map(|(hash, _)| hash.as_str()));
            let key: Map<String, Value> = order
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), last.get(*name)?.clone())))
                .collect();
            set(&mut answer, "LastEvaluatedKey", Value::Object(key));
        }
        set(&mut answer, "Items", Value::Array(items.into_iter().map(Value::Object).collect()));
        wire::json(&answer)
    }
}

/// How DynamoDB sorts: numbers by value, all else as it is written.
#[derive(Clone, Debug)]
enum Place {
    Absent,
    Number(f64),
    Text(String),
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.total_cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Place {}

impl Place {
    fn rank(&self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Number(_) => 1,
            Self::Text(_) => 2,
        }
    }

    fn of(value: Option<&Value>) -> Self {
        let Some(value) = value else { return Self::Absent };
        let number = value.get("N").and_then(Value::as_str).and_then(|it| it.parse().ok());
        match (number, value.get("S").and_then(Value::as_str)) {
            (Some(number), _) => Self::Number(number),
            (None, Some(text)) => Self::Text(text.to_owned()),
            (None, None) => Self::Text(value.to_string()),
        }
    }
}

impl Keys {
    fn of(body: &Value) -> Self {
        let (hash, range) = schema(body);
        let indexes = ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"]
            .iter()
            .filter_map(|kind| body.get(*kind)?.as_array())
            .flatten()
            .map(|index| (text(index, "IndexName"), schema(index)))
            .collect();
        Self { hash, range, indexes }
    }
}

fn schema(body: &Value) -> (String, Option<String>) {
    let of = |kind: &str| {
        let keys = body.get("KeySchema")?.as_array()?;
        let key = keys.iter().find(|key| key.get("KeyType") == Some(&json!(kind)))?;
        Some(text(key, "AttributeName"))
    };
    (of("HASH").unwrap_or_default(), of("RANGE"))
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn partition_of(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish() % PARTITIONS
}

/// The value that a query asks of the hash key: `pk = :pk` or `#pk = :pk`.
fn hash_value(body: &Value, hash: &str) -> Option<Value> {
    let expression = body.get("KeyConditionExpression")?.as_str()?;
    let clauses = expression.split(" AND ").flat_map(|clause| clause.split(" and "));
    for clause in clauses {
        let Some((name, value)) = clause.split_once('=') else { continue };
        let (name, value) = (name.trim().trim_matches('('), value.trim().trim_matches(')'));
        let named = body.get("ExpressionAttributeNames").and_then(|names| names.get(name));
        let name = named.and_then(Value::as_str).unwrap_or(name);
        if name == hash {
            return body.get("ExpressionAttributeValues")?.get(value).cloned();
        }
    }
    None
}

/// A part's condition as a check of its own.
fn condition_of(part: &Value) -> Option<Value> {
    let condition = part.get("ConditionExpression")?;
    let mut check = json!({
        "TableName": part.get("TableName"),
        "Key": part.get("Key").or(part.get("Item")),
        "ConditionExpression": condition,
    });
    for name in ["ExpressionAttributeNames", "ExpressionAttributeValues"] {
        if let Some(value) = part.get(name) {
            set(&mut check, name, value.clone());
        }
    }
    Some(check)
}

fn cancelled(reasons: &[Value]) -> HttpResponse {
    let code = "TransactionCanceledException";
    let codes: Vec<&str> =
        reasons.iter().filter_map(|reason| reason.get("Code")?.as_str()).collect();
    let message = format!(
        "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
        codes.join(", ")
    );
    let mut answer = wire::error(Protocol::Json, &ServiceError::new(400, code, &*message));
    answer.body = json!({
        "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"),
        "Message": message,
        "CancellationReasons": reasons,
    })
    .to_string()
    .into_bytes();
    answer
}

fn mock(request: &HttpRequest, body: Vec<u8>) -> MockRequest {
    MockRequest {
        method: request.method.clone(),
        uri: format!("https://{}{}", request.host, request.path),
        headers: request.headers.clone(),
        body: body.into(),
    }
}
