use jiff::Timestamp;
use serde_json::{Value, json};

use super::DynamoDb;
use super::place::Number;
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

#[test]
fn numbers_are_ordered_and_told_apart_by_value() {
    let sorted =
        ["-1e3", "-12", "-1.5", "-0.5", "0", "0.05", "0.5", "1", "1.5", "12", "120", "1e3"];
    let mut shuffled = sorted;
    shuffled.reverse();
    shuffled.sort_by_key(|text| Number::of(text).unwrap());
    assert_eq!(shuffled, sorted);
    for same in [["1", "1.0"], ["-0", "0.00"], ["1e3", "01000"], ["0.5", ".5"], ["12", "1.2E+1"]] {
        assert_eq!(Number::of(same[0]), Number::of(same[1]), "{same:?}");
    }
    // An f64 does not tell these two apart.
    assert!(Number::of("9007199254740993") > Number::of("9007199254740992"));
    let nines = "9".repeat(39);
    for none in ["", "-", "a", "1e", "1.2.3", "--1", "0x1", "NaN", nines.as_str()] {
        assert_eq!(Number::of(none), None, "{none}");
    }
}

#[tokio::test]
async fn range_keys_are_numbers_by_value_and_texts_by_their_bytes() {
    let dynamodb = table().await;
    for n in ["10", "9", "-1", "0.5", "100", "9.0"] {
        put(&dynamodb, "a", n, &[]).await;
    }
    let answer = call(&dynamodb, "Query", of_partition("a")).await.unwrap();
    assert_eq!(names(&answer), ["a/-1", "a/0.5", "a/9.0", "a/10", "a/100"]);
    for (n, at) in [("1", "é"), ("2", "a"), ("3", "Z"), ("4", "z"), ("5", "𝄞"), ("6", "\u{ffff}")]
    {
        put(&dynamodb, "b", n, &[("day", "1"), ("at", at)]).await;
    }
    let answer = call(&dynamodb, "Query", of_day("by-day", "1")).await.unwrap();
    assert_eq!(names(&answer), ["b/3", "b/2", "b/4", "b/1", "b/6", "b/5"]);
}

#[tokio::test]
async fn pages_of_table_and_index_follow_one_another_in_both_directions() {
    let dynamodb = table().await;
    // Three items of each partition share a place in the index, but for their own keys.
    for n in 0..6 {
        for pk in ["a", "b"] {
            let at = format!("{}", n / 3);
            put(&dynamodb, pk, &n.to_string(), &[("day", "1"), ("at", &at)]).await;
        }
    }
    put(&dynamodb, "c", "1", &[("day", "0"), ("at", "9")]).await;
    put(&dynamodb, "c", "2", &[("day", "11"), ("at", "0")]).await;
    let of_a: Vec<String> = (0..6).map(|n| format!("a/{n}")).collect();
    let indexed: Vec<String> = ["a/0", "a/1", "a/2", "b/0", "b/1", "b/2"]
        .into_iter()
        .chain(["a/3", "a/4", "a/5", "b/3", "b/4", "b/5"])
        .map(str::to_owned)
        .collect();
    for (query, expected) in [
        (of_partition("a"), &of_a),
        (of_day("by-day", "1"), &indexed),
        (of_day("by-keys", "1"), &indexed),
    ] {
        for limit in 1..=13 {
            for forwards in [true, false] {
                let mut query = query.clone();
                query["Limit"] = json!(limit);
                query["ScanIndexForward"] = json!(forwards);
                let found = pages(&dynamodb, "Query", query).await;
                assert!(found.iter().all(|page| page.len() <= limit));
                assert_eq!(found.len(), expected.len().div_ceil(limit));
                let mut found = found.concat();
                if !forwards {
                    found.reverse();
                }
                assert_eq!(&found, expected, "{limit} {forwards}");
            }
        }
    }
    let all = pages(&dynamodb, "Scan", json!({ "TableName": "t", "Limit": 4 })).await;
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 4, 2]);
    let mut distinct = all.concat();
    distinct.dedup();
    assert_eq!(distinct.len(), 14);
    // What a page goes on from has the keys of the index and of the table.
    let mut query = of_day("by-day", "1");
    query["Limit"] = json!(1);
    let answer = call(&dynamodb, "Query", query.clone()).await.unwrap();
    assert_eq!(answer["LastEvaluatedKey"], item("a", "0", &[("day", "1"), ("at", "0")]));
    query["ExclusiveStartKey"] = item("a", "0", &[]);
    let error = call(&dynamodb, "Query", query).await.unwrap_err();
    assert_eq!(error, "ValidationException null");
}

