//! The templates grant what the actions declare, and no more.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use firebreak_spoke::actions::{self, Reversal};
use firebreak_spoke::tags;
use serde_json::Value;

fn template() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../stacksets/spoke.yaml");
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn granted(template: &Value) -> Vec<(String, Value)> {
    let policies = template.pointer("/Resources/SpokeRole/Properties/Policies").unwrap();
    let statements = policies.as_array().unwrap().iter().flat_map(|policy| {
        policy.pointer("/PolicyDocument/Statement").unwrap().as_array().unwrap()
    });
    statements
        .flat_map(|statement| {
            let actions = statement["Action"].as_array().unwrap();
            actions.iter().map(|action| (action.as_str().unwrap().to_owned(), statement.clone()))
        })
        .collect()
}

#[test]
fn the_spoke_role_has_exactly_the_permissions_that_the_actions_declare() {
    let declared: BTreeSet<String> = actions::all()
        .iter()
        .flat_map(|entry| entry.about.reads.iter().chain(entry.about.writes))
        .chain(tags::READS)
        .map(|action| (*action).to_owned())
        .collect();
    let granted = granted(&template());
    let names: BTreeSet<String> = granted.iter().map(|(action, _)| action.clone()).collect();
    let (missing, extra): (Vec<_>, Vec<_>) =
        (declared.difference(&names).collect(), names.difference(&declared).collect());
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, extra {extra:?}");
    assert_eq!(granted.len(), names.len(), "no permission is granted twice");
}

#[test]
fn the_spoke_role_trusts_the_hub_s_role_of_the_organization_with_the_external_id() {
    let template = template();
    let trust = template
        .pointer("/Resources/SpokeRole/Properties/AssumeRolePolicyDocument/Statement")
        .unwrap();
    let statement = &trust.as_array().unwrap().first().unwrap();
    let condition = &statement["Condition"];
    assert!(condition.pointer("/ArnEquals/aws:PrincipalArn").is_some());
    assert!(condition.pointer("/StringEquals/aws:PrincipalOrgID").is_some());
    assert!(condition.pointer("/StringEquals/sts:ExternalId").is_some());
}

/// An instance profile's role to EC2, a replication's to S3, an automation's to
/// Systems Manager.
#[test]
fn roles_are_passed_to_three_services_only() {
    let granted = granted(&template());
    let (_, statement) = granted.iter().find(|(action, _)| action == "iam:PassRole").unwrap();
    let services = statement.pointer("/Condition/StringEquals/iam:PassedToService").unwrap();
    let expected =
        ["ec2.amazonaws.com", "ec2.amazonaws.com.cn", "s3.amazonaws.com", "ssm.amazonaws.com"];
    assert_eq!(*services, serde_json::json!(expected));
}

/// "Role inline policies: 10,240 characters in all, without white space" (IAM
/// and STS quotas).
#[test]
fn the_spoke_role_s_inline_policies_fit_iam_s_limit() {
    let template = template();
    let policies = template.pointer("/Resources/SpokeRole/Properties/Policies").unwrap();
    let size: usize = policies
        .as_array()
        .unwrap()
        .iter()
        .map(|policy| policy["PolicyDocument"].to_string().len())
        .sum();
    println!("inline policies of the spoke role: {size} of 10240 characters");
    assert!(size <= 10_240, "{size}");
}

/// The README's table of actions is the program's; "UPDATE=1 cargo test" rewrites it.
#[test]
fn the_readme_s_table_of_actions_is_the_program_s() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once("<!-- actions -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- /actions -->").unwrap();
    let mut table = "| action | acts on | what it does | undo |\n|---|---|---|---|\n".to_owned();
    for entry in actions::all() {
        let about = &entry.about;
        let undo = match about.reversal {
            Reversal::Restored => "yes",
            Reversal::Kept => "nothing to put back",
            Reversal::Impossible => "no",
        };
        let types = about.resource_types.join(", ");
        let row = format!("| `{}` | {types} | {} | {undo} |\n", about.name, about.sentence);
        table.push_str(&row);
    }
    let now = format!("{before}<!-- actions -->\n{table}<!-- /actions -->{after}");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &now).unwrap();
    }
    assert!(readme == now || std::env::var_os("UPDATE").is_some(), "run UPDATE=1 cargo test");
}
