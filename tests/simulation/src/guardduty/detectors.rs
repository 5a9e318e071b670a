//! Detectors: on or off, how often findings are published, and features.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{GuardDuty, Place, bad_request};
use crate::wire::ServiceError;

/// The features that are chosen, with their additional configurations
/// (GuardDuty API reference, DetectorFeatureConfiguration).
pub const FEATURES: [(&str, &[&str]); 7] = [
    ("EBS_MALWARE_PROTECTION", &[]),
    ("EKS_AUDIT_LOGS", &[]),
    ("EKS_RUNTIME_MONITORING", &["EKS_ADDON_MANAGEMENT"]),
    ("LAMBDA_NETWORK_LOGS", &[]),
    ("RDS_LOGIN_EVENTS", &[]),
    (
        "RUNTIME_MONITORING",
        &["EC2_AGENT_MANAGEMENT", "ECS_FARGATE_AGENT_MANAGEMENT", "EKS_ADDON_MANAGEMENT"],
    ),
    ("S3_DATA_EVENTS", &[]),
];

/// What a detector is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detector {
    /// Whether it is on, or suspended.
    pub enabled: bool,
    /// `FIFTEEN_MINUTES`, `ONE_HOUR` or `SIX_HOURS`.
    pub frequency: String,
    /// What is on: `FEATURE` or `FEATURE/ADDITION`.
    pub on: BTreeMap<String, bool>,
}

impl Detector {
    /// One that was just turned on: updates every six hours, no features.
    pub fn new() -> Self {
        Self { enabled: true, frequency: "SIX_HOURS".to_owned(), on: BTreeMap::new() }
    }

    fn is_on(&self, name: &str) -> bool {
        self.on.get(name).copied().unwrap_or_default()
    }
}

impl Default for Detector {
    fn default() -> Self {
        Self::new()
    }
}

/// "Detectors: 1 per account and Region" (GuardDuty user guide, "Quotas").
pub(super) fn create(
    guardduty: &mut GuardDuty,
    place: Place<'_>,
    input: &Value,
) -> Result<Value, ServiceError> {
    if guardduty.detectors.contains_key(&place.key()) {
        return Err(bad_request("a detector already exists for the current account"));
    }
    let wanted = changed(guardduty, place, Detector::new(), input)?;
    let id = guardduty.enable(place.account, place.region).to_owned();
    guardduty.settings.insert(place.key(), wanted);
    Ok(json!({ "detectorId": id }))
}

/// Answers GetDetector and UpdateDetector; `None` for other calls.
pub(super) fn answer(
    guardduty: &mut GuardDuty,
    place: Place<'_>,
    operation: &str,
    input: &Value,
) -> Option<Result<Value, ServiceError>> {
    let held = guardduty.settings.get(&place.key()).cloned().unwrap_or_default();
    match operation {
        "GetDetector" => Some(Ok(rendered(guardduty, place.region, &held))),
        "UpdateDetector" => Some(changed(guardduty, place, held, input).map(|changed| {
            guardduty.settings.insert(place.key(), changed);
            json!({})
        })),
        _ => None,
    }
}

fn rendered(guardduty: &GuardDuty, region: &str, detector: &Detector) -> Value {
    let status = |on: bool| if on { "ENABLED" } else { "DISABLED" };
    let features: Vec<Value> = offered(guardduty, region)
        .map(|(name, additions)| {
            let additions: Vec<Value> = additions
                .iter()
                .map(|addition| {
                    let on = detector.is_on(&format!("{name}/{addition}"));
                    json!({ "name": addition, "status": status(on) })
                })
                .collect();
            json!({
                "name": name,
                "status": status(detector.is_on(name)),
                "additionalConfiguration": additions,
            })
        })
        .chain([json!({ "name": "CLOUD_TRAIL", "status": "ENABLED" })])
        .collect();
    json!({
        "status": status(detector.enabled),
        "findingPublishingFrequency": detector.frequency,
        "serviceRole": "AWSServiceRoleForAmazonGuardDuty",
        "features": features,
    })
}

/// The features that a Region offers.
pub(super) fn offered(
    guardduty: &GuardDuty,
    region: &str,
) -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    FEATURES.into_iter().filter(move |(name, _)| {
        !guardduty.not_offered.contains(&(region.to_owned(), (*name).to_owned()))
    })
}

/// A detector as an input changes it. Only an administrator sets its members'
/// frequency: "member accounts can't modify the frequency" (GuardDuty user
/// guide, "Setting the frequency for exporting").
fn changed(
    guardduty: &GuardDuty,
    place: Place<'_>,
    mut detector: Detector,
    input: &Value,
) -> Result<Detector, ServiceError> {
    if let Some(enabled) = input.get("enable").and_then(Value::as_bool) {
        detector.enabled = enabled;
    }
    if let Some(frequency) = input.get("findingPublishingFrequency").and_then(Value::as_str) {
        let members = guardduty.members.get(place.region);
        if members.is_some_and(|members| members.contains_key(place.account)) {
            return Err(bad_request("a member can't change the frequency of publishing"));
        }
        frequency.clone_into(&mut detector.frequency);
    }
    let named = names(guardduty, place.region, input, "status", "ENABLED")?;
    detector.on.extend(named);
    let runtime = ["RUNTIME_MONITORING", "EKS_RUNTIME_MONITORING"];
    if runtime.iter().all(|name| detector.is_on(name)) {
        return Err(bad_request(BOTH_RUNTIMES));
    }
    Ok(detector)
}

/// "Specifying both EKS Runtime Monitoring and Runtime Monitoring will cause an
/// error" (GuardDuty API reference, UpdateDetector).
pub(super) const BOTH_RUNTIMES: &str =
    "RUNTIME_MONITORING and EKS_RUNTIME_MONITORING can't be enabled together";

/// The features that an input names, each with its additions, and whether their
/// `key` says `on`.
pub(super) fn names(
    guardduty: &GuardDuty,
    region: &str,
    input: &Value,
    key: &str,
    on: &str,
) -> Result<Vec<(String, bool)>, ServiceError> {
    let mut named = Vec::new();
    let text = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let list = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    for feature in list(input, "features") {
        let name = text(&feature, "name");
        let Some((_, additions)) = offered(guardduty, region).find(|(it, _)| *it == name) else {
            let why = format!("the feature {name} is not supported in this Region");
            return Err(bad_request(&why));
        };
        named.push((name.clone(), text(&feature, key) == on));
        for addition in list(&feature, "additionalConfiguration") {
            let added = text(&addition, "name");
            if !additions.contains(&added.as_str()) {
                return Err(bad_request(&format!("{name} has no configuration {added}")));
            }
            named.push((format!("{name}/{added}"), text(&addition, key) == on));
        }
    }
    Ok(named)
}
