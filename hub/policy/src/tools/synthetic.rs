//! Synthetic findings, for policy tests, diff and coverage to decide about.

use std::collections::BTreeMap;

use firebreak_model::resource::{AccountId, Partition, Region, Resource, ResourceKind};
use serde_json::Value;

use firebreak_model::finding::{Finding, Target};

/// The account of findings at a point of the tree that is not an account itself.
pub(super) const ACCOUNT: &str = "000000000000";

/// The name of a resource for which the caller has no name.
const NAME: &str = "firebreak-example";

/// A finding about one resource, in the resource's account and Region.
pub(super) fn finding(kind: &str, severity: f64, resource: Resource) -> Finding {
    Finding {
        id: "synthetic".to_owned(),
        product: "GuardDuty".to_owned(),
        kind: kind.to_owned(),
        severity,
        title: String::new(),
        account: resource.account.clone(),
        region: resource.region.clone(),
        partition: resource.partition.clone(),
        created_at: None,
        updated_at: None,
        count: None,
        sample: false,
        archived: false,
        workflow_status: None,
        security_hub: None,
        targets: vec![Target { resource, role: None, tags: BTreeMap::new() }],
        detail: Value::Null,
    }
}

/// A resource of a type as policies name it. Without an id it gets one that no protection
/// is likely to match. An access key belongs to a user.
pub(super) fn resource(
    resource_type: &str,
    id: Option<&str>,
    account: &AccountId,
    region: &Region,
) -> Resource {
    Resource {
        partition: Partition::of_region(region),
        account: account.clone(),
        region: region.clone(),
        kind: ResourceKind::named(resource_type, id, NAME),
    }
}
