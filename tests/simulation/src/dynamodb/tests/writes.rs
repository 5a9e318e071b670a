//! What writes leave: in the table, in its indexes, and nothing where one is refused.

use serde_json::{Value, json};

use super::{call, item, names, of_day, put, table};

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

#[tokio::test]
async fn an_update_whose_condition_fails_returns_the_item_if_it_is_asked_for() {
    let dynamodb = table().await;
    put(&dynamodb, "a", "1", &[("day", "3")]).await;
    let update = async |returned: &str| {
        let input = json!({
            "TableName": "t",
            "Key": item("a", "1", &[]),
            "UpdateExpression": "SET #day = :day",
            "ConditionExpression": "attribute_not_exists(#day)",
            "ExpressionAttributeNames": { "#day": "day" },
            "ExpressionAttributeValues": { ":day": { "S": "4" } },
            "ReturnValuesOnConditionCheckFailure": returned,
        });
        call(&dynamodb, "UpdateItem", input).await.unwrap_err()
    };
    let code = "ConditionalCheckFailedException";
    let error = update("ALL_OLD").await;
    let old: Value = serde_json::from_str(error.strip_prefix(code).unwrap()).unwrap();
    assert_eq!(old, item("a", "1", &[("day", "3")]));
    assert_eq!(update("NONE").await, format!("{code} null"));
}
