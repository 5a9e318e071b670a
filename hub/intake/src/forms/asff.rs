//! ASFF, the finding format of Security Hub CSPM, in events, GetFindings and imports.

use std::collections::BTreeMap;

use firebreak_model::resource::{
    AccountId, Partition, Principal, PrincipalType, Region, Resource, ResourceKind,
};
use serde_json::Value;

use super::guardduty::ecs_task;
use super::product::Product;
use super::sample::has_sample_id;
use super::{EventDetail, Form, FormSpec};
use crate::Rejection;
use crate::fields::{
    arn, at, elements, first_text, flag, function_name, moment, number, own_account, own_region,
    tags, text,
};
use crate::part::PartContext;
use crate::validate::{FieldNames, validate};
use firebreak_model::finding::{Finding, ResourceRole, SecurityHubId, Target};

const FIELD_NAMES: &FieldNames =
    &FieldNames { id: "Id", kind: "Types", severity: "Severity", resources: "Resources" };

pub(super) const FORM: FormSpec = FormSpec {
    form: Form::Asff,
    recognizes,
    to_finding,
    event_source: "aws.securityhub",
    // `… - Imported`, `… - Custom Action`; older exports have neither.
    is_detail_type: |detail_type| detail_type.starts_with("Security Hub Findings"),
    detail: EventDetail::Findings,
};

fn recognizes(value: &Value) -> bool {
    text(value, &["SchemaVersion"]).is_some_and(|version| version == "2018-10-08")
        || value.get("ProductArn").is_some()
        || value.get("AwsAccountId").is_some()
}

fn to_finding(value: &Value, context: &PartContext) -> Result<Finding, Rejection> {
    let asff_id = text(value, &["Id"]);
    let context = context.with_id(asff_id.clone());
    let asff_id = asff_id.ok_or_else(|| context.missing("Id"))?;
    let product_arn = text(value, &["ProductArn"]).ok_or_else(|| context.missing("ProductArn"))?;
    let account = text(value, &["AwsAccountId"]).ok_or_else(|| context.missing("AwsAccountId"))?;
    let account = AccountId::as_written(&account)
        .map_err(|error| context.reject(error.to_string(), Some("AwsAccountId")))?;
    let of_arn = |text: &str| arn(text).map(|[_, _, region, ..]| region.to_owned());
    let region = crate::fields::region([
        text(value, &["Region"]),
        text(value, &["Resources", "Region"]),
        of_arn(&asff_id),
        of_arn(&product_arn),
        context.bus_region.clone(),
    ]);
    let partition = arn(&product_arn)
        .and_then(|[partition, ..]| partition.parse().ok())
        .unwrap_or_else(|| Partition::of_region(&region));
    let product = Product::of(&product_arn, text(value, &["Region"]).as_deref());
    let guardduty = product.is_guardduty();
    let kind = kind(value, &product).ok_or_else(|| context.missing("Types"))?;
    let severity = severity(value, guardduty).ok_or_else(|| context.missing("Severity"))?;
    let status = |path: &[&str], word: &str| text(value, path).is_some_and(|it| it == word);
    let home = Home { partition: &partition, account: &account, region: &region };
    // Another product could write GuardDuty's fields: read them from GuardDuty only.
    let fields = at(value, &["ProductFields"]).filter(|_| guardduty).unwrap_or(&Value::Null);
    let mut targets = targets(value, fields, &home);
    if !product.is_aws() {
        // A finding that one account imported must not act on another account.
        targets.retain(|target| target.resource.account == account);
    }
    let finding = Finding {
        id: match asff_id.rsplit_once("/finding/") {
            Some((_, id)) if guardduty => id.to_owned(),
            _ => asff_id.clone(),
        },
        product: product.name(first_text(
            value,
            &[&["ProductName"], &["ProductFields", "aws/securityhub/ProductName"]],
        )),
        kind,
        severity,
        title: text(value, &["Title"]).unwrap_or_default(),
        created_at: moment(value, &["CreatedAt"]),
        updated_at: moment(value, &["UpdatedAt"]),
        count: crate::fields::count(fields, &["aws/guardduty/service/count"]),
        sample: flag(value, &["Sample"])
            || text(value, &["Title"]).is_some_and(|title| title.starts_with("[SAMPLE]"))
            || at(value, &["Resources"]).is_some_and(has_sample_id),
        archived: status(&["RecordState"], "ARCHIVED")
            || status(&["Workflow", "Status"], "SUPPRESSED"),
        workflow_status: text(value, &["Workflow", "Status"]),
        security_hub: Some(SecurityHubId::Asff { id: asff_id, product_arn }),
        targets,
        account: account.clone(),
        region: region.clone(),
        partition: partition.clone(),
        detail: value.clone(),
    };
    validate(finding, &context, FIELD_NAMES)
}

