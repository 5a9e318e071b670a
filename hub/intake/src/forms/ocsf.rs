//! OCSF, the finding format of Security Hub ("Findings Imported V2").

use std::collections::BTreeMap;

use firebreak_model::resource::{AccountId, Partition, Region, Resource, ResourceKind};
use serde_json::Value;

use super::product::Product;
use super::sample::has_sample_id;
use super::{EventDetail, Form, FormSpec};
use crate::Rejection;
use crate::fields::{
    arn, elements, first_text, function_name, moment, own_account, own_region, tags, text,
};
use crate::part::PartContext;
use crate::validate::{FieldNames, validate};
use firebreak_model::finding::{Finding, SecurityHubId, Target};

const FIELD_NAMES: &FieldNames = &FieldNames {
    id: "finding_info.uid",
    kind: "finding_info.types",
    severity: "severity_id",
    resources: "resources",
};

pub(super) const FORM: FormSpec = FormSpec {
    form: Form::Ocsf,
    recognizes,
    to_finding,
    event_source: "aws.securityhub",
    is_detail_type: |detail_type| detail_type == "Findings Imported V2",
    detail: EventDetail::Findings,
};

fn recognizes(value: &Value) -> bool {
    value.get("class_uid").is_some() || value.get("finding_info").is_some()
}

fn to_finding(value: &Value, context: &PartContext) -> Result<Finding, Rejection> {
    let uid = first_text(value, &[&["finding_info", "uid"], &["metadata", "uid"]]);
    let context = context.with_id(uid.clone());
    let uid = uid.ok_or_else(|| context.missing("finding_info.uid"))?;
    let account = text(value, &["cloud", "account", "uid"])
        .ok_or_else(|| context.missing("cloud.account.uid"))?;
    let account = AccountId::as_written(&account)
        .map_err(|error| context.reject(error.to_string(), Some("cloud.account.uid")))?;
    let regions = [text(value, &["cloud", "region"]), context.bus_region.clone()];
    let region = crate::fields::region(regions);
    let product_uid = text(value, &["metadata", "product", "uid"]).unwrap_or_default();
    let partition = text(value, &["cloud", "cloud_partition"])
        .or_else(|| arn(&product_uid).map(|[partition, ..]| partition.to_owned()))
        .and_then(|partition| partition.parse().ok())
        .unwrap_or_else(|| Partition::of_region(&region));
    let product = Product::of(&product_uid, text(value, &["cloud", "region"]).as_deref());
    let types = elements(value, &["finding_info", "types"]).into_iter().filter_map(Value::as_str);
    let others = [&["compliance", "control"][..], &["finding_info", "title"][..]];
    let others = others.iter().filter_map(|path| text(value, path));
    let mut claimed = types.map(str::to_owned).chain(others).peekable();
    claimed.peek().ok_or_else(|| context.missing("finding_info.types"))?;
    let kind = claimed.find(|kind| product.may_claim(kind)).unwrap_or_else(|| product.name(None));
    let severity = severity(value).ok_or_else(|| context.missing("severity_id"))?;
    let archived = text(value, &["status"])
        .is_some_and(|status| matches!(status.as_str(), "Suppressed" | "Archived" | "Resolved"));
    let title = text(value, &["finding_info", "title"]).unwrap_or_default();
    let finding = Finding {
        id: match uid.rsplit_once("/finding/") {
            Some((_, id)) if product.is_guardduty() => id.to_owned(),
            _ => uid,
        },
        product: product.name(text(value, &["metadata", "product", "name"])),
        kind,
        severity,
        sample: title.starts_with("[SAMPLE]") || value.get("resources").is_some_and(has_sample_id),
        title,
        created_at: first_moment(value, &["created_time_dt", "created_time"]),
        updated_at: first_moment(value, &["modified_time_dt", "modified_time"]),
        count: crate::fields::count(value, &["count"]),
        archived,
        workflow_status: workflow_status(value),
        // `finding_info.uid` is the product's id, `metadata.uid` is Security Hub's.
        security_hub: text(value, &["metadata", "uid"])
            .map(|metadata_uid| SecurityHubId::Ocsf { metadata_uid }),
        targets: targets(value, &partition, &account, &region),
        account,
        region,
        partition,
        detail: value.clone(),
    };
    validate(finding, &context, FIELD_NAMES)
}

