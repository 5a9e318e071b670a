//! The templates say what the program says: its variables, its times, its
//! metrics. Whether they are valid is for cfn-lint and `stacksets/lint`.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use firebreak_aws::settings::Settings;
use firebreak_function::metrics::NAMESPACE;
use firebreak_testkit::repository::{root, template};
use serde_json::Value;

fn names() -> Vec<String> {
    let files = fs::read_dir(root().join("stacksets")).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|it| it == "yaml"));
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let names: Vec<String> = paths.map(name).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    names
}

fn resources(template: &Value) -> impl Iterator<Item = (&String, &Value)> {
    template["Resources"].as_object().unwrap().iter()
}

/// What stands in backticks at the beginning of a table's row.
fn rows(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("| ")?.split('|').next())
}

fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// "Template body: 51,200 bytes" inline, and "StackSets with service-managed
/// permissions don't support nested stacks, macros or transforms"
/// (CloudFormation user guide, "Quotas" and "StackSets").
#[test]
fn each_template_fits_inline_and_has_neither_transforms_nor_nested_stacks() {
    for name in names() {
        let path = root().join("stacksets").join(&name);
        let size = fs::metadata(path).unwrap().len();
        println!("{name}: {size} of 51200 bytes");
        assert!(size <= 51_200, "{name}");
        let template = template(&name);
        assert!(template.get("Transform").is_none(), "{name}");
        for (id, resource) in resources(&template) {
            let kind = resource["Type"].as_str().unwrap();
            assert!(kind.starts_with("AWS::") && kind != "AWS::CloudFormation::Stack", "{id}");
        }
    }
}

#[test]
fn each_parameter_says_what_it_is_and_what_it_may_be() {
    for name in names() {
        let template = template(&name);
        for (id, parameter) in template["Parameters"].as_object().unwrap() {
            assert!(parameter["Description"].is_string(), "{name}: {id}");
            let constraints = ["AllowedPattern", "AllowedValues", "MinLength", "MinValue"];
            let constrained = constraints.iter().any(|it| parameter.get(it).is_some());
            assert!(constrained, "{name}: {id}");
        }
    }
}

#[test]
fn the_function_s_variables_are_those_that_it_reads() {
    let hub = template("hub.yaml");
    let given = hub.pointer("/Resources/Function/Properties/Environment/Variables").unwrap();
    let given: BTreeSet<String> = given.as_object().unwrap().keys().cloned().collect();
    let asked = RefCell::new(BTreeSet::from(["RUST_LOG", "FIREBREAK_SPANS"].map(str::to_owned)));
    let settings = Settings::read(|name| {
        asked.borrow_mut().insert(name.to_owned());
        (name == "FIREBREAK_EXTERNAL_ID").then(|| "long-enough".to_owned())
    });
    settings.unwrap();
    assert_eq!(given, asked.into_inner());
}

#[test]
fn the_concurrency_of_the_function_is_the_one_in_its_settings() {
    let hub = template("hub.yaml");
    for (total, parts) in hub["Mappings"]["Sizes"].as_object().unwrap() {
        let findings = parts["FindingsAtOnce"].as_u64().unwrap();
        let write_backs = parts["WriteBacksAtOnce"].as_u64().unwrap();
        let total: u64 = total.parse().unwrap();
        assert_eq!(findings + write_backs + 1, total, "one is the sweep");
        // "Minimum value of 2. Maximum value of 1000" (API_ScalingConfig).
        assert!(findings >= 2 && write_backs >= 2, "{total}");
    }
    let sizes = hub["Mappings"]["Sizes"].as_object().unwrap().keys();
    let allowed = hub["Parameters"]["Concurrency"]["AllowedValues"].as_array().unwrap();
    let allowed: BTreeSet<&str> = allowed.iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(allowed, sizes.map(String::as_str).collect());
}

