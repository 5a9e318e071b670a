//! CloudWatch and CloudWatch Logs: alarms, dashboards, log groups.

use serde_json::Value;

use super::{Before, Here, Kind, Made, Physical, Properties, not_taken};
use crate::monitoring::Alarm;
use crate::state::State;

pub(super) fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "AWS::CloudWatch::Alarm" => Kind { put: alarm, delete: delete_alarm },
        "AWS::CloudWatch::Dashboard" => Kind { put: dashboard, delete: delete_dashboard },
        "AWS::Logs::LogGroup" => Kind { put: log_group, delete: delete_log_group },
        "AWS::Logs::ResourcePolicy" => Kind { put: log_policy, delete: delete_log_policy },
        _ => return None,
    })
}

const COMPARISONS: [&str; 4] = [
    "GreaterThanOrEqualToThreshold",
    "GreaterThanThreshold",
    "LessThanOrEqualToThreshold",
    "LessThanThreshold",
];

fn alarm(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&[
        "AlarmActions",
        "AlarmDescription",
        "AlarmName",
        "ComparisonOperator",
        "DatapointsToAlarm",
        "Dimensions",
        "EvaluationPeriods",
        "ExtendedStatistic",
        "MetricName",
        "Metrics",
        "Namespace",
        "Period",
        "Statistic",
        "Threshold",
        "TreatMissingData",
    ])?;
    let name = here.name(state, properties.text("AlarmName"), before);
    let arn = format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", here.region, here.account);
    not_taken("AWS::CloudWatch::Alarm", &name, state.monitoring.alarms.contains_key(&arn), before)?;
    let comparison = properties.required("ComparisonOperator")?;
    if !COMPARISONS.contains(&comparison.as_str()) {
        return Err(format!("the simulation does not model the comparison {comparison}"));
    }
    let metric = metric(properties)?;
    for number in ["EvaluationPeriods", "Threshold"] {
        let text = properties.required(number)?;
        text.parse::<f64>().map_err(|_| format!("{number} `{text}` is no number"))?;
    }
    let actions = properties.texts("AlarmActions")?;
    for action in &actions {
        // An alarm reaches topics of its own Region only.
        if !state.sns.topics.contains_key(action) || !action.contains(&format!(":{}:", here.region))
        {
            return Err(format!("{action} is no topic of this Region"));
        }
    }
    state.monitoring.alarms.insert(arn.clone(), Alarm { metric, actions });
    Ok(Physical::new(name, [("Arn", arn)]))
}

/// What an alarm looks at: one metric by namespace and name, or an expression
/// over several (CloudWatch API reference, PutMetricAlarm).
fn metric(properties: &Properties) -> Result<(String, String), String> {
    let metrics = properties.objects("Metrics")?;
    if metrics.is_empty() {
        let statistics = ["Statistic", "ExtendedStatistic"];
        if statistics.iter().filter(|name| properties.get(name).is_some()).count() != 1 {
            return Err("exactly one of Statistic and ExtendedStatistic has to be there".to_owned());
        }
        let period = properties.required("Period")?;
        period.parse::<f64>().map_err(|_| format!("Period `{period}` is no number"))?;
        return Ok((properties.required("Namespace")?, properties.required("MetricName")?));
    }
    if ["MetricName", "Namespace", "Period"].iter().any(|name| properties.get(name).is_some()) {
        return Err("Metrics and a metric of its own exclude each other".to_owned());
    }
    let mut returned = Vec::new();
    for metric in &metrics {
        metric.only(&["Expression", "Id", "Label", "MetricStat", "Period", "ReturnData"])?;
        metric.required("Id")?;
        if metric.get("Expression").is_some() == metric.get("MetricStat").is_some() {
            return Err("exactly one of Expression and MetricStat has to be there".to_owned());
        }
        if metric.text("ReturnData").as_deref() != Some("false") {
            returned.push(metric.text("Expression").unwrap_or_default());
        }
    }
    match returned.as_slice() {
        [one] => Ok((String::new(), one.clone())),
        _ => Err("exactly one of the Metrics returns data".to_owned()),
    }
}

fn delete_alarm(state: &mut State, _: Here<'_>, before: &Before<'_>) {
    if let Some(arn) = before.physical.attributes.get("Arn") {
        state.monitoring.alarms.remove(arn);
    }
}

fn dashboard(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&["DashboardBody", "DashboardName"])?;
    let name = here.name(state, properties.text("DashboardName"), before);
    let body: Value = serde_json::from_str(&properties.required("DashboardBody")?)
        .map_err(|error| format!("DashboardBody is no JSON: {error}"))?;
    if body.get("widgets").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return Err("DashboardBody has no widgets".to_owned());
    }
    let key = (here.account.to_owned(), name.clone());
    let is_there = state.monitoring.dashboards.contains_key(&key);
    not_taken("AWS::CloudWatch::Dashboard", &name, is_there, before)?;
    state.monitoring.dashboards.insert(key, body);
    Ok(Physical::new(name, []))
}

fn delete_dashboard(state: &mut State, here: Here<'_>, before: &Before<'_>) {
    let key = (here.account.to_owned(), before.physical.id.clone());
    state.monitoring.dashboards.remove(&key);
}

/// The days that a log group may keep its events (CloudWatch Logs API reference,
/// PutRetentionPolicy).
const RETENTION: [u32; 23] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1_096, 1_827, 2_192, 2_557,
    2_922, 3_288, 3_653, 4_383,
];

fn log_arn(here: Here<'_>, name: &str) -> String {
    format!("arn:aws:logs:{}:{}:log-group:{name}", here.region, here.account)
}

fn log_group(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&["LogGroupName", "RetentionInDays"])?;
    let name = here.name(state, properties.text("LogGroupName"), before);
    let arn = log_arn(here, &name);
    not_taken("AWS::Logs::LogGroup", &name, state.monitoring.groups.contains_key(&arn), before)?;
    let days = match properties.text("RetentionInDays") {
        None => None,
        Some(text) => {
            let days = text.parse().ok().filter(|days| RETENTION.contains(days));
            Some(days.ok_or_else(|| format!("RetentionInDays `{text}` is none of those allowed"))?)
        }
    };
    let group = state.monitoring.groups.entry(arn.clone()).or_default();
    group.retention = days;
    Ok(Physical::new(name, [("Arn", format!("{arn}:*"))]))
}

fn delete_log_group(state: &mut State, here: Here<'_>, before: &Before<'_>) {
    state.monitoring.groups.remove(&log_arn(here, &before.physical.id));
}

fn log_policy(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&["PolicyDocument", "PolicyName"])?;
    let name = here.name(state, properties.text("PolicyName"), before);
    let document = properties.policy("PolicyDocument")?;
    let key = (here.account.to_owned(), here.region.to_owned(), name.clone());
    let is_there = state.monitoring.log_policies.contains_key(&key);
    not_taken("AWS::Logs::ResourcePolicy", &name, is_there, before)?;
    state.monitoring.log_policies.insert(key, document);
    Ok(Physical::new(name, []))
}

fn delete_log_policy(state: &mut State, here: Here<'_>, before: &Before<'_>) {
    let Here { account, region, .. } = here;
    let key = (account.to_owned(), region.to_owned(), before.physical.id.clone());
    state.monitoring.log_policies.remove(&key);
}
