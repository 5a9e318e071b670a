//! The sibling targets of a finding: it is resolved when none of them is unresolved. Pure.

use serde::{Deserialize, Serialize};

use firebreak_model::finding::{Finding, SecurityHubId, Target};

/// How many targets of one finding, and how many such findings of one response, are
/// recorded: the size of a record is limited.
const TARGETS_AT_MOST: usize = 50;
pub const MAX_SIBLING_FINDINGS: usize = 10;

/// The other targets of one finding of a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiblingTargets {
    /// The finding's id in Security Hub.
    pub security_hub: SecurityHubId,
    /// The finding's id, as its targets know it.
    pub finding: String,
    /// The ARNs of its other targets.
    pub targets: Vec<String>,
    /// How many more targets there are; if any, the finding always counts as
    /// unresolved.
    #[serde(default)]
    pub more: usize,
}

impl SiblingTargets {
    /// The sibling targets of one of a finding's targets; `None` if there are none, or
    /// if Security Hub cannot have the finding.
    pub fn of(finding: &Finding, target: &Target) -> Option<Self> {
        let own = target.resource.arn();
        let mut targets: Vec<String> =
            finding.targets.iter().map(|it| it.resource.arn()).filter(|it| *it != own).collect();
        targets.sort_unstable();
        targets.dedup();
        if targets.is_empty() {
            return None;
        }
        let more = targets.len().saturating_sub(TARGETS_AT_MOST);
        targets.truncate(TARGETS_AT_MOST);
        let security_hub = finding.security_hub.clone()?;
        Some(Self { security_hub, finding: finding.id.clone(), targets, more })
    }
}