/// "At least six times the timeout" (Lambda developer guide, "Using Lambda with
/// Amazon SQS"), and an invocation ends before its lease.
#[test]
fn a_message_stays_invisible_for_six_timeouts_and_a_timeout_is_within_the_lease() {
    let hub = template("hub.yaml");
    let lease = Settings::new("long-enough").lease.as_secs();
    let timeouts = hub["Mappings"]["Timeouts"].as_object().unwrap();
    for (timeout, times) in timeouts {
        let timeout: u64 = timeout.parse().unwrap();
        assert!(timeout < lease, "{timeout}");
        assert!(times["Visibility"].as_u64().unwrap() >= 6 * timeout, "{timeout}");
    }
    let allowed = hub["Parameters"]["FunctionTimeout"]["AllowedValues"].as_array().unwrap();
    let allowed: BTreeSet<&str> = allowed.iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(allowed, timeouts.keys().map(String::as_str).collect());
}

#[test]
fn what_cannot_be_recreated_is_retained_when_the_stack_is_deleted() {
    let hub = template("hub.yaml");
    for (id, resource) in resources(&hub) {
        let keeps = ["AWS::DynamoDB::Table", "AWS::S3::Bucket"];
        if keeps.contains(&resource["Type"].as_str().unwrap()) {
            assert_eq!(resource["DeletionPolicy"], "Retain", "{id}");
            assert_eq!(resource["UpdateReplacePolicy"], "Retain", "{id}");
        }
    }
}

/// The metrics of our namespace that an alarm is about.
fn alarm_metrics(alarm: &Value) -> Vec<&str> {
    let properties = &alarm["Properties"];
    if let Some(metric) = properties.get("MetricName") {
        let ours = properties["Namespace"] == NAMESPACE;
        return if ours { vec![metric.as_str().unwrap()] } else { Vec::new() };
    }
    let metrics = properties["Metrics"].as_array().unwrap().iter();
    let named = metrics.filter_map(|metric| {
        if let Some(metric) = metric.pointer("/MetricStat/Metric") {
            return metric["MetricName"].as_str().filter(|_| metric["Namespace"] == NAMESPACE);
        }
        let query = metric["Expression"].as_str()?.strip_prefix("SELECT ")?;
        query.split(['(', ')']).nth(1)
    });
    named.collect()
}

#[test]
fn alarms_and_dashboard_are_about_metrics_that_there_are_and_documented() {
    let page = fs::read_to_string(root().join("docs/monitoring.md")).unwrap();
    let (metrics, rest) = page.split_once("## Alarms").unwrap();
    let (alarms, _) = rest.split_once("## Time").unwrap();
    let documented: BTreeSet<&str> = rows(metrics).flat_map(quoted).collect();
    // The source that writes them has each as a text of its own.
    let source = fs::read_to_string(root().join("hub/function/src/metrics/mod.rs")).unwrap();
    for metric in &documented {
        assert!(source.contains(&format!("\"{metric}\"")), "{metric} is written");
    }
    let monitoring = template("monitoring.yaml");
    let is_alarm = |resource: &&Value| resource["Type"] == "AWS::CloudWatch::Alarm";
    let made: Vec<&Value> = resources(&monitoring).map(|(_, it)| it).filter(is_alarm).collect();
    for metric in made.iter().flat_map(|alarm| alarm_metrics(alarm)) {
        assert!(documented.contains(metric), "{metric}");
    }
    let in_page: BTreeSet<&str> = rows(alarms).flat_map(quoted).collect();
    let name = |alarm: &&Value| alarm["Properties"]["AlarmName"].as_str().unwrap().to_owned();
    let alarms: BTreeSet<String> = made.iter().map(name).collect();
    assert_eq!(alarms, in_page.into_iter().map(str::to_owned).collect());
    let body = monitoring.pointer("/Resources/Dashboard/Properties/DashboardBody/Fn::Sub");
    let body = body.unwrap().as_str().unwrap();
    let _: Value = serde_json::from_str(body).unwrap();
    for metric in documented {
        let shown = [format!("\"{metric}\""), format!("\\\"{metric}\\\"")];
        assert!(shown.iter().any(|it| body.contains(it)), "{metric} is on the dashboard");
    }
}
