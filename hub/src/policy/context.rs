//! What patterns match: the normalized finding and its target as one event.

use std::collections::BTreeMap;

use firebreak_spoke::resource::{Principal, PrincipalType, ResourceKind};
use serde_json::{Map, Value, json};

use crate::finding::{Finding, Target};
use crate::organization::Place;

/// A target's present tags, as far as they are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// They were read.
    Known(BTreeMap<String, String>),
    /// The kind of target has none that Firebreak can read.
    None,
    /// They could not be read: whatever depends on them refuses.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// Builds the event. `detail` is copied only where a pattern looks at it.
pub(super) fn event(
    finding: &Finding,
    target: &Target,
    place: &Place,
    tags: &Tags,
    with_detail: bool,
) -> Value {
    let resource = &target.resource;
    let mut described = Map::new();
    described.insert("type".to_owned(), json!(resource.type_name()));
    described.insert("arn".to_owned(), json!(resource.arn()));
    described.insert("account".to_owned(), json!(resource.account));
    described.insert("region".to_owned(), json!(resource.region));
    if let Some(role) = target.role {
        described.insert("role".to_owned(), json!(role));
    }
    if let ResourceKind::AccessKey { access_key_id, principal } = &resource.kind {
        described.insert("principal".to_owned(), json!(principal));
        described.insert("accessKeyId".to_owned(), json!(access_key_id));
    }
    let mut event = Map::new();
    let mut put = |name: &str, value: Value| {
        event.insert(name.to_owned(), value);
    };
    put("id", json!(finding.id));
    put("type", json!(finding.kind));
    put("product", json!(finding.product));
    put("severity", json!(finding.severity));
    put("title", json!(finding.title));
    put("account", json!(finding.account));
    put("region", json!(finding.region));
    put("partition", json!(finding.partition));
    put("ouPath", json!(place.ou_path.ids()));
    put("resource", Value::Object(described));
    if let Some(count) = finding.count {
        put("count", json!(count));
    }
    if let Tags::Known(tags) = tags {
        put("tags", json!(tags));
    }
    if with_detail {
        put("detail", finding.detail.clone());
    }
    Value::Object(event)
}

/// The ARN of the user or role behind a target; `Err` where there is one whose
/// name is not known.
pub(super) fn principal_arn(target: &Target) -> Result<Option<String>, &'static str> {
    let resource = &target.resource;
    let (partition, account) = (&resource.partition, &resource.account);
    let arn = |kind: &str, name: &str| format!("arn:{partition}:iam::{account}:{kind}/{name}");
    match &resource.kind {
        ResourceKind::User { name } => Ok(Some(arn("user", name))),
        ResourceKind::Role { name } => Ok(Some(arn("role", name))),
        ResourceKind::AccessKey { principal: Principal { kind, name, .. }, .. } => {
            match (kind, name) {
                (PrincipalType::IamUser, Some(name)) => Ok(Some(arn("user", name))),
                (PrincipalType::AssumedRole | PrincipalType::Role, Some(name)) => {
                    Ok(Some(arn("role", name)))
                }
                (PrincipalType::Root, _) => {
                    Ok(Some(format!("arn:{partition}:iam::{account}:root")))
                }
                (PrincipalType::FederatedUser, Some(name)) => Ok(Some(arn("federated-user", name))),
                _ => Err("the finding does not say whose credentials they are"),
            }
        }
        ResourceKind::Instance { .. }
        | ResourceKind::Bucket { .. }
        | ResourceKind::Other { .. } => Ok(None),
    }
}
