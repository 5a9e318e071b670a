//! Synthetic findings for policy tests, diff and coverage: what tests and
//! comparisons of policies decide about.

use std::collections::BTreeMap;

use firebreak_model::resource::{AccountId, Partition, Region, Resource, ResourceKind};
use serde_json::Value;

use firebreak_model::finding::{Finding, Target};

/// An account like no other, for a point of the tree that is none itself.
pub(super) const ACCOUNT: &str = "000000000000";

/// The name of whatever has no other.
const NAME: &str = "firebreak-example";

/// A finding about one resource, in that one's account and Region.
pub(super) fn finding(kind: &str, severity: f64, resource: Resource) -> Finding {
    Finding {
        id: "supposed".to_owned(),
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

/// A resource of a type as policies name it. Without an id it has one that no
/// protection is likely to mean; an access key is a user's.
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
