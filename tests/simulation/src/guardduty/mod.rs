//! GuardDuty: detectors, and findings as the administrator sees them; how an
//! organization is set up is in `organization`, lists are in `lists`.
//!
//! The administrator's detector in a Region answers for its members' findings
//! there, a member's own detector for the member's alone (GuardDuty user guide,
//! "Managing accounts with AWS Organizations").

mod detectors;
mod lists;
mod organization;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::state::State;
use crate::wire::{HttpRequest, ServiceError};

pub use detectors::{Detector, FEATURES};
pub use lists::{EntitySet, Kind};
pub use organization::{Configuration, Member};

/// The most finding ids of one call (GuardDuty API reference, GetFindings,
/// ArchiveFindings, UnarchiveFindings).
const IDS_AT_MOST: usize = 50;

/// GuardDuty, for the whole organization.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GuardDuty {
    /// The delegated administrator of every Region that `administrators` does
    /// not name.
    pub administrator: Option<String>,
    /// The delegated administrator by Region.
    pub administrators: BTreeMap<String, String>,
    /// Whether a designation leaves GuardDuty off in the administrator's
    /// account, where the user guide says that it is turned on.
    pub designation_leaves_off: bool,
    /// Detector ids by account and Region: one each.
    pub detectors: BTreeMap<(String, String), String>,
    /// What a detector is set to, by account and Region.
    pub settings: BTreeMap<(String, String), Detector>,
    /// What an administrator's members are given, by Region.
    pub configurations: BTreeMap<String, Configuration>,
    /// The administrator's members, by Region and account.
    pub members: BTreeMap<String, BTreeMap<String, Member>>,
    /// Features that a Region does not offer.
    pub not_offered: BTreeSet<(String, String)>,
    /// Entity sets by account, Region and id.
    pub entity_sets: BTreeMap<(String, String), BTreeMap<String, EntitySet>>,
    /// Findings by the Region of their detector and by id, as GetFindings
    /// answers them: what an event carries as its detail.
    pub findings: BTreeMap<String, BTreeMap<String, Value>>,
}

impl GuardDuty {
    /// Turns GuardDuty on in an account and Region; the detector's id.
    pub fn enable(&mut self, account: &str, region: &str) -> &str {
        let key = (account.to_owned(), region.to_owned());
        self.settings.entry(key.clone()).or_default();
        self.detectors.entry(key).or_insert_with(|| id(account, region))
    }

    /// The delegated administrator of a Region.
    pub fn administrator_in(&self, region: &str) -> Option<&str> {
        self.administrators.get(region).or(self.administrator.as_ref()).map(String::as_str)
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

    fn sees(&self, (account, region): (&str, &str), finding: &Value) -> bool {
        self.administrator_in(region) == Some(account)
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

/// An id of 32 digits that is the same each time: 128 bits of FNV-1a.
fn id(account: &str, what: &str) -> String {
    let prime: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let start: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    let bytes = account.bytes().chain(*b"/").chain(what.bytes());
    let hash = bytes.fold(start, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(prime));
    format!("{hash:032x}")
}

/// A request's path, taken apart.
struct Route<'a> {
    operation: &'static str,
    /// The detector of the path; empty where it names none.
    detector: &'a str,
    /// The set of the path; empty where it names none.
    set: &'a str,
}

fn split<'a>(method: &str, path: &'a str) -> Option<Route<'a>> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (operation, detector, set) = match (method, parts.as_slice()) {
        ("GET", ["detector"]) => ("ListDetectors", "", ""),
        ("POST", ["detector"]) => ("CreateDetector", "", ""),
        ("GET", ["detector", id]) => ("GetDetector", *id, ""),
        ("POST", ["detector", id]) => ("UpdateDetector", *id, ""),
        ("POST", ["detector", id, "findings", "get"]) => ("GetFindings", *id, ""),
        ("POST", ["detector", id, "findings", "archive"]) => ("ArchiveFindings", *id, ""),
        ("POST", ["detector", id, "findings", "unarchive"]) => ("UnarchiveFindings", *id, ""),
        ("GET", ["admin"]) => ("ListOrganizationAdminAccounts", "", ""),
        ("POST", ["admin", "enable"]) => ("EnableOrganizationAdminAccount", "", ""),
        ("GET", ["detector", id, "admin"]) => ("DescribeOrganizationConfiguration", *id, ""),
        ("POST", ["detector", id, "admin"]) => ("UpdateOrganizationConfiguration", *id, ""),
        ("GET", ["detector", id, "member"]) => ("ListMembers", *id, ""),
        ("POST", ["detector", id, "member"]) => ("CreateMembers", *id, ""),
        (_, ["detector", id, rest @ ..]) => {
            let (operation, set) = lists::split(method, rest)?;
            (operation, *id, set)
        }
        _ => return None,
    };
    Some(Route { operation, detector, set })
}

/// The operation that a method and path name; `None` for one that is not modelled.
pub fn operation(method: &str, path: &str) -> Option<&'static str> {
    split(method, path).map(|route| route.operation)
}

/// What a call's permission is about: the detector, or everything where the
/// path names none.
pub fn resource(account: &str, region: &str, request: &HttpRequest) -> String {
    match split(&request.method, &request.path) {
        Some(Route { detector, .. }) if !detector.is_empty() => {
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

/// Who calls, and where.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    account: &'a str,
    region: &'a str,
}

impl Place<'_> {
    fn key(self) -> (String, String) {
        (self.account.to_owned(), self.region.to_owned())
    }
}

/// Answers a call that [`operation`] named; `None` for one that is not modelled.
pub fn answer(
    state: &mut State,
    (account, region): (&str, &str),
    request: &HttpRequest,
    input: &Value,
) -> Option<Result<Value, ServiceError>> {
    let Route { operation, detector, set } = split(&request.method, &request.path)?;
    let place = Place { account, region };
    if let Some(answer) = organization::designation(state, place, operation, input) {
        return Some(answer);
    }
    let own = state.guardduty.detectors.get(&place.key());
    match operation {
        "ListDetectors" => {
            let ids: Vec<&String> = own.into_iter().collect();
            return Some(Ok(json!({ "detectorIds": ids })));
        }
        "CreateDetector" => return Some(detectors::create(&mut state.guardduty, place, input)),
        _ if own.is_none_or(|own| own != detector) => {
            let why = "the input detectorId is not owned by the current account";
            return Some(Err(bad_request(why)));
        }
        _ => {}
    }
    if let Some(answer) = organization::answer(state, place, operation, (request, input)) {
        return Some(answer);
    }
    let guardduty = &mut state.guardduty;
    if let Some(answer) = detectors::answer(guardduty, place, operation, input) {
        return Some(answer);
    }
    if let Some(answer) = lists::answer(guardduty, place, (operation, set), input) {
        return Some(answer);
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
            finding.is_some_and(|finding| guardduty.sees((account, region), finding))
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
