//! Reads the EventBridge rules that forward a Region's findings.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_eventbridge::Client;
use firebreak_model::resource::Region;

use crate::aws::call_error::{CallError, to_reading};
use crate::aws::regional;
use crate::coverage::{RULES, Rule};
use crate::setup::Reading;

/// Each rule of stacksets/region.yaml, by name.
pub(super) async fn read_rules(
    config: &SdkConfig,
    region: &Region,
) -> BTreeMap<String, Reading<Rule>> {
    let client = Client::new(&regional(config, region));
    let mut rules = BTreeMap::new();
    for rule in RULES {
        rules.insert(rule.name.to_owned(), to_reading(read_rule(&client, rule.name).await));
    }
    rules
}

async fn read_rule(client: &Client, name: &str) -> Result<Rule, CallError> {
    let output = client.describe_rule().name(name).send().await;
    let rule = match output.map_err(|error| CallError::from_sdk("events:DescribeRule", &error)) {
        Ok(rule) => rule,
        Err(error) if error.has_code("ResourceNotFoundException") => return Ok(Rule::Missing),
        Err(error) => return Err(error),
    };
    // "5 targets a rule" (EventBridge quotas): they fit on one page.
    let output = client.list_targets_by_rule().rule(name).send().await;
    let targets =
        output.map_err(|error| CallError::from_sdk("events:ListTargetsByRule", &error))?;
    Ok(Rule::Present {
        state: rule.state().map_or("unknown", |it| it.as_str()).to_owned(),
        pattern: rule.event_pattern().unwrap_or_default().to_owned(),
        targets: targets.targets().iter().map(|target| target.arn().to_owned()).collect(),
    })
}
