//! Deep links into AWS's consoles. The reader must be signed in to the account of the
//! link.
//!
//! Sources: GuardDuty user guide, "Creating custom responses … with EventBridge" (the
//! finding's link); each service's console for the others, which AWS does not promise
//! to keep. A resource's page is in the table of resource kinds.

use firebreak_model::resource::{Partition, Resource};
use firebreak_model::text::percent_encoded as encode;

use crate::record::FindingSummary;

/// The address of a partition's console; `None` if AWS publishes none.
fn console(partition: &Partition) -> Option<&'static str> {
    match partition.as_str() {
        "aws" => Some("https://console.aws.amazon.com"),
        "aws-us-gov" => Some("https://console.amazonaws-us-gov.com"),
        "aws-cn" => Some("https://console.amazonaws.cn"),
        "aws-eusc" => Some("https://console.amazonaws-eusc.eu"),
        _ => None,
    }
}

/// The finding in GuardDuty's console, for one of GuardDuty's.
pub(super) fn guardduty(partition: &Partition, finding: &FindingSummary) -> Option<String> {
    if finding.product != "GuardDuty" {
        return None;
    }
    let (console, region) = (console(partition)?, &finding.region);
    let id = encode(&finding.id);
    Some(format!("{console}/guardduty/home?region={region}#/findings?search=id%3D{id}"))
}

/// The finding in Security Hub's console, for one that Security Hub may know.
pub(super) fn security_hub(partition: &Partition, finding: &FindingSummary) -> Option<String> {
    let id = finding.security_hub.as_ref()?.id();
    let (console, region) = (console(partition)?, &finding.region);
    // The console's own way to write `Id = <id>`: encoded twice.
    let id = encode(&encode(id));
    Some(format!(
        "{console}/securityhub/home?region={region}#/findings?search=Id%3D%255Coperator%255C%253AEQUALS%255C%253A{id}"
    ))
}

/// The resource in its service's console.
pub(super) fn resource(resource: &Resource) -> Option<String> {
    Some(format!("{}/{}", console(&resource.partition)?, resource.console_path()?))
}
