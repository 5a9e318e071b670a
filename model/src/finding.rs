//! A finding, normalized from every form in which it arrives, and the targets that it
//! names, each with its own account and Region.

use std::collections::{BTreeMap, BTreeSet};

use crate::resource::{AccountId, Partition, Region, Resource};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The role of a resource, as GuardDuty names it: it acted, or was acted on. Absent for
/// runtime findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ResourceRole {
    /// The resource acted.
    Actor,
    /// The resource was acted on.
    Target,
}

impl ResourceRole {
    /// As findings write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Actor => "ACTOR",
            Self::Target => "TARGET",
        }
    }
}

/// One resource that a finding names. Each target is decided on its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The resource, with the account and Region that own it.
    pub resource: Resource,
    /// Its role in the finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<ResourceRole>,
    /// The tags that the finding carries. They are as old as the finding:
    /// protection by tag reads the resource's present tags instead.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// The finding's id in Security Hub, in the finding's schema, as needed to update it.
/// In a record each schema has its own keys, so no tag is needed, and records from
/// before the second schema can still be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SecurityHubId {
    /// Security Hub CSPM's: what `BatchUpdateFindings` takes.
    Asff {
        /// `Id`; for GuardDuty its finding's ARN.
        id: String,
        /// `ProductArn`.
        product_arn: String,
    },
    /// The new Security Hub's: what `BatchUpdateFindingsV2` takes.
    Ocsf {
        /// `metadata.uid`, unique by itself.
        metadata_uid: String,
    },
}

impl SecurityHubId {
    /// The id for messages.
    pub fn id(&self) -> &str {
        match self {
            Self::Asff { id, .. } => id,
            Self::Ocsf { metadata_uid } => metadata_uid,
        }
    }
}

/// One finding, the same for every envelope and path by which it arrives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// GuardDuty's finding id (also when Security Hub delivered it); for other
    /// products the ASFF or OCSF id.
    pub id: String,
    /// `GuardDuty`, or the product's name; for custom imports the name in their ARN,
    /// `account/default`.
    pub product: String,
    /// The finding type, such as `UnauthorizedAccess:EC2/SSHBruteForce`.
    #[serde(rename = "type")]
    pub kind: String,
    /// On GuardDuty's scale, 0.0 to 10.0.
    pub severity: f64,
    /// The title; empty where the form has none.
    pub title: String,
    /// The member account that the finding is about.
    pub account: AccountId,
    /// The Region that the finding is about.
    pub region: Region,
    /// From an ARN or a partition field, if there is one.
    pub partition: Partition,
    /// First seen, where the form says so.
    pub created_at: Option<Timestamp>,
    /// Last changed, where the form says so.
    pub updated_at: Option<Timestamp>,
    /// How often GuardDuty has seen it.
    pub count: Option<u64>,
    /// A sample, generated for tests: never acted on.
    pub sample: bool,
    /// Archived or suppressed at its source: never acted on.
    pub archived: bool,
    /// Security Hub's workflow status (`NEW`, `NOTIFIED`, …) where known.
    pub workflow_status: Option<String>,
    /// Its id in Security Hub, if it can have one.
    pub security_hub: Option<SecurityHubId>,
    /// Every resource that it names; empty for a kind that names none.
    pub targets: Vec<Target>,
    /// The finding as its service wrote it, keys in the event's camelCase for
    /// GuardDuty: what policies match beyond the normalized fields.
    pub detail: Value,
}

impl Finding {
    /// Every remote IP address that the finding names, each once: all `remoteIpDetails`
    /// of GuardDuty and ASFF, and the endpoints of an attack sequence.
    pub fn remote_addresses(&self) -> Vec<String> {
        let mut addresses = BTreeSet::new();
        collect(&self.detail, &mut addresses);
        let endpoints = self.detail.pointer("/service/detection/sequence/endpoints");
        for endpoint in endpoints.and_then(Value::as_array).into_iter().flatten() {
            addresses.extend(endpoint.get("ip").and_then(Value::as_str).map(str::to_owned));
        }
        addresses.into_iter().collect()
    }
}

fn collect(value: &Value, addresses: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                if key.eq_ignore_ascii_case("remoteIpDetails") {
                    let address = |name: &str| {
                        let field = value.as_object()?.iter();
                        let mut named = field.filter(|(key, _)| key.eq_ignore_ascii_case(name));
                        named.next()?.1.as_str().map(str::to_owned)
                    };
                    addresses.extend(address("ipAddressV4"));
                    addresses.extend(address("ipAddressV6"));
                } else {
                    collect(value, addresses);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, addresses)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_security_hub_id_has_the_keys_of_its_schema_and_reads_back() {
        let asff = SecurityHubId::Asff { id: "a".to_owned(), product_arn: "p".to_owned() };
        let ocsf = SecurityHubId::Ocsf { metadata_uid: "u".to_owned() };
        for (id, text) in
            [(asff, r#"{"id":"a","product_arn":"p"}"#), (ocsf, r#"{"metadata_uid":"u"}"#)]
        {
            assert_eq!(serde_json::to_string(&id).unwrap(), text);
            assert_eq!(serde_json::from_str::<SecurityHubId>(text).unwrap(), id);
        }
        assert!(serde_json::from_str::<SecurityHubId>(r#"{"id":"a"}"#).is_err());
    }
}
