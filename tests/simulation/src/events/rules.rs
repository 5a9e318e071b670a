//! A bus's rules, as plain data, and how the default bus's are looked at.

use serde_json::{Value, json};

use super::Events;
use crate::wire::ServiceError;

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The ARN of its bus.
    pub bus: String,
    /// Which events it is for.
    pub pattern: Option<Value>,
    /// When it makes one itself: `rate(1 minute)`.
    pub schedule: Option<String>,
    /// Where they go.
    pub targets: Vec<Target>,
    /// Whether its state is `ENABLED`.
    pub is_enabled: bool,
}

/// A target of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its id within the rule.
    pub id: String,
    /// What gets the event.
    pub arn: String,
    /// The role that puts it there, where one is needed.
    pub role: Option<String>,
    /// The queue that gets what could not be delivered.
    pub dead_letters: Option<String>,
    /// The message group of what it sends to a queue.
    pub group: Option<String>,
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
            "EventPattern": rule.pattern.as_ref().map(Value::to_string),
            "ScheduleExpression": rule.schedule,
            "State": if rule.is_enabled { "ENABLED" } else { "DISABLED" },
        })
    } else {
        let target = |it: &Target| json!({ "Id": it.id, "Arn": it.arn });
        json!({ "Targets": rule.targets.iter().map(target).collect::<Vec<_>>() })
    }))
}
