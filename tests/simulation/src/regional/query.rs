//! The Query protocol's parameters and answers as JSON values, for services
//! whose calls are told as values: `A.member.1.B=c` is `{"A": [{"B": "c"}]}`.

use serde_json::{Map, Value};

use crate::ec2::xml;
use crate::wire::{self, form};

/// The parameters of a request's body. Numbers and flags stay texts.
pub(super) fn input(body: &str) -> Value {
    let mut root = Value::Object(Map::new());
    for (key, value) in form(body) {
        if matches!(key.as_str(), "Action" | "Version") {
            continue;
        }
        put(&mut root, &key.split('.').collect::<Vec<_>>(), value);
    }
    lists("", root)
}

fn put(at: &mut Value, path: &[&str], value: String) {
    let Some((first, rest)) = path.split_first() else {
        *at = Value::String(value);
        return;
    };
    if !at.is_object() {
        *at = Value::Object(Map::new());
    }
    if let Some(object) = at.as_object_mut() {
        put(object.entry((*first).to_owned()).or_insert(Value::Null), rest, value);
    }
}

/// Turns objects with numbered keys into lists, and takes the `member` (or, in
/// RDS, the element's own name) between a list and its numbers away.
fn lists(name: &str, value: Value) -> Value {
    let Value::Object(mut object) = value else { return value };
    let inner = match object.keys().collect::<Vec<_>>().as_slice() {
        [only] if *only == "member" || (!only.is_empty() && name.starts_with(only.as_str())) => {
            Some((*only).clone())
        }
        _ => None,
    };
    if let Some(numbered) = inner.and_then(|only| object.get(&only).cloned())
        && is_numbered(&numbered)
    {
        return lists("", numbered);
    }
    if is_numbered(&Value::Object(object.clone())) {
        let mut elements: Vec<(u64, Value)> = std::mem::take(&mut object)
            .into_iter()
            .map(|(key, value)| (key.parse().unwrap_or_default(), lists("", value)))
            .collect();
        elements.sort_by_key(|(number, _)| *number);
        return elements.into_iter().map(|(_, value)| value).collect();
    }
    object.into_iter().map(|(key, value)| (key.clone(), lists(&key, value))).collect()
}

fn is_numbered(value: &Value) -> bool {
    value.as_object().is_some_and(|object| {
        !object.is_empty() && object.keys().all(|key| key.parse::<u64>().is_ok())
    })
}

/// An answer: objects are elements, lists have their elements named by `member`.
pub(super) fn answer(
    operation: &str,
    value: &Value,
    member: fn(&str) -> &'static str,
) -> wire::HttpResponse {
    let mut out = String::new();
    write(&mut out, value, member);
    wire::query(operation, &out)
}

fn write(out: &mut String, value: &Value, member: fn(&str) -> &'static str) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                match value {
                    Value::Null => {}
                    Value::Array(elements) => xml::element(out, name, |out| {
                        for element in elements {
                            xml::element(out, member(name), |out| write(out, element, member));
                        }
                    }),
                    Value::Object(_) => xml::element(out, name, |out| write(out, value, member)),
                    scalar => xml::text(out, name, &text(scalar)),
                }
            }
        }
        Value::Null | Value::Array(_) => {}
        scalar => out.push_str(&quick_xml::escape::escape(text(scalar).as_str())),
    }
}

fn text(scalar: &Value) -> String {
    scalar.as_str().map_or_else(|| scalar.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_become_values() {
        let body = "Action=X&Version=1&Name=web&Instances.member.1.InstanceId=i-1\
                    &Instances.member.2.InstanceId=i-2&GroupIds.GroupId.1=sg-1\
                    &Filters.Filter.1.Name=f&Filters.Filter.1.Values.Value.1=v";
        let expected = json!({
            "Name": "web",
            "Instances": [{ "InstanceId": "i-1" }, { "InstanceId": "i-2" }],
            "GroupIds": ["sg-1"],
            "Filters": [{ "Name": "f", "Values": ["v"] }],
        });
        assert_eq!(input(body), expected);
    }

    #[test]
    fn values_become_elements() {
        let value = json!({ "A": [{ "B": "c<d" }, { "B": 1 }], "N": null, "E": [] });
        let mut out = String::new();
        write(&mut out, &value, |_| "member");
        assert_eq!(out, "<A><member><B>c&lt;d</B></member><member><B>1</B></member></A><E></E>");
    }
}
