//! Variables in the parameters of actions, such as `${account.id}`.

use serde_json::Value;

use firebreak_model::finding::{Finding, Target};

/// The names that may stand in `${…}`, each with a value of the right form to
/// check parameters with.
pub(super) const NAMES: [(&str, &str); 8] = [
    ("account.id", "111122223333"),
    ("region", "us-east-1"),
    ("finding.id", "0123456789abcdef0123456789abcdef"),
    ("finding.type", "Backdoor:EC2/Spambot"),
    ("partition", "aws"),
    ("resource.arn", "arn:aws:ec2:us-east-1:111122223333:instance/i-0123456789abcdef0"),
    ("resource.id", "i-0123456789abcdef0"),
    (RESPONSE_ID, "r-0123456789abcdef"),
];

/// Filled in last: a response has its id once it is decided.
const RESPONSE_ID: &str = "response.id";

/// The parameters with the response's id filled in.
pub fn with_response(parameters: &Value, response: &str) -> Value {
    replace(parameters, &|name| (name == RESPONSE_ID).then_some(response))
}

/// The names in a text. `None` stands for a `${` that is not closed.
pub(super) fn names(text: &str) -> impl Iterator<Item = Option<&str>> {
    text.split("${").skip(1).map(|rest| rest.split_once('}').map(|(name, _)| name))
}

/// Whether a variable stands anywhere in the value.
pub(super) fn any(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("${"),
        Value::Array(values) => values.iter().any(any),
        Value::Object(object) => object.values().any(any),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The value with each variable replaced by what the finding's target says.
pub(super) fn fill(value: &Value, finding: &Finding, target: &Target) -> Value {
    let resource = &target.resource;
    let arn = resource.arn();
    replace(value, &|name| match name {
        "account.id" => Some(resource.account.as_str()),
        "region" => Some(resource.region.as_str()),
        "finding.id" => Some(&finding.id),
        "finding.type" => Some(&finding.kind),
        "partition" => Some(resource.partition.as_str()),
        "resource.arn" => Some(&arn),
        "resource.id" => resource.id(),
        _ => None,
    })
}

/// The value with each variable replaced by a text of the right form.
pub(super) fn fill_with_samples(value: &Value) -> Value {
    replace(value, &|name| NAMES.iter().find(|(known, _)| *known == name).map(|(_, it)| *it))
}

fn replace<'a>(value: &Value, lookup: &impl Fn(&str) -> Option<&'a str>) -> Value {
    match value {
        Value::String(text) => Value::String(replace_text(text, lookup)),
        Value::Array(values) => values.iter().map(|value| replace(value, lookup)).collect(),
        Value::Object(object) => {
            object.iter().map(|(key, value)| (key.clone(), replace(value, lookup))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn replace_text<'a>(text: &str, lookup: &impl Fn(&str) -> Option<&'a str>) -> String {
    let mut parts = text.split("${");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // The reader admits only names that are known.
        let known = part.split_once('}').and_then(|(name, rest)| Some((lookup(name)?, rest)));
        let (value, rest) = known.unwrap_or(("${", part));
        filled.push_str(value);
        filled.push_str(rest);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::super::testing::{finding, instance};
    use super::*;
    use serde_json::json;

    #[test]
    fn variables_are_filled_wherever_texts_stand() {
        let target = instance();
        let value = json!({"a": ["${account.id}-${region}", 1], "b": {"c": "x${finding.id}"}});
        assert_eq!(
            fill(&value, &finding(&target), &target),
            json!({"a": ["111111111111-eu-west-1", 1], "b": {"c": "xf-1"}})
        );
        assert!(any(&value) && !any(&json!(["$", {"a": "{}"}])));
    }

    #[test]
    fn names_are_found_and_what_is_not_closed_is_told() {
        assert_eq!(names("a${region}b${x").collect::<Vec<_>>(), [Some("region"), None]);
        assert_eq!(names("no $ variable").count(), 0);
    }
}
