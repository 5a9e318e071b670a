//! GuardDuty's features by name, with their additional configurations.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// A feature, such as `S3_DATA_EVENTS`, or one of its additional configurations,
/// written `RUNTIME_MONITORING/EC2_AGENT_MANAGEMENT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Protection {
    pub feature: String,
    /// The name of the additional configuration, if it is one.
    pub addition: Option<String>,
}

/// The default (GuardDuty API reference,
/// OrganizationFeatureConfiguration).
const WANTED: [&str; 9] = [
    "S3_DATA_EVENTS",
    "EKS_AUDIT_LOGS",
    "EBS_MALWARE_PROTECTION",
    "RDS_LOGIN_EVENTS",
    "LAMBDA_NETWORK_LOGS",
    "RUNTIME_MONITORING",
    "RUNTIME_MONITORING/EKS_ADDON_MANAGEMENT",
    "RUNTIME_MONITORING/ECS_FARGATE_AGENT_MANAGEMENT",
    "RUNTIME_MONITORING/EC2_AGENT_MANAGEMENT",
];

const RUNTIME: &str = "RUNTIME_MONITORING";
const EKS_RUNTIME: &str = "EKS_RUNTIME_MONITORING";

impl Protection {
    pub fn feature(name: &str) -> Self {
        Self { feature: name.to_owned(), addition: None }
    }

    pub fn addition(feature: &str, name: &str) -> Self {
        Self { feature: feature.to_owned(), addition: Some(name.to_owned()) }
    }

    /// The default: all of them.
    pub fn all() -> BTreeSet<Self> {
        WANTED.iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// The names that [`Protection::from_str`] takes.
    pub fn names() -> impl Iterator<Item = &'static str> {
        WANTED.into_iter()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of {list}", list = WANTED.join(", "))]
pub struct UnknownProtection(String);

impl FromStr for Protection {
    type Err = UnknownProtection;

    fn from_str(text: &str) -> Result<Self, UnknownProtection> {
        if !WANTED.contains(&text) {
            return Err(UnknownProtection(text.to_owned()));
        }
        Ok(match text.split_once('/') {
            Some((feature, addition)) => Self::addition(feature, addition),
            None => Self::feature(text),
        })
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.addition {
            Some(addition) => write!(formatter, "{}/{addition}", self.feature),
            None => formatter.write_str(&self.feature),
        }
    }
}

impl From<Protection> for String {
    fn from(protection: Protection) -> Self {
        protection.to_string()
    }
}

/// The wanted protections that the Region offers and that are not on yet, and notes on the
/// others. `offered` returns whether an offered protection is fully on, `used` whether it
/// is on at all.
pub(super) fn missing(
    wanted: &BTreeSet<Protection>,
    offered: impl Fn(&Protection) -> Option<bool>,
    used: impl Fn(&Protection) -> bool,
) -> (Vec<Protection>, Vec<String>) {
    let (mut missing, mut notes) = (Vec::new(), Vec::new());
    // "Specifying both will cause an error" (GuardDuty API reference,
    // UpdateDetector); moving from one to the other is the owner's decision.
    let eks_runtime = used(&Protection::feature(EKS_RUNTIME));
    if eks_runtime && wanted.iter().any(|it| it.feature == RUNTIME) {
        notes.push(format!("{RUNTIME} is not changed because {EKS_RUNTIME} is on"));
    }
    let mut not_offered = Vec::new();
    for protection in wanted {
        match offered(protection) {
            _ if eks_runtime && protection.feature == RUNTIME => {}
            Some(true) => {}
            Some(false) => missing.push(protection.clone()),
            None => not_offered.push(protection.to_string()),
        }
    }
    if !not_offered.is_empty() {
        notes.push(format!("the Region does not offer {}", not_offered.join(", ")));
    }
    (missing, notes)
}
