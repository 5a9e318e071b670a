//! Patterns and events as cases, for every operator and trap. The public
//! collections of cases run through `firebreak policy match --cases`.

use serde_json::{Value, json};

use super::{Event, Fields, Pattern, PatternMatch};

fn check(pattern: &Value, event: &Value, expected: bool) {
    let parsed = Pattern::parse(pattern).unwrap();
    assert_eq!(parsed.matches(event), expected, "{pattern} on {event}");
    assert_eq!(parsed.first_mismatch(event).is_none(), expected, "{pattern} on {event}");
}

#[test]
fn literal_values_match_by_type_and_value() {
    let check = |alternative: Value, value: Value, expected| {
        check(&json!({"a": [alternative]}), &json!({"a": value}), expected);
    };
    check(json!("x"), json!("x"), true);
    check(json!("x"), json!("X"), false);
    check(json!(""), json!(""), true);
    check(json!(300), json!(300.0), true);
    check(json!(300), json!(3.0e2), true);
    check(json!(300), json!("300"), false);
    check(json!("300"), json!(300), false);
    check(json!(null), json!(null), true);
    check(json!(null), json!("null"), false);
    check(json!(true), json!(true), true);
    check(json!(true), json!("true"), false);
}

#[test]
fn operators_match_as_eventbridge_has_them() {
    let check = |operator: Value, value: Value, expected| {
        check(&json!({"a": [operator]}), &json!({"a": value}), expected);
    };
    check(json!({"prefix": "Re"}), json!("Recon:EC2/x"), true);
    check(json!({"prefix": "Re"}), json!("recon"), false);
    check(json!({"prefix": ""}), json!("anything"), true);
    check(json!({"prefix": {"equals-ignore-case": "re"}}), json!("RECON"), true);
    check(json!({"suffix": ".png"}), json!("b.png"), true);
    check(json!({"suffix": ".png"}), json!("png"), false);
    check(json!({"suffix": {"equals-ignore-case": ".PNG"}}), json!("b.png"), true);
    check(json!({"equals-ignore-case": "AbÉ"}), json!("aBé"), true);
    check(json!({"equals-ignore-case": "ab"}), json!("abc"), false);
    check(json!({"wildcard": "*:EC2/*"}), json!("Recon:EC2/Portscan"), true);
    check(json!({"wildcard": "*:EC2/*"}), json!("Recon:IAMUser/x"), false);
    check(json!({"wildcard": "a\\*b"}), json!("a*b"), true);
    check(json!({"wildcard": "a\\*b"}), json!("aXb"), false);
    check(json!({"numeric": [">=", 7]}), json!(7.0), true);
    check(json!({"numeric": ["=", 7]}), json!(7.5), false);
    check(json!({"numeric": [">", 0, "<=", 5]}), json!(5), true);
    check(json!({"numeric": [">", 0, "<", 5]}), json!(5), false);
    check(json!({"numeric": [">", 0]}), json!("5"), false);
    check(json!({"anything-but": "x"}), json!("y"), true);
    check(json!({"anything-but": ["x", "y"]}), json!("y"), false);
    check(json!({"anything-but": [1, 2]}), json!(3), true);
    check(json!({"anything-but": {"prefix": "x"}}), json!("xy"), false);
    check(json!({"anything-but": {"suffix": ["x", "y"]}}), json!("xy"), false);
    check(json!({"anything-but": {"equals-ignore-case": "X"}}), json!("x"), false);
    check(json!({"anything-but": {"wildcard": "*/x"}}), json!("b/y"), true);
    check(json!({"cidr": "10.0.0.0/24"}), json!("10.0.0.255"), true);
    check(json!({"cidr": "10.0.0.0/24"}), json!("10.0.1.0"), false);
    check(json!({"cidr": "10.0.0.0/24"}), json!("not an address"), false);
    check(json!({"cidr": "2001:db8::/32"}), json!("2001:db8::1"), true);
    check(json!({"cidr": "::/0"}), json!("2001:db8::1"), true);
    check(json!({"cidr": "0.0.0.0/0"}), json!("203.0.113.9"), true);
    check(json!({"cidr": "0.0.0.0/0"}), json!("2001:db8::1"), false);
}

#[test]
fn absence_is_matched_by_exists_false_and_by_nothing_else() {
    check(&json!({"a": [{"exists": true}]}), &json!({"a": null}), true);
    check(&json!({"a": [{"exists": true}]}), &json!({}), false);
    check(&json!({"a": [{"exists": true}]}), &json!({"a": {"b": 1}}), false);
    check(&json!({"a": [{"exists": false}]}), &json!({}), true);
    check(&json!({"a": [{"exists": false}]}), &json!({"a": []}), true);
    check(&json!({"a": {"b": [{"exists": false}]}}), &json!({}), true);
    check(&json!({"a": {"b": ["x"]}}), &json!({}), false);
    check(&json!({"a": [null]}), &json!({}), false);
    check(&json!({"a": [{"anything-but": "x"}]}), &json!({}), false);
}

#[test]
fn arrays_are_sets_and_nested_objects_match_within_one_element() {
    check(&json!({"a": ["x"]}), &json!({"a": ["w", "x"]}), true);
    check(&json!({"a": ["x"]}), &json!({"a": []}), false);
    check(&json!({"a": [{"anything-but": "x"}]}), &json!({"a": ["w", "x"]}), true);
    let both = json!({"a": {"b": ["1"], "c": ["2"]}});
    check(&both, &json!({"a": [{"b": "1", "c": "2"}]}), true);
    check(&both, &json!({"a": [{"b": "1"}, {"c": "2"}]}), false);
}