/// Security Hub's workflow status for OCSF's `status_id`, or for the caption where
/// there is no id (OCSF schema, Detection Finding, `status_id`). Policies match it,
/// and it keeps Firebreak from reacting to its own updates.
fn workflow_status(value: &Value) -> Option<String> {
    let status = match (crate::fields::count(value, &["status_id"]), text(value, &["status"])) {
        (Some(1), _) => "NEW",
        (Some(2), _) => "NOTIFIED",
        (Some(3), _) => "SUPPRESSED",
        (Some(4), _) => "RESOLVED",
        (None, Some(caption)) => match caption.as_str() {
            "New" => "NEW",
            "In Progress" => "NOTIFIED",
            "Suppressed" => "SUPPRESSED",
            "Resolved" => "RESOLVED",
            _ => return None,
        },
        (_, _) => return None,
    };
    Some(status.to_owned())
}

fn first_moment(value: &Value, names: &[&str]) -> Option<jiff::Timestamp> {
    names.iter().find_map(|name| moment(value, &["finding_info", name]))
}

/// `severity_id` 1 to 6, Informational to Fatal, as the middle of GuardDuty's bands.
fn severity(value: &Value) -> Option<f64> {
    match crate::fields::count(value, &["severity_id"])? {
        0 | 1 => Some(0.0),
        2 => Some(2.0),
        3 => Some(5.0),
        4 => Some(8.0),
        5 => Some(9.5),
        6 => Some(10.0),
        _ => None,
    }
}

fn targets(
    value: &Value,
    partition: &Partition,
    account: &AccountId,
    region: &Region,
) -> Vec<Target> {
    elements(value, &["resources"])
        .into_iter()
        .map(|resource| {
            let uid = text(resource, &["uid"]);
            let name = text(resource, &["type"]).unwrap_or_else(|| "unknown".to_owned());
            let parts = uid.as_deref().and_then(arn);
            let owner = text(resource, &["owner", "account", "uid"])
                .or_else(|| parts.map(|[_, _, _, account, _]| account.to_owned()));
            let last = uid.as_deref().map(|uid| uid.rsplit(['/', ':']).next().unwrap_or(uid));
            let kind = match (name.as_str(), last.filter(|last| !last.is_empty())) {
                ("AWS::EC2::Instance" | "AwsEc2Instance", Some(last)) => {
                    ResourceKind::Instance { instance_id: last.to_owned() }
                }
                ("AWS::S3::Bucket" | "AwsS3Bucket", Some(last)) => {
                    ResourceKind::Bucket { name: last.to_owned() }
                }
                ("AWS::IAM::User" | "AwsIamUser", Some(last)) => {
                    ResourceKind::User { name: last.to_owned() }
                }
                ("AWS::IAM::Role" | "AwsIamRole", Some(last)) => {
                    ResourceKind::Role { name: last.to_owned() }
                }
                ("AWS::RDS::DBInstance" | "AwsRdsDbInstance", Some(last)) => {
                    ResourceKind::DbInstance { identifier: last.to_owned() }
                }
                ("AWS::RDS::DBCluster" | "AwsRdsDbCluster", Some(last)) => {
                    ResourceKind::DbCluster { identifier: last.to_owned() }
                }
                ("AWS::Lambda::Function" | "AwsLambdaFunction", Some(_)) => {
                    let name = function_name(uid.as_deref().unwrap_or_default());
                    ResourceKind::Function { name }
                }
                ("AWS::ECS::Cluster" | "AwsEcsCluster", Some(last)) => {
                    let cluster = last.to_owned();
                    ResourceKind::EcsCluster { cluster, task: None, service: None }
                }
                ("AWS::EKS::Cluster" | "AwsEksCluster", Some(last)) => {
                    let name = last.to_owned();
                    ResourceKind::EksCluster { name, workload: None, username: None }
                }
                _ => ResourceKind::Other { name, id: uid.clone() },
            };
            let resource_ = Resource {
                partition: partition.clone(),
                account: own_account(owner, account),
                region: own_region(text(resource, &["region"]), region),
                kind,
            };
            let tags: BTreeMap<String, String> = tags(resource, &["tags"]);
            Target { resource: resource_, role: None, tags }
        })
        .collect()
}
