//! A bus's rules, as plain data.

use serde_json::Value;

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
}
