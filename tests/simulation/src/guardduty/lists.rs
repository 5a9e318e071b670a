//! Threat and trusted entity sets: lists of addresses and domains in S3.

use serde_json::{Value, json};

use super::{GuardDuty, Place, bad_request, id};
use crate::wire::ServiceError;

/// What a list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Known malicious.
    Threat,
    /// Believed secure.
    Trusted,
}

/// A set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntitySet {
    /// What it lists.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// `TXT`, …
    pub format: String,
    /// Where the list is.
    pub location: String,
    /// Whether it is in use.
    pub active: bool,
}

/// "Threat entity sets: 6" (GuardDuty user guide, "Quotas"); "At any given time,
/// you can have only one trusted entity set" (API reference,
/// CreateTrustedEntitySet).
fn at_most(kind: Kind) -> usize {
    match kind {
        Kind::Threat => 6,
        Kind::Trusted => 1,
    }
}

/// The operation and the set of a path below a detector's.
pub(super) fn split<'a>(method: &str, rest: &[&'a str]) -> Option<(&'static str, &'a str)> {
    match (method, rest) {
        ("GET", ["threatentityset"]) => Some(("ListThreatEntitySets", "")),
        ("POST", ["threatentityset"]) => Some(("CreateThreatEntitySet", "")),
        ("GET", ["threatentityset", id]) => Some(("GetThreatEntitySet", *id)),
        ("POST", ["threatentityset", id]) => Some(("UpdateThreatEntitySet", *id)),
        ("GET", ["trustedentityset"]) => Some(("ListTrustedEntitySets", "")),
        ("POST", ["trustedentityset"]) => Some(("CreateTrustedEntitySet", "")),
        ("GET", ["trustedentityset", id]) => Some(("GetTrustedEntitySet", *id)),
        ("POST", ["trustedentityset", id]) => Some(("UpdateTrustedEntitySet", *id)),
        _ => None,
    }
}

/// Answers a call about sets; `None` for other calls.
pub(super) fn answer(
    guardduty: &mut GuardDuty,
    place: Place<'_>,
    (operation, set): (&str, &str),
    input: &Value,
) -> Option<Result<Value, ServiceError>> {
    let kind = match operation {
        _ if operation.contains("ThreatEntitySet") => Kind::Threat,
        _ if operation.contains("TrustedEntitySet") => Kind::Trusted,
        _ => return None,
    };
    let members = guardduty.members.get(place.region);
    if members.is_some_and(|members| members.contains_key(place.account)) {
        let why = "only the administrator account can manage entity sets";
        return Some(Err(bad_request(why)));
    }
    let sets = guardduty.entity_sets.entry(place.key()).or_default();
    let text = |name: &str| input.get(name).and_then(Value::as_str).map(str::to_owned);
    let (key, keys) = match kind {
        Kind::Threat => ("threatEntitySetId", "threatEntitySetIds"),
        Kind::Trusted => ("trustedEntitySetId", "trustedEntitySetIds"),
    };
    if operation.starts_with("List") {
        let ids: Vec<&String> =
            sets.iter().filter(|(_, set)| set.kind == kind).map(|(id, _)| id).collect();
        return Some(Ok(json!({ keys: ids })));
    }
    if operation.starts_with("Create") {
        if sets.values().filter(|set| set.kind == kind).count() >= at_most(kind) {
            return Some(Err(bad_request("the account has reached the limit of its sets")));
        }
        let (Some(name), Some(format), Some(location)) =
            (text("name"), text("format"), text("location"))
        else {
            return Some(Err(bad_request("name, format and location are required")));
        };
        let id = id(place.account, &format!("{}/{kind:?}/{name}", place.region));
        let active = input.get("activate") == Some(&json!(true));
        sets.insert(id.clone(), EntitySet { kind, name, format, location, active });
        return Some(Ok(json!({ key: id })));
    }
    let Some(held) = sets.get_mut(set).filter(|set| set.kind == kind) else {
        return Some(Err(bad_request("the set was not found")));
    };
    if operation.starts_with("Update") {
        held.name = text("name").unwrap_or_else(|| held.name.clone());
        held.location = text("location").unwrap_or_else(|| held.location.clone());
        held.active = input.get("activate").and_then(Value::as_bool).unwrap_or(held.active);
        return Some(Ok(json!({})));
    }
    Some(Ok(json!({
        "name": held.name, "format": held.format, "location": held.location,
        "status": if held.active { "ACTIVE" } else { "INACTIVE" },
    })))
}
