//! GuardDuty's finding format, in events, exports and GetFindings.

mod camel_case;
mod targets;

use firebreak_model::resource::{AccountId, Partition, Region};
use serde_json::Value;

use self::camel_case::camel_case;
use self::targets::targets;
use super::product::GUARDDUTY;
use super::sample::is_guardduty_sample;
use super::{EventDetail, Form, FormSpec};
use crate::Rejection;
use crate::fields::{arn, count, first_text, flag, moment, number, text};
use crate::part::PartContext;
use crate::validate::{FieldNames, validate};
use firebreak_model::finding::{Finding, SecurityHubId};

pub(super) use self::targets::ecs_task;

const FIELD_NAMES: &FieldNames =
    &FieldNames { id: "id", kind: "type", severity: "severity", resources: "resource" };

pub(super) const FORM: FormSpec = FormSpec {
    form: Form::GuardDuty,
    recognizes,
    to_finding,
    event_source: "aws.guardduty",
    is_detail_type: |detail_type| detail_type == "GuardDuty Finding",
    detail: EventDetail::Finding,
};

fn recognizes(value: &Value) -> bool {
    let has = |names: &[&str]| names.iter().any(|name| value.get(name).is_some());
    let whole = has(&["type", "Type"])
        && has(&["service", "Service", "resource", "Resource", "severity", "Severity"]);
    whole || (has(&["service", "Service"]) && has(&["resource", "Resource"]))
}

/// GetFindings returns keys in PascalCase.
fn is_pascal_case(value: &Value) -> bool {
    ["Id", "Type", "AccountId", "Resource", "Service"].iter().any(|key| value.get(key).is_some())
        && value.get("type").is_none()
}

fn to_finding(value: &Value, context: &PartContext) -> Result<Finding, Rejection> {
    let mut detail = if is_pascal_case(value) { camel_case(value) } else { value.clone() };
    expand_additional_info(&mut detail);
    let id = text(&detail, &["id"]);
    let context = context.with_id(id.clone());
    let id = id.ok_or_else(|| context.missing("id"))?;
    let kind = text(&detail, &["type"]).ok_or_else(|| context.missing("type"))?;
    if !is_finding_type(&kind) {
        let reason = format!("`{kind}` is not a finding type such as `Recon:EC2/PortProbe`");
        return Err(context.reject(reason, Some("type")));
    }
    let account = text(&detail, &["accountId"]).ok_or_else(|| context.missing("accountId"))?;
    let account = AccountId::as_written(&account)
        .map_err(|error| context.reject(error.to_string(), Some("accountId")))?;
    let arn_text = text(&detail, &["arn"]).unwrap_or_default();
    let parts = arn(&arn_text);
    let regions = [
        text(&detail, &["region"]),
        parts.map(|[_, _, region, ..]| region.to_owned()),
        context.bus_region.clone(),
    ];
    let region = crate::fields::region(regions);
    let partition = text(&detail, &["partition"])
        .or_else(|| parts.map(|[partition, ..]| partition.to_owned()))
        .and_then(|partition| partition.parse().ok())
        .unwrap_or_else(|| Partition::of_region(&region));
    let severity = number(&detail, &["severity"]).ok_or_else(|| context.missing("severity"))?;
    if detail.get("resource").is_none_or(|resource| !resource.is_object()) {
        return Err(context.missing("resource"));
    }
    let resource_type = text(&detail, &["resource", "resourceType"])
        .ok_or_else(|| context.missing("resource.resourceType"))?;
    let security_hub = security_hub(&detail, &arn_text, &partition, &account, &region, &id);
    let finding = Finding {
        targets: targets(&detail, &resource_type, &partition, &account, &region),
        product: GUARDDUTY.to_owned(),
        title: text(&detail, &["title"]).unwrap_or_default(),
        created_at: moment(&detail, &["createdAt"]),
        updated_at: moment(&detail, &["updatedAt"]),
        count: count(&detail, &["service", "count"]),
        sample: is_guardduty_sample(&detail),
        archived: flag(&detail, &["service", "archived"]),
        workflow_status: None,
        id,
        kind,
        severity,
        account,
        region,
        partition,
        security_hub: Some(security_hub),
        detail,
    };
    validate(finding, &context, FIELD_NAMES)
}

/// GetFindings returns the additional information as a JSON string, events have
/// fields as well: policies match fields.
fn expand_additional_info(detail: &mut Value) {
    let Some(info) = detail.pointer_mut("/service/additionalInfo").and_then(Value::as_object_mut)
    else {
        return;
    };
    let text = info.get("value").and_then(Value::as_str);
    let fields = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
    if let Some(Value::Object(fields)) = fields {
        for (key, value) in fields {
            info.entry(key).or_insert(value);
        }
    }
}

/// `ThreatPurpose:ResourceTypeAffected/…` (GuardDuty user guide, "Finding format").
fn is_finding_type(text: &str) -> bool {
    text.split_once(':').is_some_and(|(purpose, rest)| {
        !purpose.is_empty()
            && rest
                .split_once('/')
                .is_some_and(|(resource, name)| !resource.is_empty() && !name.is_empty())
    })
}

/// Security Hub's id of a GuardDuty finding is the finding's ARN.
fn security_hub(
    detail: &Value,
    arn_text: &str,
    partition: &Partition,
    account: &AccountId,
    region: &Region,
    id: &str,
) -> SecurityHubId {
    let detector = first_text(detail, &[&["service", "detectorId"]]).unwrap_or_default();
    let built =
        format!("arn:{partition}:guardduty:{region}:{account}:detector/{detector}/finding/{id}");
    let own = arn(arn_text).is_some_and(|[_, service, _, _, resource]| {
        service == "guardduty" && resource.contains("/finding/")
    });
    SecurityHubId::Asff {
        id: if own { arn_text.to_owned() } else { built },
        product_arn: format!("arn:{partition}:securityhub:{region}::product/aws/guardduty"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finding_types_have_their_three_parts() {
        for kind in
            ["Recon:EC2/PortProbe", "AttackSequence:IAM/X", "Backdoor:EC2/C&CActivity.B!DNS"]
        {
            assert!(is_finding_type(kind), "{kind}");
        }
        for kind in ["foo", "Recon:EC2", ":EC2/x", "IsolateEc2Findings", "Software and Checks/x"] {
            assert!(!is_finding_type(kind), "{kind}");
        }
    }
}
