//! Two runs compared: what differs in any two runs (times, ids that AWS never
//! gives twice) is put into one form, and all else has to be the same.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

/// A state in a form in which it can be compared, without the fields of these
/// names.
pub fn canonical(value: &Value, without: &[&str]) -> Value {
    let mut form = Form { names: BTreeMap::new(), without };
    form.value(value)
}

/// The first place in which two states differ.
pub fn difference(path: &str, expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::Object(left), Value::Object(right)) => {
            let mut keys: Vec<&String> = left.keys().chain(right.keys()).collect();
            keys.sort();
            keys.dedup();
            keys.into_iter().find_map(|key| {
                let of = |object: &Map<String, Value>| object.get(key).cloned();
                difference(
                    &format!("{path}/{key}"),
                    &of(left).unwrap_or_default(),
                    &of(right).unwrap_or_default(),
                )
            })
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => left
            .iter()
            .zip(right)
            .enumerate()
            .find_map(|(nth, (left, right))| difference(&format!("{path}/{nth}"), left, right)),
        _ if expected == found => None,
        _ => Some(format!("{path}: expected {expected}, found {found}")),
    }
}

struct Form<'a> {
    /// Ids by the order in which they are met.
    names: BTreeMap<String, String>,
    without: &'a [&'a str],
}

impl Form<'_> {
    fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(object) => {
                let kept = object.iter().filter(|(key, _)| !self.without.contains(&key.as_str()));
                let mut sorted: Vec<(&String, &Value)> = kept.collect();
                // What is made side by side gets its ids in any order: it is
                // ordered by what it is, and by its id only where that is the same.
                sorted.sort_by_cached_key(|(key, value)| {
                    let name = self.known(key);
                    let content = (name != **key).then(|| self.known(&value.to_string()));
                    (name, content, (*key).clone())
                });
                let each =
                    sorted.into_iter().map(|(key, value)| (self.text(key), self.value(value)));
                Value::Object(each.collect())
            }
            Value::Array(list) => list.iter().map(|value| self.value(value)).collect(),
            // Records and policies are kept as text.
            Value::String(text) if text.starts_with(['{', '[']) => {
                match serde_json::from_str::<Value>(text) {
                    Ok(inner) => self.value(&inner),
                    Err(_) => Value::String(self.text(text)),
                }
            }
            Value::String(text) => Value::String(self.text(text)),
            Value::Number(number) if is_time(number) => Value::String("<time>".to_owned()),
            Value::Number(_) | Value::Bool(_) | Value::Null => value.clone(),
        }
    }

    /// A text with its times and ids replaced.
    fn text(&mut self, text: &str) -> String {
        replaced(text, |id| {
            let next = self.names.len() + 1;
            self.names.entry(id.to_owned()).or_insert_with(|| next.to_string()).clone()
        })
    }

    /// The same, where an id that was not met yet has no name.
    fn known(&self, text: &str) -> String {
        replaced(text, |id| self.names.get(id).cloned().unwrap_or_default())
    }
}

fn replaced(text: &str, mut name: impl FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(length) = time(rest) {
            out.push_str("<time>");
            rest = rest.get(length..).unwrap_or_default();
        } else if let Some(length) = id(rest) {
            let (found, after) = rest.split_at(length);
            out.push('#');
            out.push_str(&name(found));
            rest = after;
        } else {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

/// Whether a number is a moment of the simulated year: in seconds or milliseconds.
fn is_time(number: &Number) -> bool {
    let seconds = 1_767_000_000.0..1_800_000_000.0;
    number.as_f64().is_some_and(|it| seconds.contains(&it) || seconds.contains(&(it / 1_000.0)))
}

/// The length of the time with which a text begins: `2026-01-01T00:00:00.0Z`.
fn time(text: &str) -> Option<usize> {
    const FORM: &str = "0000-00-00T00:00:00";
    let begin = text.get(..FORM.len())?;
    let fits = begin.bytes().zip(FORM.bytes()).all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    });
    let rest = text.get(FORM.len()..)?;
    let end = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
    (fits && rest.get(end..)?.starts_with('Z')).then_some(FORM.len() + end + 1)
}

/// The length of the digits of an id with which a text begins: those after
/// `i-`, `sg-`, `snap-`.
fn id(text: &str) -> Option<usize> {
    const BEGIN: &str = "00f1b0000000";
    const DIGITS: usize = 17;
    let digits = text.get(..DIGITS)?;
    let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    (all && digits.starts_with(BEGIN)).then_some(DIGITS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn other_times_and_other_ids_are_no_difference_and_everything_else_is() {
        let one =
            json!({ "a": "sg-00f1b000000000007 at 2026-01-01T00:00:01.5Z", "b": 1_767_225_601 });
        let two =
            json!({ "a": "sg-00f1b000000000009 at 2026-01-01T00:05:01Z", "b": 1_767_225_999 });
        assert_eq!(difference("", &canonical(&one, &[]), &canonical(&two, &[])), None);
        let three =
            json!({ "a": "eni-00f1b000000000009 at 2026-01-01T00:05:01Z", "b": 1_767_225_999 });
        assert!(difference("", &canonical(&one, &[]), &canonical(&three, &[])).is_some());
    }

    #[test]
    fn the_same_id_twice_is_not_two_ids() {
        let (one, two) = ("i-00f1b000000000007", "i-00f1b000000000009");
        assert_ne!(canonical(&json!([one, one]), &[]), canonical(&json!([one, two]), &[]));
    }

    #[test]
    fn in_which_order_ids_were_given_is_no_difference_and_to_what_is() {
        let (first, second) = ("sg-00f1b000000000007", "sg-00f1b000000000009");
        let of = |one: &str, other: &str, used: &str| {
            canonical(&json!({ "groups": { one: "web", other: "data" }, "used": used }), &[])
        };
        assert_eq!(of(first, second, first), of(second, first, second));
        assert_ne!(of(first, second, first), of(second, first, first));
    }

    #[test]
    fn what_is_kept_as_text_is_compared_by_its_content() {
        let (one, two) = (json!(r#"{"a":1,"b":2}"#), json!(r#"{ "b": 2, "a": 1 }"#));
        assert_eq!(canonical(&one, &[]), canonical(&two, &[]));
    }
}