#[test]
fn one_alternative_of_or_is_enough_and_the_other_fields_still_count() {
    let either = json!({"s": ["g"], "$or": [{"a": ["1"]}, {"b": [{"numeric": [">", 5]}]}]});
    check(&either, &json!({"s": "g", "b": 6}), true);
    check(&either, &json!({"s": "g", "a": "2"}), false);
    check(&either, &json!({"s": "h", "a": "1"}), false);
}

#[test]
fn an_invalid_pattern_is_rejected_with_its_place() {
    for (pattern, path) in [
        (json!([]), ""),
        (json!({}), ""),
        (json!({"a": "x"}), "a"),
        (json!({"a": []}), "a"),
        (json!({"a": {}}), "a"),
        (json!({"a": {"b": 1}}), "a.b"),
        (json!({"a": [["x"]]}), "a.[0]"),
        (json!({"a": ["x", {"prefix": 1}]}), "a.[1].prefix"),
        (json!({"a": [{"prefix": {"suffix": "x"}}]}), "a.[0].prefix"),
        (json!({"a": [{"wildcard": "**"}]}), "a.[0].wildcard"),
        (json!({"a": [{"wildcard": "\\x"}]}), "a.[0].wildcard"),
        (json!({"a": [{"wildcard": "*:*:*:*:*:x"}]}), "a.[0].wildcard"),
        (json!({"a": [{"numeric": [">", 5, "<", 1]}]}), "a.[0].numeric"),
        (json!({"a": [{"numeric": ["!", 5]}]}), "a.[0].numeric"),
        (json!({"a": [{"numeric": [">"]}]}), "a.[0].numeric"),
        (json!({"a": [{"exists": "yes"}]}), "a.[0].exists"),
        (json!({"a": [{"cidr": "10.0.0.0/33"}]}), "a.[0].cidr"),
        (json!({"a": [{"anything-but": [true]}]}), "a.[0].anything-but"),
        (json!({"a": [{"anything-but": {"numeric": 1}}]}), "a.[0].anything-but.numeric"),
        (json!({"a": [{"regex": "x"}]}), "a.[0].regex"),
        (json!({"a": [{"prefix": "x", "suffix": "y"}]}), "a.[0]"),
        (json!({"$or": [{"a": ["x"]}, ["b"]]}), "$or.[1]"),
        (json!({"$or": [{"prefix": "x"}, {"a": ["x"]}]}), "$or.[0].prefix"),
    ] {
        let errors = Pattern::parse(&pattern).unwrap_err();
        let paths: Vec<String> = errors.0.iter().map(|error| error.path.join(".")).collect();
        assert_eq!(paths, [path], "{pattern}: {errors}");
    }
}

#[test]
fn every_error_of_a_pattern_is_returned() {
    let pattern = json!({"a": "x", "b": [{"prefx": "y"}, []], "$or": [{"c": []}, {"d": 1}]});
    let errors = Pattern::parse(&pattern).unwrap_err();
    let paths: Vec<String> = errors.0.iter().map(|error| error.path.join(".")).collect();
    assert_eq!(paths, ["a", "b.[0].prefx", "b.[1]", "$or.[0].c", "$or.[1].d"]);
}

#[test]
fn the_field_that_fails_first_is_named() {
    let pattern = json!({"a": ["x"], "b": {"c": ["y"]}, "$or": [{"d": [1]}, {"e": [1]}]});
    let pattern = Pattern::parse(&pattern).unwrap();
    let first = |event: Value| pattern.first_mismatch(&event);
    assert_eq!(first(json!({"a": "w"})), Some("a".to_owned()));
    assert_eq!(first(json!({"a": "x", "b": {"c": "z"}})), Some("b.c".to_owned()));
    assert_eq!(first(json!({"a": "x", "b": {"c": "y"}})), Some("$or".to_owned()));
    assert_eq!(first(json!({"a": "x", "b": {"c": "y"}, "e": 1})), None);
}

struct PartlyUnknown;

impl Fields for PartlyUnknown {
    fn field(&self, name: &str) -> Event<'_> {
        match name {
            "a" => Event::Text("x"),
            "tags" => Event::Unknown,
            _ => Event::Absent,
        }
    }
}

#[test]
fn an_unknown_field_decides_only_where_nothing_else_does() {
    let check = |pattern: Value, expected| {
        let pattern = Pattern::parse(&pattern).unwrap();
        assert_eq!(
            pattern.evaluate(Event::Object(&PartlyUnknown)),
            expected,
            "{:?}",
            pattern.source()
        );
    };
    check(json!({"a": ["x"]}), PatternMatch::Yes);
    check(json!({"a": ["x"], "tags": {"k": ["v"]}}), PatternMatch::Unknown);
    check(json!({"a": ["y"], "tags": {"k": ["v"]}}), PatternMatch::No);
    check(json!({"tags": {"k": [{"exists": false}]}}), PatternMatch::Unknown);
    check(json!({"$or": [{"a": ["x"]}, {"tags": {"k": ["v"]}}]}), PatternMatch::Yes);
    check(json!({"$or": [{"a": ["y"]}, {"tags": {"k": ["v"]}}]}), PatternMatch::Unknown);
}

#[test]
fn a_key_with_dots_is_the_same_as_nested_keys() {
    check(&json!({"a.b": ["x"]}), &json!({"a": {"b": "x"}}), true);
    check(&json!({"a": {"b": {"c": ["x"]}}}), &json!({"a.b.c": "x"}), true);
    check(&json!({"a": {"b": ["x"]}}), &json!({"a.b": "y", "a": {"b": "z"}}), false);
    check(&json!({"tags": {"k8s.io/x": ["y"]}}), &json!({"tags": {"k8s.io/x": "y"}}), true);
}
