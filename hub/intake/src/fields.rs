//! Reads fields of JSON and tolerates how real data writes them.

use std::collections::BTreeMap;

use firebreak_model::resource::{AccountId, ParseError, Region};
use jiff::Timestamp;
use serde_json::Value;

/// The value at a path of keys. Of a list on the way, the first element is taken.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    let mut value = value;
    for key in path {
        if let Value::Array(elements) = value {
            value = elements.first()?;
        }
        value = value.as_object()?.get(*key)?;
    }
    (!value.is_null()).then_some(value)
}

/// A string, or a number as a string; empty counts as absent.
pub(crate) fn text(value: &Value, path: &[&str]) -> Option<String> {
    let text = match at(value, path)? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// The first of several paths that has a text.
pub(crate) fn first_text(value: &Value, paths: &[&[&str]]) -> Option<String> {
    paths.iter().find_map(|path| text(value, path))
}

/// A number, or a string that is one.
pub(crate) fn number(value: &Value, path: &[&str]) -> Option<f64> {
    match at(value, path)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
    .filter(|number| number.is_finite())
}

/// A whole number, or a string that is one.
pub(crate) fn count(value: &Value, path: &[&str]) -> Option<u64> {
    match at(value, path)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A boolean, or the string `true`.
pub(crate) fn flag(value: &Value, path: &[&str]) -> bool {
    match at(value, path) {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

/// The elements of a list; an object in place of a list is its only element.
pub(crate) fn elements<'a>(value: &'a Value, path: &[&str]) -> Vec<&'a Value> {
    match at(value, path) {
        Some(Value::Array(elements)) => elements.iter().collect(),
        Some(value @ Value::Object(_)) => vec![value],
        _ => Vec::new(),
    }
}

/// A timestamp: RFC 3339, the same with a blank as exports have it, or an epoch in
/// seconds or milliseconds.
pub(crate) fn moment(value: &Value, path: &[&str]) -> Option<Timestamp> {
    let text = text(value, path)?;
    if let Ok(moment) = text.parse() {
        return Some(moment);
    }
    if let Ok(epoch) = text.parse::<f64>() {
        // Seconds reach this figure in the year 33658.
        let seconds = if epoch.abs() >= 1e12 { epoch / 1_000.0 } else { epoch };
        let seconds = jiff::SignedDuration::try_from_secs_f64(seconds).ok()?;
        return Timestamp::from_duration(seconds).ok();
    }
    format!("{}Z", text.replacen(' ', "T", 1)).parse().ok()
}

/// The first valid Region, else the first text, else the pseudo Region of the global
/// services. The latter two have no endpoint, so a finding without a Region can be
/// read but not acted on.
pub(crate) fn region<const N: usize>(candidates: [Option<String>; N]) -> Region {
    let written: Vec<String> =
        candidates.into_iter().flatten().filter(|text| !text.is_empty()).collect();
    let valid = written.iter().find_map(|text| text.parse().ok());
    valid
        .or_else(|| written.iter().find_map(|text| Region::as_written(text).ok()))
        .unwrap_or_else(Region::global)
}

/// The account of a resource: the one that it names, else the finding's. An invalid
/// id is kept, so that the resource is not taken for one in the finding's account.
pub(crate) fn own_account(written: Option<String>, home: &AccountId) -> AccountId {
    // AWS's own policies and images have no account, or `aws`, in their ARNs.
    let written = written.filter(|text| !matches!(text.as_str(), "" | "aws"));
    written.map_or_else(|| home.clone(), |text| as_written(&text, AccountId::as_written, home))
}

/// The Region of a resource, like [`own_account`].
pub(crate) fn own_region(written: Option<String>, home: &Region) -> Region {
    let global = |text: &str| matches!(text, "" | "global" | "aws-global");
    let written = written.filter(|text| !global(text));
    written.map_or_else(|| home.clone(), |text| as_written(&text, Region::as_written, home))
}

/// The text as it is; characters that an ARN cannot have become underscores, which
/// neither an account id nor a Region has.
fn as_written<T: Clone>(text: &str, read: impl Fn(&str) -> Result<T, ParseError>, home: &T) -> T {
    let word = |char: char| if char.is_ascii_alphanumeric() || char == '-' { char } else { '_' };
    let short: String = text.chars().take(63).map(word).collect();
    let whole = text.chars().count() <= 63 && short == text;
    let short = if whole { short } else { format!("{short}_") };
    read(&short).unwrap_or_else(|_| home.clone())
}

/// Tags: a list of `Key`/`key`/`name` with `Value`/`value`, or a map.
pub(crate) fn tags(value: &Value, path: &[&str]) -> BTreeMap<String, String> {
    match at(value, path) {
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(|tag| {
                let key = first_text(tag, &[&["key"], &["Key"], &["name"], &["Name"]])?;
                let value = first_text(tag, &[&["value"], &["Value"]]).unwrap_or_default();
                Some((key, value))
            })
            .collect(),
        Some(Value::Object(map)) => map
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
        _ => BTreeMap::new(),
    }
}

/// The parts of an ARN: partition, service, Region, account, resource.
pub(crate) fn arn(text: &str) -> Option<[&str; 5]> {
    let mut parts = text.splitn(6, ':');
    let (Some("arn"), Some(partition), Some(service), Some(region), Some(account), Some(resource)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    Some([partition, service, region, account, resource])
}

/// A function's name from its ARN, without version or alias, or from its name.
pub(crate) fn function_name(id: &str) -> String {
    let after = id.split_once(":function:").map_or(id, |(_, after)| after);
    after.split(':').next().unwrap_or(after).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_strings_and_lists_may_replace_each_other() {
        let value = json!({ "a": "7.5", "b": 7, "c": [{ "d": "x" }], "e": null, "f": "true" });
        assert_eq!(number(&value, &["a"]), Some(7.5));
        assert_eq!(text(&value, &["b"]), Some("7".to_owned()));
        assert_eq!(text(&value, &["c", "d"]), Some("x".to_owned()));
        assert_eq!(at(&value, &["e"]), None);
        assert!(flag(&value, &["f"]));
    }

    #[test]
    fn timestamps_are_read_in_every_spelling() {
        let expected: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        for spelling in [
            json!("2026-01-02T03:04:05Z"),
            json!("2026-01-02T03:04:05.000Z"),
            json!("2026-01-02 03:04:05.000"),
            json!(1_767_323_045),
            json!("1767323045"),
            json!(1_767_323_045_000_i64),
        ] {
            let value = json!({ "at": spelling });
            assert_eq!(moment(&value, &["at"]), Some(expected), "{value}");
        }
        assert_eq!(moment(&json!({ "at": "yesterday" }), &["at"]), None);
    }

    #[test]
    fn an_invalid_account_of_a_resource_never_becomes_the_finding_s_own() {
        let home: AccountId = "222222222222".parse().unwrap();
        let read = |text: &str| own_account(Some(text.to_owned()), &home);
        assert_eq!(read("333333333333").as_str(), "333333333333");
        assert_eq!((own_account(None, &home), read("aws")), (home.clone(), home.clone()));
        for hostile in [
            "22222222222",
            "2222222222222",
            "222222222222 ",
            "222222222222/",
            "222222222222\n",
            "\u{ff12}22222222222",
            "cloudfront",
            "*",
            "a b",
            &"2".repeat(100),
        ] {
            assert!(!read(hostile).is_real(), "{hostile:?}");
        }
        let home: Region = "eu-central-1".parse().unwrap();
        assert_eq!(own_region(Some("global".to_owned()), &home), home);
        for hostile in
            ["Frankfurt", "eu-central-1.evil.example", "https://evil.example/", "eu-central-1\0"]
        {
            assert!(!own_region(Some(hostile.to_owned()), &home).is_real(), "{hostile:?}");
        }
    }

    #[test]
    fn tags_are_read_in_three_spellings() {
        for spelling in [
            json!([{ "key": "env", "value": "prod" }]),
            json!([{ "Key": "env", "Value": "prod" }]),
            json!([{ "name": "env", "value": "prod" }]),
            json!({ "env": "prod" }),
        ] {
            let tags = tags(&json!({ "tags": spelling }), &["tags"]);
            assert_eq!(tags.get("env").map(String::as_str), Some("prod"), "{spelling}");
        }
    }
}
