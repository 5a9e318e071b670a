//! The part of a finding that a record keeps.

use firebreak_model::finding::{Finding, SecurityHubId};
use firebreak_model::resource::{AccountId, Region};
use serde::{Deserialize, Serialize};

/// The finding of a response: the fields that status, notes and lists need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindingSummary {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// On GuardDuty's scale, 0.0 to 10.0.
    pub severity: f64,
    pub title: String,
    /// The product that raised it.
    pub product: String,
    /// The account that it is about.
    pub account: AccountId,
    /// The Region that it is about.
    pub region: Region,
    /// Its id in Security Hub.
    pub security_hub: Option<SecurityHubId>,
    /// The remote IP addresses that it names, which an action may block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remote_addresses: Vec<String>,
}

impl FindingSummary {
    /// Keeps what the record needs of a finding; never the raw event.
    pub fn of(finding: &Finding) -> Self {
        Self {
            id: finding.id.clone(),
            kind: finding.kind.clone(),
            severity: finding.severity,
            title: finding.title.clone(),
            product: finding.product.clone(),
            account: finding.account.clone(),
            region: finding.region.clone(),
            security_hub: finding.security_hub.clone(),
            remote_addresses: finding.remote_addresses(),
        }
    }
}
