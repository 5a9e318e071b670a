//! The condition keys that a call brings along for one of the permissions that
//! it needs, besides those of its caller: as far as policies of the tests ask.

use serde_json::Value;

use super::Needed;
use crate::ec2::form::Form;
use crate::policy::Context;
use crate::state::State;
use crate::wire::{self, HttpRequest};

/// The keys, lower case, with their values.
pub fn of_request(
    state: &State,
    service: &str,
    operation: &str,
    region: &str,
    request: &HttpRequest,
    needed: &Needed,
) -> Context {
    let mut context = Context::new();
    let mut add = |key: &str, value: String| {
        context.insert(key.to_owned(), vec![value]);
    };
    let Needed { action, resource } = needed;
    // Who is handed the role: the service that is called.
    if action == "iam:PassRole" {
        add("iam:passedtoservice", format!("{service}.amazonaws.com"));
    }
    if service == "iam" {
        let form = Form::new(wire::form(&request.text()));
        if let Some(policy) = form.get("PolicyArn") {
            add("iam:policyarn", policy.to_owned());
        }
    }
    // Present where something is tagged as it is made, and only then (EC2 user
    // guide, "Grant permission to tag EC2 resources during creation").
    if action == "ec2:CreateTags" && operation != "CreateTags" {
        add("ec2:createaction", operation.to_owned());
    }
    // EC2 uses keys in its caller's name, and has grants made to itself (EBS user
    // guide, "Required permissions for EBS encryption").
    if service == "ec2" && action.starts_with("kms:") {
        add("kms:viaservice", format!("ec2.{region}.amazonaws.com"));
        if action == "kms:CreateGrant" {
            add("kms:grantisforawsresource", "true".to_owned());
        }
    }
    if service == "s3" {
        let bucket = state.s3.buckets.get(&crate::router::bucket(request));
        if let Some(bucket) = bucket {
            add("aws:resourceaccount", bucket.account.clone());
        }
    }
    for (key, value) in tags(state, region, resource) {
        add(&format!("aws:resourcetag/{}", key.to_ascii_lowercase()), value.clone());
    }
    match action.as_str() {
        "events:PutEvents" => {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let entries = body.get("Entries").and_then(Value::as_array);
            for (key, name) in [("events:source", "Source"), ("events:detail-type", "DetailType")] {
                let values = entries.into_iter().flatten().filter_map(|entry| entry.get(name));
                let values: Vec<String> =
                    values.filter_map(Value::as_str).map(str::to_owned).collect();
                if !values.is_empty() {
                    context.insert(key.to_owned(), values);
                }
            }
            // "false for a direct publish" (EventBridge user guide, "Conditions").
            context.insert("events:eventbusinvocation".to_owned(), vec!["false".to_owned()]);
        }
        "securityhub:BatchUpdateFindings" => {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            if let Some(status) = body.pointer("/Workflow/Status").and_then(Value::as_str) {
                let key = "securityhub:asffsyntaxpath/workflow.status".to_owned();
                context.insert(key, vec![status.to_owned()]);
            }
        }
        _ => {}
    }
    context
}

/// The tags of a resource of EC2's.
fn tags<'a>(
    state: &'a State,
    region: &str,
    resource: &str,
) -> impl Iterator<Item = (&'a String, &'a String)> {
    let mut parts = resource.splitn(6, ':');
    let (service, account) = (parts.nth(2), parts.nth(1));
    let id = parts.next().and_then(|name| name.split_once('/')).map(|(_, id)| id);
    let account = account.filter(|_| service == Some("ec2"));
    let ec2 = account.and_then(|account| state.accounts.get(account)?.ec2.get(region));
    ec2.zip(id).and_then(|(ec2, id)| ec2.tags.get(id)).into_iter().flatten()
}