#[tokio::test]
async fn a_page_ends_at_a_megabyte_and_an_index_of_keys_has_the_keys_alone() {
    let dynamodb = table().await;
    let text = "x".repeat(350_000);
    for n in ["1", "2", "3", "4"] {
        put(&dynamodb, "a", n, &[("day", "1"), ("at", n), ("text", &text)]).await;
    }
    let two = [vec!["a/1".to_owned(), "a/2".to_owned()], vec!["a/3".to_owned(), "a/4".to_owned()]];
    assert_eq!(pages(&dynamodb, "Query", of_partition("a")).await, two);
    assert_eq!(pages(&dynamodb, "Query", of_day("by-day", "1")).await, two);
    let answer = call(&dynamodb, "Query", of_day("by-keys", "1")).await.unwrap();
    assert_eq!(answer["Items"][3], item("a", "4", &[("day", "1"), ("at", "4")]));
    let mut count = of_partition("a");
    count["Select"] = json!("COUNT");
    let counted = call(&dynamodb, "Query", count).await.unwrap();
    assert_eq!((&counted["Count"], counted.get("Items")), (&json!(2), None));
    let text = "x".repeat(410_000);
    let input = json!({ "TableName": "t", "Item": item("a", "5", &[("text", &text)]) });
    let error = call(&dynamodb, "PutItem", input).await.unwrap_err();
    assert_eq!(error, "ValidationException null");
}

#[tokio::test]
async fn a_range_of_keys_is_what_the_condition_says() {
    let dynamodb = table().await;
    for n in ["-2", "1", "2", "10"] {
        put(&dynamodb, "a", n, &[("day", "1"), ("at", &format!("v#{n}"))]).await;
    }
    put(&dynamodb, "b", "1", &[("day", "1"), ("at", "w")]).await;
    let cases: [(&str, &[&str]); 7] = [
        ("n < :low", &["-2"]),
        ("n <= :low", &["-2", "1"]),
        ("n > :low", &["2", "10"]),
        ("n >= :low", &["1", "2", "10"]),
        ("n = :low", &["1"]),
        ("n BETWEEN :low AND :high", &["1", "2"]),
        ("n BETWEEN :high AND :low", &[]),
    ];
    for (condition, expected) in cases {
        for forwards in [true, false] {
            let mut query = of_partition("a");
            query["KeyConditionExpression"] = json!(format!("pk = :pk AND {condition}"));
            query["ExpressionAttributeValues"][":low"] = json!({ "N": "1.0" });
            query["ExpressionAttributeValues"][":high"] = json!({ "N": "2" });
            query["ScanIndexForward"] = json!(forwards);
            let mut found = names(&call(&dynamodb, "Query", query).await.unwrap());
            if !forwards {
                found.reverse();
            }
            let expected: Vec<String> = expected.iter().map(|n| format!("a/{n}")).collect();
            assert_eq!(found, expected, "{condition}");
        }
    }
    let mut begins = of_day("by-day", "1");
    begins["KeyConditionExpression"] = json!("#day = :day AND begins_with(at, :at)");
    begins["ExpressionAttributeValues"][":at"] = json!({ "S": "v#1" });
    begins["ScanIndexForward"] = json!(false);
    let found = names(&call(&dynamodb, "Query", begins.clone()).await.unwrap());
    assert_eq!(found, ["a/10", "a/1"]);
    begins["KeyConditionExpression"] = json!("#day = :day AND pk = :at");
    let error = call(&dynamodb, "Query", begins).await.unwrap_err();
    assert_eq!(error, "ValidationException null");
}

