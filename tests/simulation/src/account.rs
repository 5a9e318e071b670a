//! Account Management: which Regions there are, and which of them an account has
//! enabled.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::wire::ServiceError;

/// Regions that every account has from the beginning (Account Management
/// reference guide, "Enable or disable AWS Regions").
const BY_DEFAULT: [&str; 17] = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];
/// Some of those that have to be opted into.
const OPT_IN: [&str; 4] = ["af-south-1", "ap-east-1", "eu-south-1", "me-south-1"];

/// How long a page is: short, so that there are several.
const PAGE: usize = 20;

/// The Regions of the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regions {
    /// Every Region with its status in an account that never chose:
    /// `ENABLED_BY_DEFAULT` or `DISABLED`.
    pub offered: BTreeMap<String, String>,
    /// What accounts chose, by account and Region: `ENABLED`, `DISABLING`, ….
    pub chosen: BTreeMap<(String, String), String>,
    /// Services that a Region does not have: nobody finds their host.
    pub without_endpoint: BTreeSet<(String, String)>,
}

impl Default for Regions {
    fn default() -> Self {
        let by_default = BY_DEFAULT.into_iter().map(|it| (it, "ENABLED_BY_DEFAULT"));
        let opt_in = OPT_IN.into_iter().map(|it| (it, "DISABLED"));
        Self {
            offered: by_default
                .chain(opt_in)
                .map(|(region, status)| (region.to_owned(), status.to_owned()))
                .collect(),
            chosen: BTreeMap::new(),
            without_endpoint: BTreeSet::new(),
        }
    }
}

impl Regions {
    /// A Region's status in an account; `None` for a Region that there is not.
    pub fn status(&self, account: &str, region: &str) -> Option<&str> {
        let default = self.offered.get(region)?;
        let chosen = self.chosen.get(&(account.to_owned(), region.to_owned()));
        Some(chosen.unwrap_or(default))
    }

    /// Whether an account cannot call a Region because it has not enabled it.
    pub fn is_disabled(&self, account: &str, region: &str) -> bool {
        let status = self.status(account, region);
        status.is_some_and(|it| !["ENABLED", "ENABLED_BY_DEFAULT", "DISABLING"].contains(&it))
    }

    /// Whether a Region does not have a service.
    pub fn is_without_endpoint(&self, service: &str, region: &str) -> bool {
        self.without_endpoint.contains(&(service.to_owned(), region.to_owned()))
    }
}

/// The operation that a method and path name; `None` for one that is not modelled.
pub fn operation(method: &str, path: &str) -> Option<&'static str> {
    (method == "POST" && path == "/listRegions").then_some("ListRegions")
}

/// Answers a call; `None` for one that is not modelled.
pub fn answer(
    regions: &Regions,
    account: &str,
    operation: &str,
    input: &Value,
) -> Option<Result<Value, ServiceError>> {
    if operation != "ListRegions" {
        return None;
    }
    let invalid = |message: &str| Some(Err(ServiceError::new(400, "ValidationException", message)));
    if input.get("AccountId").is_some_and(|other| other.as_str() != Some(account)) {
        return Some(Err(ServiceError::new(
            403,
            "AccessDeniedException",
            "another account's Regions are told to the management account with trusted access only",
        )));
    }
    let start = match input.get("NextToken").and_then(Value::as_str).map(str::parse::<usize>) {
        None => 0,
        Some(Ok(start)) => start,
        Some(Err(_)) => return invalid("NextToken"),
    };
    let all: Vec<Value> = regions
        .offered
        .keys()
        .map(|region| {
            json!({ "RegionName": region, "RegionOptStatus": regions.status(account, region) })
        })
        .collect();
    let page: Vec<&Value> = all.iter().skip(start).take(PAGE).collect();
    let next = start + page.len();
    Some(Ok(if next < all.len() {
        json!({ "Regions": page, "NextToken": next.to_string() })
    } else {
        json!({ "Regions": page })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_that_was_not_opted_into_is_disabled_until_an_account_chooses_it() {
        let mut regions = Regions::default();
        assert!(regions.is_disabled("111111111111", "eu-south-1"));
        assert!(!regions.is_disabled("111111111111", "eu-central-1"));
        let key = ("111111111111".to_owned(), "eu-south-1".to_owned());
        regions.chosen.insert(key, "ENABLED".to_owned());
        assert!(!regions.is_disabled("111111111111", "eu-south-1"));
        assert!(regions.is_disabled("222222222222", "eu-south-1"));
    }
}
