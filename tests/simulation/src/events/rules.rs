//! EventBridge's rules, as far as they are looked at: what a rule's pattern and
//! targets do with events is not modelled.

use serde_json::{Value, json};

use super::Events;
use crate::wire::ServiceError;

/// A rule of a default bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `ENABLED`, `DISABLED`, ….
    pub state: String,
    /// The event pattern, as JSON.
    pub pattern: String,
    /// The ARNs of the targets.
    pub targets: Vec<String>,
}

/// A rule's ARN, on the default bus.
pub fn arn(account: &str, region: &str, name: &str) -> String {
    format!("arn:aws:events:{region}:{account}:rule/{name}")
}

/// The rule that a call names.
fn named(input: &Value) -> &str {
    let name = input.get("Name").or_else(|| input.get("Rule"));
    name.and_then(Value::as_str).unwrap_or_default()
}

/// The ARN of the rule that a call is about; `None` for calls about none.
pub fn of_call(operation: &str, input: &Value, account: &str, region: &str) -> Option<String> {
    ["DescribeRule", "ListTargetsByRule"]
        .contains(&operation)
        .then(|| arn(account, region, named(input)))
}

/// Answers a call; `None` for one that is not modelled.
pub(super) fn answer(
    events: &Events,
    (account, region): (&str, &str),
    operation: &str,
    input: &Value,
) -> Option<Result<Value, ServiceError>> {
    let arn = of_call(operation, input, account, region)?;
    let name = named(input);
    let Some(rule) = events.rules.get(&arn) else {
        let message = format!("Rule {name} does not exist on EventBus default.");
        return Some(Err(ServiceError::new(400, "ResourceNotFoundException", message)));
    };
    Some(Ok(if operation == "DescribeRule" {
        json!({
            "Name": name,
            "Arn": arn,
            "EventBusName": "default",
            "EventPattern": rule.pattern,
            "State": rule.state,
        })
    } else {
        let targets = rule.targets.iter().enumerate();
        let targets: Vec<Value> =
            targets.map(|(id, arn)| json!({ "Id": id.to_string(), "Arn": arn })).collect();
        json!({ "Targets": targets })
    }))
}