#[tokio::test]
async fn an_item_is_in_an_index_while_it_has_the_indexs_key() {
    let dynamodb = table().await;
    let held =
        async |day: &str| names(&call(&dynamodb, "Query", of_day("by-day", day)).await.unwrap());
    let update = async |expression: &str, values: Value| {
        let input = json!({
            "TableName": "t",
            "Key": item("a", "1", &[]),
            "UpdateExpression": expression,
            "ExpressionAttributeNames": { "#day": "day" },
            "ExpressionAttributeValues": values,
        });
        call(&dynamodb, "UpdateItem", input).await
    };
    put(&dynamodb, "a", "1", &[("at", "1")]).await;
    assert_eq!(held("1").await, Vec::<String>::new());
    update("SET #day = :day", json!({ ":day": { "S": "1" } })).await.unwrap();
    assert_eq!(held("1").await, ["a/1"]);
    update("SET #day = :day", json!({ ":day": { "S": "2" } })).await.unwrap();
    assert_eq!((held("1").await, held("2").await), (vec![], vec!["a/1".to_owned()]));
    update("REMOVE #day", json!({})).await.unwrap();
    assert_eq!(held("2").await, Vec::<String>::new());
    // A key of an index is as sound as the table's, or nothing is written.
    for day in [json!({ "S": "" }), json!({ "N": "1" })] {
        let error = update("SET #day = :day", json!({ ":day": day })).await.unwrap_err();
        assert_eq!(error, "ValidationException null");
    }
    put(&dynamodb, "a", "1", &[("day", "3"), ("at", "1")]).await;
    let delete = json!({ "TableName": "t", "Key": item("a", "1.0", &[]) });
    call(&dynamodb, "DeleteItem", delete).await.unwrap();
    assert_eq!(held("3").await, Vec::<String>::new());
    assert_eq!(dynamodb.items("t").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_transaction_that_is_cancelled_or_refused_changes_nothing() {
    let dynamodb = table().await;
    put(&dynamodb, "a", "1", &[("day", "1"), ("at", "1")]).await;
    let before = dynamodb.items("t").await;
    let put = |pk: &str, condition: &str| {
        let item = item(pk, "1", &[("day", "1"), ("at", "2")]);
        json!({ "Put": { "TableName": "t", "Item": item, "ConditionExpression": condition } })
    };
    let check = |pk: &str, condition: &str| {
        let key = item(pk, "1", &[]);
        json!({ "ConditionCheck": { "TableName": "t", "Key": key, "ConditionExpression": condition } })
    };
    let add = json!({ "Update": {
        "TableName": "t",
        "Key": item("a", "1", &[]),
        "UpdateExpression": "ADD at :one",
        "ExpressionAttributeValues": { ":one": { "N": "1" } },
    } });
    let none = json!({ "Code": "None" });
    let failed =
        json!({ "Code": "ConditionalCheckFailed", "Message": "The conditional request failed" });
    let there = "attribute_exists(pk)";
    let absent = "attribute_not_exists(pk)";
    let cancelled = format!("TransactionCanceledException {}", json!([none, failed]));
    let invalid = "ValidationException null".to_owned();
    let unknown = "ResourceNotFoundException null".to_owned();
    let mut elsewhere = check("c", absent);
    elsewhere["ConditionCheck"]["TableName"] = json!("u");
    for (parts, expected) in [
        ([put("b", absent), put("c", there)], &cancelled),
        ([put("b", absent), check("a", absent)], &cancelled),
        // The last part cannot be written; and one item is in it twice.
        ([put("b", absent), add], &invalid),
        ([put("b", absent), check("b", absent)], &invalid),
        ([put("b", absent), elsewhere], &unknown),
        ([put("b", absent), json!({})], &invalid),
    ] {
        let input = json!({ "TransactItems": parts });
        let error = call(&dynamodb, "TransactWriteItems", input).await.unwrap_err();
        assert_eq!(&error, expected, "{parts:?}");
        assert_eq!(dynamodb.items("t").await, before);
    }
    let made = json!({ "TransactItems": [put("b", absent), check("a", there)] });
    call(&dynamodb, "TransactWriteItems", made).await.unwrap();
    let answer = call(&dynamodb, "Query", of_day("by-day", "1")).await.unwrap();
    assert_eq!(names(&answer), ["a/1", "b/1"]);
}

#[tokio::test]
async fn a_batch_has_each_key_once_and_what_is_not_modelled_is_refused() {
    let dynamodb = table().await;
    put(&dynamodb, "a", "1", &[]).await;
    let batch = async |keys: Vec<Value>| {
        let input = json!({ "RequestItems": { "t": { "Keys": keys } } });
        let answer = call(&dynamodb, "BatchGetItem", input).await?;
        Ok::<_, String>(answer["Responses"]["t"].as_array().unwrap().len())
    };
    let key = |pk: &str, n: &str| item(pk, n, &[]);
    assert_eq!(batch(vec![key("a", "1"), key("b", "1")]).await, Ok(1));
    for unsound in [
        vec![key("a", "1"), key("a", "1.0")],
        vec![key("", "1")],
        vec![json!({ "pk": { "S": "a" } })],
        vec![item("a", "1", &[("day", "1")])],
        (0..101).map(|n| key("a", &n.to_string())).collect(),
    ] {
        assert_eq!(batch(unsound).await, Err("ValidationException null".to_owned()));
    }
    for operation in ["BatchWriteItem", "TransactGetItems", "ExecuteStatement", "TagResource"] {
        let error = call(&dynamodb, operation, json!({})).await.unwrap_err();
        assert_eq!(error, "NotModelled null");
    }
    let scan = json!({ "TableName": "t", "IndexName": "by-day" });
    assert_eq!(call(&dynamodb, "Scan", scan).await.unwrap_err(), "NotModelled null");
}
