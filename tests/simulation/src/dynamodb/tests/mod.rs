//! The calls as the SDK makes them, to a table with indexes.

mod reads;
mod writes;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::DynamoDb;
use crate::wire::HttpRequest;

const START: Timestamp = Timestamp::constant(1_767_225_600, 0);
const REGION: &str = "eu-central-1";

/// What a call answers, or the code of its error.
async fn call(dynamodb: &DynamoDb, operation: &str, input: Value) -> Result<Value, String> {
    let mut headers = http::HeaderMap::new();
    let scope = format!("AWS4-HMAC-SHA256 Credential=A/20260101/{REGION}/dynamodb/aws4_request");
    headers.insert("authorization", scope.parse().unwrap());
    headers.insert("x-amz-target", format!("DynamoDB_20120810.{operation}").parse().unwrap());
    let request = HttpRequest {
        method: "POST".to_owned(),
        host: format!("dynamodb.{REGION}.amazonaws.com"),
        path: "/".to_owned(),
        query: Vec::new(),
        headers,
        body: input.to_string().into_bytes(),
    };
    let answer = dynamodb.answer(&request, REGION, operation, START).await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    match answer.code {
        None => Ok(body),
        Some(code) if body.get("Item").is_some() => Err(format!("{code} {}", body["Item"])),
        Some(code) => Err(format!("{code} {}", body["CancellationReasons"])),
    }
}

/// A table of strings `pk` and numbers `n`, with an index of `day` and `at`.
async fn table() -> DynamoDb {
    let dynamodb = DynamoDb::default();
    let keys = |hash: &str, range: &str| {
        json!([
            { "AttributeName": hash, "KeyType": "HASH" },
            { "AttributeName": range, "KeyType": "RANGE" },
        ])
    };
    let definitions = [("pk", "S"), ("n", "N"), ("day", "S"), ("at", "S")]
        .map(|(name, kind)| json!({ "AttributeName": name, "AttributeType": kind }));
    let index = |name: &str, projection: &str| {
        let projection = json!({ "ProjectionType": projection });
        json!({ "IndexName": name, "KeySchema": keys("day", "at"), "Projection": projection })
    };
    let input = json!({
        "TableName": "t",
        "AttributeDefinitions": definitions,
        "KeySchema": keys("pk", "n"),
        "GlobalSecondaryIndexes": [index("by-day", "ALL"), index("by-keys", "KEYS_ONLY")],
        "BillingMode": "PAY_PER_REQUEST",
    });
    call(&dynamodb, "CreateTable", input).await.unwrap();
    dynamodb
}

fn item(pk: &str, n: &str, more: &[(&str, &str)]) -> Value {
    let mut item = json!({ "pk": { "S": pk }, "n": { "N": n } });
    for (name, value) in more {
        item[*name] = json!({ "S": value });
    }
    item
}

async fn put(dynamodb: &DynamoDb, pk: &str, n: &str, more: &[(&str, &str)]) {
    let input = json!({ "TableName": "t", "Item": item(pk, n, more) });
    call(dynamodb, "PutItem", input).await.unwrap();
}

fn of_partition(pk: &str) -> Value {
    json!({
        "TableName": "t",
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": { ":pk": { "S": pk } },
    })
}

fn of_day(index: &str, day: &str) -> Value {
    json!({
        "TableName": "t",
        "IndexName": index,
        "KeyConditionExpression": "#day = :day",
        "ExpressionAttributeNames": { "#day": "day" },
        "ExpressionAttributeValues": { ":day": { "S": day } },
    })
}

/// What items are told by: `pk/n`.
fn names(answer: &Value) -> Vec<String> {
    let items = answer["Items"].as_array().unwrap();
    let name = |item: &Value| {
        format!("{}/{}", item["pk"]["S"].as_str().unwrap(), item["n"]["N"].as_str().unwrap())
    };
    items.iter().map(name).collect()
}

/// All pages of a query or a scan.
async fn pages(dynamodb: &DynamoDb, operation: &str, mut input: Value) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    loop {
        let answer = call(dynamodb, operation, input.clone()).await.unwrap();
        assert_eq!(answer["Count"], answer["Items"].as_array().unwrap().len());
        pages.push(names(&answer));
        match answer.get("LastEvaluatedKey") {
            Some(key) => input["ExclusiveStartKey"] = key.clone(),
            None => return pages,
        }
    }
}