/// The finding type. In `Types` a type of GuardDuty's is written as
/// `TTPs/Initial Access/UnauthorizedAccess:EC2-SSHBruteForce`: the dash after
/// the resource was a slash (Security Hub user guide, "GuardDuty integration").
/// A product that is not AWS's cannot claim a type that looks like GuardDuty's:
/// the product's name replaces it.
fn kind(value: &Value, product: &Product) -> Option<String> {
    let types: Vec<&str> = [&["Types"][..], &["FindingProviderFields", "Types"][..]]
        .iter()
        .flat_map(|path| elements(value, path))
        .filter_map(Value::as_str)
        .collect();
    if product.is_guardduty() {
        for kind in &types {
            let last = kind.rsplit('/').next().unwrap_or(kind);
            if let Some((purpose, rest)) = last.split_once(':')
                && let Some((resource, name)) = rest.split_once('-')
            {
                return Some(format!("{purpose}:{resource}/{name}"));
            }
            if let Some(at) = kind.find(':') {
                // The type still has its slash: `…/Recon:EC2/PortProbe`.
                let start = kind.get(..at).and_then(|it| it.rfind('/')).map_or(0, |it| it + 1);
                return kind.get(start..).map(str::to_owned);
            }
        }
    }
    let others = [&["GeneratorId"][..], &["Compliance", "SecurityControlId"][..]];
    let others = others.iter().filter_map(|path| text(value, path));
    let mut claimed = types.iter().map(|kind| (*kind).to_owned()).chain(others).peekable();
    claimed.peek()?;
    Some(claimed.find(|kind| product.may_claim(kind)).unwrap_or_else(|| product.name(None)))
}

fn severity(value: &Value, guardduty: bool) -> Option<f64> {
    // GuardDuty's severity, where Security Hub kept it.
    let original = first_number(
        value,
        &[
            &["ProductFields", "aws/guardduty/service/severity"],
            &["FindingProviderFields", "Severity", "Original"],
            &["Severity", "Original"],
            &["Severity", "Product"],
        ],
    );
    if guardduty && let Some(original) = original.filter(|it| (1.0..=10.0).contains(it)) {
        return Some(original);
    }
    let label = first_text(
        value,
        &[&["Severity", "Label"], &["FindingProviderFields", "Severity", "Label"]],
    );
    // The middle of each of GuardDuty's bands.
    let by_label = label.and_then(|label| match label.to_uppercase().as_str() {
        "INFORMATIONAL" => Some(0.0),
        "LOW" => Some(2.0),
        "MEDIUM" => Some(5.0),
        "HIGH" => Some(8.0),
        "CRITICAL" => Some(9.5),
        _ => None,
    });
    number(value, &["Severity", "Normalized"]).map(|it| it / 10.0).or(by_label)
}

fn first_number(value: &Value, paths: &[&[&str]]) -> Option<f64> {
    paths.iter().find_map(|path| number(value, path))
}

#[derive(Clone, Copy)]
struct Home<'a> {
    partition: &'a Partition,
    account: &'a AccountId,
    region: &'a Region,
}

/// `fields` are the trusted product fields.
fn targets(value: &Value, fields: &Value, home: &Home<'_>) -> Vec<Target> {
    let role = match text(fields, &["aws/guardduty/service/resourceRole"]).as_deref() {
        Some("ACTOR") => Some(ResourceRole::Actor),
        Some("TARGET") => Some(ResourceRole::Target),
        _ => None,
    };
    let mut targets: Vec<Target> = Vec::new();
    for resource in elements(value, &["Resources"]) {
        let id = text(resource, &["Id"]).unwrap_or_default();
        let parts = arn(&id);
        let region = own_region(text(resource, &["Region"]), home.region);
        let written = parts.map(|[_, _, _, account, _]| account.to_owned());
        let account = own_account(written, home.account);
        let partition = first_text(resource, &[&["Partition"]]).and_then(|it| it.parse().ok());
        let kind = kind_of(resource, &id, fields);
        let role = match &kind {
            ResourceKind::Instance { .. } | ResourceKind::Bucket { .. } => role,
            ResourceKind::AccessKey { .. }
            | ResourceKind::User { .. }
            | ResourceKind::Role { .. }
            | ResourceKind::DbInstance { .. }
            | ResourceKind::DbCluster { .. }
            | ResourceKind::Function { .. }
            | ResourceKind::EcsCluster { .. }
            | ResourceKind::EksCluster { .. }
            | ResourceKind::Other { .. } => role.filter(|_| targets.is_empty()),
        };
        let resource_ = Resource {
            partition: partition.unwrap_or_else(|| home.partition.clone()),
            account,
            region,
            kind,
        };
        let tags: BTreeMap<String, String> = tags(resource, &["Tags"]);
        targets.push(Target { resource: resource_, role, tags });
    }
    targets
}

