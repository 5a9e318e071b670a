//! CloudWatch and its logs, as far as stacks and rules leave something there: no
//! calls are modelled, and nothing is measured.

use std::collections::BTreeMap;

use serde_json::Value;

/// What is there.
#[derive(Clone, Debug, Default)]
pub struct Monitoring {
    /// Alarms by ARN.
    pub alarms: BTreeMap<String, Alarm>,
    /// Dashboards by account and name.
    pub dashboards: BTreeMap<(String, String), Value>,
    /// Log groups by ARN, without the `:*` at its end.
    pub groups: BTreeMap<String, LogGroup>,
    /// What services may write, by account, Region and the policy's name.
    pub log_policies: BTreeMap<(String, String, String), Value>,
}

/// An alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Namespace and name of its metric.
    pub metric: (String, String),
    /// Topics that are told.
    pub actions: Vec<String>,
}

/// A log group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogGroup {
    /// `RetentionInDays`.
    pub retention: Option<u32>,
    /// What was written, in order.
    pub events: Vec<Value>,
}
