//! The order of keys, ranges of them, and pages.

use serde_json::json;

use super::{call, item, names, of_day, of_partition, pages, put, table};
use crate::dynamodb::place::Number;

#[test]
fn numbers_are_ordered_and_compared_by_value() {
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
