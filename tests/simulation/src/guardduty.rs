//! GuardDuty: detectors, and findings as the administrator sees them.
//!
//! One administrator for the whole organization and every Region: its detector
//! in a Region answers for its members' findings there, a member's own detector
//! for the member's alone (GuardDuty user guide, "Managing accounts with AWS
//! Organizations").

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::wire::{HttpRequest, ServiceError};

/// The most finding ids of one call (GuardDuty API reference, GetFindings,
/// ArchiveFindings, UnarchiveFindings).
const IDS_AT_MOST: usize = 50;

/// GuardDuty, for the whole organization.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GuardDuty {
    /// The delegated administrator.
    pub administrator: Option<String>,
    /// Detector ids by account and Region: one each.
    pub detectors: BTreeMap<(String, String), String>,
    /// Findings by the Region of their detector and by id, as GetFindings
    /// answers them: what an event carries as its detail.
    pub findings: BTreeMap<String, BTreeMap<String, Value>>,
}

impl GuardDuty {
    /// Turns GuardDuty on in an account and Region; the detector's id.
    pub fn enable(&mut self, account: &str, region: &str) -> &str {
        let key = (account.to_owned(), region.to_owned());
        let next = self.detectors.len() + 1;
        self.detectors.entry(key).or_insert_with(|| format!("{next:032x}"))
    }

    /// Raises a finding, or brings one up to date; false for one that says no
    /// id or Region.
    pub fn raise(&mut self, finding: &Value) -> bool {
        let (Some(id), Some(region)) = (text(finding, "id"), region(finding)) else { return false };
        self.findings.entry(region).or_default().insert(id, finding.clone());
        true
    }

    /// Whether the service knows a finding.
    pub fn knows(&self, finding: &Value) -> bool {
        let held = region(finding).and_then(|region| self.findings.get(&region));
        text(finding, "id").is_some_and(|id| held.is_some_and(|held| held.contains_key(&id)))
    }

    /// A finding to look at or change, whatever its Region.
    pub fn finding_mut(&mut self, id: &str) -> Option<&mut Value> {
        self.findings.values_mut().find_map(|held| held.get_mut(id))
    }

    fn sees(&self, account: &str, finding: &Value) -> bool {
        self.administrator.as_deref() == Some(account)
            || text(finding, "accountId").as_deref() == Some(account)
    }
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// The Region of the detector, which stands in the finding's ARN: the field
/// `region` can be another for events of global services (GuardDuty API
/// reference, Finding).
fn region(finding: &Value) -> Option<String> {
    let arn = text(finding, "arn").unwrap_or_default();
    let mut parts = arn.split(':').skip(2);
    let of_arn = parts.next().filter(|it| *it == "guardduty").and_then(|_| parts.next());
    of_arn.map(str::to_owned).or_else(|| text(finding, "region"))
}

/// The operation that a method and path name, and the detector of the path.
fn split<'a>(method: &str, path: &'a str) -> Option<(&'static str, &'a str)> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (method, parts.as_slice()) {
        ("GET", ["detector"]) => Some(("ListDetectors", "")),
        ("POST", ["detector", id, "findings", "get"]) => Some(("GetFindings", id)),
        ("POST", ["detector", id, "findings", "archive"]) => Some(("ArchiveFindings", id)),
        ("POST", ["detector", id, "findings", "unarchive"]) => Some(("UnarchiveFindings", id)),
        _ => None,
    }
}

/// The operation that a method and path name; `None` for one that is not modelled.
pub fn operation(method: &str, path: &str) -> Option<&'static str> {
    split(method, path).map(|(operation, _)| operation)
}

/// What a call's permission is about: the detector, or everything for ListDetectors.
pub fn resource(account: &str, region: &str, request: &HttpRequest) -> String {
    match split(&request.method, &request.path) {
        Some((_, detector)) if !detector.is_empty() => {
            format!("arn:aws:guardduty:{region}:{account}:detector/{detector}")
        }
        Some(_) | None => "*".to_owned(),
    }
}

fn bad_request(message: &str) -> ServiceError {
    ServiceError::new(
        400,
        "BadRequestException",
        format!("The request is rejected because {message}."),
    )
}

/// Answers a call that [`operation`] named; `None` for one that is not modelled.
pub fn answer(
    guardduty: &mut GuardDuty,
    (account, region): (&str, &str),
    request: &HttpRequest,
    input: &Value,
) -> Option<Result<Value, ServiceError>> {
    let (operation, detector) = split(&request.method, &request.path)?;
    let own = guardduty.detectors.get(&(account.to_owned(), region.to_owned()));
    if operation == "ListDetectors" {
        let ids: Vec<&String> = own.into_iter().collect();
        return Some(Ok(json!({ "detectorIds": ids })));
    }
    if own.is_none_or(|own| own != detector) {
        let why = "the input detectorId is not owned by the current account";
        return Some(Err(bad_request(why)));
    }
    Some(match ids(input) {
        Ok(ids) => Ok(with_findings(guardduty, (account, region), operation, &ids)),
        Err(refused) => Err(refused),
    })
}

fn ids(input: &Value) -> Result<Vec<String>, ServiceError> {
    let ids = input.get("findingIds").and_then(Value::as_array);
    let ids = ids.ok_or_else(|| bad_request("the parameter findingIds is required but missing"))?;
    let ids: Vec<String> = ids.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if ids.len() > IDS_AT_MOST {
        return Err(bad_request("the parameter findingIds has more than 50 items"));
    }
    Ok(ids)
}

/// Ids that nobody knows, or that the caller may not see, are left out.
fn with_findings(
    guardduty: &mut GuardDuty,
    (account, region): (&str, &str),
    operation: &str,
    ids: &[String],
) -> Value {
    let known: Vec<String> = {
        let held = guardduty.findings.get(region);
        let seen = |id: &&String| {
            let finding = held.and_then(|held| held.get(*id));
            finding.is_some_and(|finding| guardduty.sees(account, finding))
        };
        ids.iter().filter(seen).cloned().collect()
    };
    let Some(held) = guardduty.findings.get_mut(region) else { return json!({ "findings": [] }) };
    if operation == "GetFindings" {
        let found: Vec<&Value> = known.iter().filter_map(|id| held.get(id)).collect();
        return json!({ "findings": found });
    }
    for id in &known {
        let service = held.get_mut(id).and_then(|it| it.get_mut("service"));
        if let Some(service) = service.and_then(Value::as_object_mut) {
            service.insert("archived".to_owned(), json!(operation == "ArchiveFindings"));
        }
    }
    json!({})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_kept_in_the_region_of_its_detector() {
        let mut guardduty = GuardDuty::default();
        let finding = json!({
            "id": "f1", "region": "us-east-1",
            "arn": "arn:aws:guardduty:eu-central-1:111111111111:detector/d/finding/f1",
        });
        assert!(guardduty.raise(&finding));
        assert!(guardduty.knows(&finding));
        assert!(guardduty.findings["eu-central-1"].contains_key("f1"));
        assert!(!guardduty.raise(&json!({ "id": "f2" })));
    }

    #[test]
    fn a_detector_is_one_for_an_account_and_region() {
        let mut guardduty = GuardDuty::default();
        let first = guardduty.enable("111111111111", "eu-central-1").to_owned();
        assert_eq!(guardduty.enable("111111111111", "eu-central-1"), first);
        assert_ne!(guardduty.enable("111111111111", "us-east-1"), first);
    }
}
