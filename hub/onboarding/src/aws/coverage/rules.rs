//! The rules that forward a Region's findings, as EventBridge has them.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_eventbridge::Client;
use firebreak_model::resource::Region;

use crate::aws::setup::regional;
use crate::aws::setup::trouble::{Trouble, seen, trouble};
use crate::coverage::{RULES, Rule};
use crate::setup::Reading;

/// Each rule of stacksets/region.yaml, by name.
pub(super) async fn read(config: &SdkConfig, region: &Region) -> BTreeMap<String, Reading<Rule>> {
    let client = Client::new(&regional(config, region));
    let mut rules = BTreeMap::new();
    for rule in RULES {
        rules.insert(rule.name.to_owned(), seen(one(&client, rule.name).await));
    }
    rules
}

async fn one(client: &Client, name: &str) -> Result<Rule, Trouble> {
    let answer = client.describe_rule().name(name).send().await;
    let rule = match answer.map_err(|error| trouble("events:DescribeRule", &error)) {
        Ok(rule) => rule,
        Err(trouble) if trouble.has_code("ResourceNotFoundException") => return Ok(Rule::Missing),
        Err(trouble) => return Err(trouble),
    };
    // "5 targets a rule" (EventBridge quotas): one page has them all.
    let answer = client.list_targets_by_rule().rule(name).send().await;
    let targets = answer.map_err(|error| trouble("events:ListTargetsByRule", &error))?;
    Ok(Rule::There {
        state: rule.state().map_or("unknown", |it| it.as_str()).to_owned(),
        pattern: rule.event_pattern().unwrap_or_default().to_owned(),
        targets: targets.targets().iter().map(|target| target.arn().to_owned()).collect(),
    })
}