fn kind_of(resource: &Value, id: &str, fields: &Value) -> ResourceKind {
    let name = text(resource, &["Type"]).unwrap_or_else(|| "unknown".to_owned());
    let last = id.rsplit(['/', ':']).next().unwrap_or(id).to_owned();
    if last.is_empty() {
        return ResourceKind::Other { name, id: None };
    }
    match name.as_str() {
        "AwsEc2Instance" => ResourceKind::Instance { instance_id: last },
        "AwsS3Bucket" => ResourceKind::Bucket { name: last },
        "AwsIamUser" => ResourceKind::User { name: last },
        "AwsIamRole" => ResourceKind::Role { name: last },
        "AwsIamAccessKey" => access_key(resource, &last, fields),
        "AwsRdsDbInstance" => ResourceKind::DbInstance { identifier: last },
        "AwsRdsDbCluster" => ResourceKind::DbCluster { identifier: last },
        "AwsLambdaFunction" => ResourceKind::Function { name: function_name(id) },
        "AwsEcsCluster" => ResourceKind::EcsCluster { cluster: last, task: None, service: None },
        "AwsEcsTask" => ecs_task(id, None),
        "AwsEksCluster" => ResourceKind::EksCluster { name: last, workload: None, username: None },
        _ => ResourceKind::Other { name, id: Some(id.to_owned()) },
    }
}

fn access_key(resource: &Value, last: &str, fields: &Value) -> ResourceKind {
    let details = at(resource, &["Details", "AwsIamAccessKey"]).unwrap_or(&Value::Null);
    let kind = text(details, &["PrincipalType"])
        .or_else(|| text(fields, &["aws/guardduty/service/userType"]));
    let principal = Principal {
        kind: PrincipalType::named(kind.as_deref().unwrap_or("unknown")),
        name: first_text(details, &[&["PrincipalName"], &["UserName"]]),
        id: text(details, &["PrincipalId"]),
    };
    let is_key = |id: &String| id.starts_with("AKIA") || id.starts_with("ASIA");
    let access_key_id = text(details, &["AccessKeyId"]).or(Some(last.to_owned()).filter(is_key));
    ResourceKind::AccessKey { access_key_id, principal }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn guardduty_s_type_is_restored_at_the_first_dash_of_its_last_part() {
        for (written, expected) in [
            (
                "TTPs/Initial Access/UnauthorizedAccess:EC2-SSHBruteForce",
                "UnauthorizedAccess:EC2/SSHBruteForce",
            ),
            (
                "TTPs/Command and Control/Backdoor:EC2-C&CActivity.B!DNS",
                "Backdoor:EC2/C&CActivity.B!DNS",
            ),
            (
                "Effects/Data Exposure/Policy:S3-BucketBlockPublicAccessDisabled",
                "Policy:S3/BucketBlockPublicAccessDisabled",
            ),
            ("TTPs/Discovery/Recon:EC2/PortProbe", "Recon:EC2/PortProbe"),
        ] {
            let finding = json!({ "Types": [written] });
            assert_eq!(kind(&finding, &Product::GuardDuty).as_deref(), Some(expected));
        }
    }

    #[test]
    fn another_product_cannot_claim_a_type_that_looks_like_guardduty_s() {
        let custom = Product::Custom("111111111111/default".to_owned());
        for (finding, expected) in [
            (json!({ "Types": ["Backdoor:EC2/C&CActivity.B"] }), "111111111111/default"),
            (json!({ "Types": ["TTPs/X/Backdoor:EC2-C&CActivity.B"] }), "111111111111/default"),
            (json!({ "Types": ["a:EC2/b", "Unusual Behaviors"] }), "Unusual Behaviors"),
            (json!({ "Types": ["a:EC2/b"], "GeneratorId": "my-scanner" }), "my-scanner"),
            (json!({ "Types": [], "GeneratorId": "Recon:EC2/x" }), "111111111111/default"),
        ] {
            assert_eq!(kind(&finding, &custom).as_deref(), Some(expected), "{finding}");
        }
        assert_eq!(kind(&json!({}), &custom), None);
    }

    #[test]
    fn severity_is_guardduty_s_own_where_it_was_kept() {
        let check = |finding: Value, expected| assert_eq!(severity(&finding, true), expected);
        check(json!({ "Severity": { "Product": 8, "Normalized": 60 } }), Some(8.0));
        check(json!({ "Severity": { "Label": "HIGH", "Original": "7.5" } }), Some(7.5));
        check(json!({ "Severity": { "Normalized": 70 } }), Some(7.0));
        check(json!({ "Severity": { "Label": "CRITICAL" } }), Some(9.5));
        check(json!({}), None);
    }
}
