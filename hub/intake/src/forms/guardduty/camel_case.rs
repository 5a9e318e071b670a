//! Turns the PascalCase keys of GetFindings into the camelCase of events: policies
//! match one spelling only.

use serde_json::{Map, Value};

/// Lowers the first word of every key, at every depth.
pub(super) fn camel_case(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let fields = object.iter().map(|(key, value)| (camel(key), camel_case(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(elements) => Value::Array(elements.iter().map(camel_case).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// `AccountId` is `accountId`, `IPv6Addresses` is `ipv6Addresses`, `ARN` is `arn`.
/// A key that is not a field name, such as `AWS::S3::Bucket`, is kept.
fn camel(key: &str) -> String {
    if !key.chars().all(|char| char.is_ascii_alphanumeric()) {
        return key.to_owned();
    }
    let chars: Vec<char> = key.chars().collect();
    let capitals = chars.iter().take_while(|char| char.is_uppercase()).count();
    // The last capital of several begins the next word, if one follows.
    let lowered = match capitals {
        0 | 1 => capitals,
        _ if capitals == chars.len() => capitals,
        _ if key.starts_with("IPv") => capitals,
        _ => capitals - 1,
    };
    chars
        .into_iter()
        .enumerate()
        .map(|(index, char)| if index < lowered { char.to_ascii_lowercase() } else { char })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spelled_as_in_events() {
        for (pascal, expected) in [
            ("AccountId", "accountId"),
            ("Id", "id"),
            ("ARN", "arn"),
            ("IPv6Addresses", "ipv6Addresses"),
            ("Ipv6Addresses", "ipv6Addresses"),
            ("AWSApiCallAction", "awsApiCallAction"),
            ("already", "already"),
            ("AWS::S3::Bucket", "AWS::S3::Bucket"),
        ] {
            assert_eq!(camel(pascal), expected);
        }
    }
}
