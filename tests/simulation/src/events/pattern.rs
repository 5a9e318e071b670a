//! Event patterns, as far as the rules here use them: exact values, nested
//! fields, arrays, `$or`, and `prefix`, `suffix`, `exists` and `anything-but` of exact
//! values (EventBridge user guide, "Event patterns"). Every other operator is
//! refused when the rule is made.

use serde_json::Value;

/// Refuses a pattern that [`matches`] would not understand.
pub fn check(pattern: &Value) -> Result<(), String> {
    let fields = pattern.as_object().ok_or("an event pattern is a mapping")?;
    for (name, wanted) in fields {
        match wanted {
            Value::Array(choices) if name == "$or" && !choices.is_empty() => {
                choices.iter().try_for_each(check)?;
            }
            Value::Object(_) => check(wanted)?,
            Value::Array(values) if !values.is_empty() => values.iter().try_for_each(known)?,
            _ => {
                return Err(format!(
                    "`{name}` of the event pattern is neither a list nor a mapping"
                ));
            }
        }
    }
    Ok(())
}

fn known(value: &Value) -> Result<(), String> {
    let Some(operator) = value.as_object() else { return Ok(()) };
    let mut each = operator.iter();
    match (each.next(), each.next()) {
        (Some((name, Value::String(_))), None) if name == "prefix" || name == "suffix" => Ok(()),
        (Some((name, Value::Bool(_))), None) if name == "exists" => Ok(()),
        (Some((name, argument)), None) if name == "anything-but" && !argument.is_object() => Ok(()),
        _ => Err(format!("the simulation does not model `{value}` in event patterns")),
    }
}

/// Whether a pattern matches an event.
pub fn matches(pattern: &Value, event: &Value) -> bool {
    let Some(fields) = pattern.as_object() else { return false };
    fields.iter().all(|(name, wanted)| {
        let found = event.get(name);
        match (wanted, found) {
            (Value::Array(choices), _) if name == "$or" => {
                choices.iter().any(|choice| matches(choice, event))
            }
            // Of an array any element may be the one.
            (Value::Object(_), Some(Value::Array(elements))) => {
                elements.iter().any(|element| matches(wanted, element))
            }
            (Value::Object(_), Some(found)) => matches(wanted, found),
            (Value::Object(_), None) => matches(wanted, &Value::Null),
            (Value::Array(values), found) => values.iter().any(|value| one(value, found)),
            _ => false,
        }
    })
}

fn one(wanted: &Value, found: Option<&Value>) -> bool {
    if let Some(exists) = wanted.get("exists") {
        return exists.as_bool() == Some(found.is_some());
    }
    let Some(found) = found else { return false };
    if let Value::Array(elements) = found {
        return elements.iter().any(|element| one(wanted, Some(element)));
    }
    if let Some(prefix) = wanted.get("prefix").and_then(Value::as_str) {
        return found.as_str().is_some_and(|found| found.starts_with(prefix));
    }
    if let Some(suffix) = wanted.get("suffix").and_then(Value::as_str) {
        return found.as_str().is_some_and(|found| found.ends_with(suffix));
    }
    match wanted.get("anything-but") {
        Some(Value::Array(values)) => !values.contains(found),
        Some(value) => value != found,
        None => wanted == found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns_match_as_eventbridge_s() {
        let event = json!({
            "source": "aws.securityhub",
            "detail": { "findings": [{ "State": "ACTIVE", "Workflow": { "Status": "NEW" } }], "n": 1 },
        });
        for (pattern, expected) in [
            (json!({ "source": ["aws.guardduty", "aws.securityhub"] }), true),
            (json!({ "source": ["aws.guardduty"] }), false),
            (json!({ "detail": { "findings": { "Workflow": { "Status": ["NEW"] } } } }), true),
            (
                json!({ "detail": { "findings": { "Workflow": { "Status": ["RESOLVED"] } } } }),
                false,
            ),
            (json!({ "detail": { "n": [1] }, "source": [{ "prefix": "aws." }] }), true),
            (json!({ "detail": { "m": [{ "exists": false }] } }), true),
            (json!({ "detail": { "m": [1] } }), false),
            (json!({ "source": [{ "anything-but": ["aws.guardduty"] }] }), true),
            (json!({ "$or": [{ "detail": { "n": [2] } }, { "detail": { "n": [1] } }] }), true),
            (json!({ "$or": [{ "detail": { "n": [2] } }], "source": ["aws.securityhub"] }), false),
        ] {
            check(&pattern).unwrap();
            assert_eq!(matches(&pattern, &event), expected, "{pattern}");
        }
        for pattern in [
            json!({ "source": "aws.guardduty" }),
            json!({ "detail": { "n": [{ "numeric": [">", 1] }] } }),
            json!({ "$or": [] }),
            json!({ "source": [] }),
        ] {
            assert!(check(&pattern).is_err(), "{pattern}");
        }
    }
}
