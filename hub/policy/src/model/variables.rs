//! Variables in the parameters of actions, such as `${account.id}`.

use serde_json::Value;

use firebreak_model::finding::{Finding, Target};

/// The names of variables, each with a sample value. Parameters are checked with the
/// samples.
pub(crate) const VARIABLES: [(&str, &str); 8] = [
    ("account.id", "111122223333"),
    ("region", "us-east-1"),
    ("finding.id", "0123456789abcdef0123456789abcdef"),
    ("finding.type", "Backdoor:EC2/Spambot"),
    ("partition", "aws"),
    ("resource.arn", "arn:aws:ec2:us-east-1:111122223333:instance/i-0123456789abcdef0"),
    ("resource.id", "i-0123456789abcdef0"),
    (RESPONSE_ID, "r-0123456789abcdef"),
];

/// Filled in later than the others: a response gets its id after the decision.
const RESPONSE_ID: &str = "response.id";

/// The parameters with the response's id filled in.
pub fn with_response(parameters: &Value, response: &str) -> Value {
    replace(parameters, &|name| (name == RESPONSE_ID).then_some(response))
}

/// The names of the variables in a text; `None` for a `${` that is not closed.
pub(crate) fn variable_names(text: &str) -> impl Iterator<Item = Option<&str>> {
    text.split("${").skip(1).map(|rest| rest.split_once('}').map(|(name, _)| name))
}

/// Whether there is a variable anywhere in the value.
pub(crate) fn has_variables(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("${"),
        Value::Array(values) => values.iter().any(has_variables),
        Value::Object(object) => object.values().any(has_variables),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The value with each variable replaced by its value for the finding's target.
pub(crate) fn fill(value: &Value, finding: &Finding, target: &Target) -> Value {
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

/// The value with each variable replaced by its sample value.
pub(crate) fn fill_with_samples(value: &Value) -> Value {
    replace(value, &|name| VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, it)| *it))
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
        // Other names are refused when the document is read.
        let known = part.split_once('}').and_then(|(name, rest)| Some((lookup(name)?, rest)));
        let (value, rest) = known.unwrap_or(("${", part));
        filled.push_str(value);
        filled.push_str(rest);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::support::{finding, instance};
    use serde_json::json;

    #[test]
    fn variables_are_filled_in_every_text_of_a_value() {
        let target = instance();
        let value = json!({"a": ["${account.id}-${region}", 1], "b": {"c": "x${finding.id}"}});
        assert_eq!(
            fill(&value, &finding(&target), &target),
            json!({"a": ["111111111111-eu-west-1", 1], "b": {"c": "xf-1"}})
        );
        assert!(has_variables(&value) && !has_variables(&json!(["$", {"a": "{}"}])));
    }

    #[test]
    fn variable_names_are_found_and_an_unclosed_one_is_reported() {
        assert_eq!(variable_names("a${region}b${x").collect::<Vec<_>>(), [Some("region"), None]);
        assert_eq!(variable_names("no $ variable").count(), 0);
    }
}
