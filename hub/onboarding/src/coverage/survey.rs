//! A survey of an organization, in parts, so that an interrupted survey resumes with the
//! missing parts.

use std::collections::{BTreeMap, BTreeSet};

use firebreak_model::resource::{AccountId, Region};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::setup::Reading;
use firebreak_model::organization::OuPath;
use firebreak_policy::{Pattern, Policy};

/// The format of a kept survey; any other is rejected.
pub const FORMAT: u32 = 1;

/// How old a survey may be when it is resumed.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);

/// Whether the organization uses Security Hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecurityHubUse {
    /// Members and forwarding rules count.
    Wanted,
    Unused,
}

/// What is surveyed. A survey is resumed only for the same question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub management: AccountId,
    /// The hub's account, which administers GuardDuty and Security Hub.
    pub administrator: AccountId,
    /// The Region that aggregates findings.
    pub home: Region,
    /// The home Region first.
    pub regions: Vec<Region>,
    /// The spoke role's name, with its path.
    pub spoke_role: String,
    /// The digest expected in the spoke role's tag.
    pub digest: String,
    pub security_hub: SecurityHubUse,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SurveyedAccount {
    pub id: AccountId,
    pub name: String,
    /// `ACTIVE`, `SUSPENDED`, ….
    pub state: String,
    /// `None` if it is unknown.
    pub ou_path: Option<OuPath>,
}

impl SurveyedAccount {
    /// Whether resources can run in it. In `PENDING_CLOSURE` they still do (AWS
    /// Organizations API reference, Account); an unknown state counts as active.
    pub fn is_active(&self) -> bool {
        !matches!(self.state.as_str(), "SUSPENDED" | "CLOSED" | "PENDING_ACTIVATION")
    }
}

/// A service in one Region, as its administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Members {
    /// Whether it is on in the administrator's own account.
    pub own: bool,
    /// The members, with the status of their relationship.
    pub members: BTreeMap<AccountId, String>,
}

/// A rule of stacksets/region.yaml, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Rule {
    Missing,
    Present {
        /// `ENABLED`, `DISABLED`, ….
        state: String,
        pattern: String,
        /// The ARNs of its targets.
        targets: Vec<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionSurvey {
    pub guardduty: Reading<Members>,
    pub security_hub: Reading<Members>,
    /// The Region where Security Hub aggregates findings; read in the home Region.
    pub aggregates_in: Option<Region>,
    /// The rules of [`RULES`], by name.
    pub rules: BTreeMap<String, Reading<Rule>>,
}

impl RegionSurvey {
    fn is_read(&self) -> bool {
        let members = [&self.guardduty, &self.security_hub];
        members.iter().all(|seen| !matches!(seen, Reading::Unread(_)))
            && self.rules.values().all(|seen| !matches!(seen, Reading::Unread(_)))
    }
}

/// The result of assuming an account's spoke role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spoke {
    /// Assumed, as for a containment.
    Assumed {
        /// The value of the tag with the digest of its permissions.
        digest: Option<String>,
    },
    /// It is missing or cannot be used; the reason.
    Unusable(String),
    /// It could not be tried; the reason.
    Unread(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Survey {
    /// See [`FORMAT`].
    pub format: u32,
    /// The time of the first part.
    pub began: Timestamp,
    pub question: Question,
    /// Empty until they are read.
    pub accounts: Vec<SurveyedAccount>,
    pub regions: BTreeMap<Region, RegionSurvey>,
    pub spokes: BTreeMap<AccountId, Spoke>,
}

impl Survey {
    pub fn new(question: Question, now: Timestamp) -> Self {
        Self {
            format: FORMAT,
            began: now,
            question,
            accounts: Vec::new(),
            regions: BTreeMap::new(),
            spokes: BTreeMap::new(),
        }
    }

    /// Prepares a kept survey to be continued: failed parts are read again.
    ///
    /// # Errors
    ///
    /// If it is for another question, or too old.
    pub fn resume(mut self, question: &Question, now: Timestamp) -> Result<Self, String> {
        if self.format != FORMAT {
            return Err(format!("its format is {}, not {FORMAT}", self.format));
        }
        if self.question != *question {
            return Err("it is for other accounts, Regions, roles or permissions".to_owned());
        }
        if now.duration_since(self.began) > MAX_AGE {
            return Err(format!("it began at {}, more than a day ago", self.began));
        }
        self.regions.retain(|_, seen| seen.is_read());
        self.spokes.retain(|_, spoke| !matches!(spoke, Spoke::Unread(_)));
        Ok(self)
    }

    /// The Regions that are still to be read.
    pub fn regions_left(&self) -> Vec<Region> {
        let wanted = self.question.regions.iter();
        wanted.filter(|region| !self.regions.contains_key(region)).cloned().collect()
    }

    /// The accounts whose spoke role is still to be tried.
    pub fn spokes_left(&self, except: &BTreeSet<AccountId>) -> Vec<AccountId> {
        let active = self.accounts.iter().filter(|account| account.is_active());
        let ids = active.map(|account| &account.id);
        let left = |id: &&AccountId| !except.contains(*id) && !self.spokes.contains_key(*id);
        ids.filter(left).cloned().collect()
    }

    /// Whether every part was read.
    pub fn is_read(&self) -> bool {
        !self.accounts.is_empty()
            && self.regions_left().is_empty()
            && self.regions.values().all(RegionSurvey::is_read)
            && self.spokes.values().all(|spoke| !matches!(spoke, Spoke::Unread(_)))
    }

    /// The Region where Security Hub aggregates findings: its event bus gets the events of
    /// all Regions.
    pub fn aggregates_in(&self) -> Option<&Region> {
        self.regions.get(&self.question.home)?.aggregates_in.as_ref()
    }
}

/// The inputs that are not kept in the survey.
#[derive(Debug)]
pub struct SurveyContext<'a> {
    /// The policy in force, or why it cannot be read.
    pub policy: Result<&'a Policy, &'a str>,
    /// The last day on which the hub decided a finding in each account, or why that cannot be
    /// read.
    pub last: Result<BTreeMap<AccountId, Date>, String>,
    /// Accounts left out on purpose.
    pub except: BTreeSet<AccountId>,
    /// Skipped Regions, with the reason.
    pub skipped: BTreeMap<Region, String>,
}

/// A rule that forwards findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleWanted {
    pub name: &'static str,
    source: &'static str,
    detail_type: &'static str,
}

/// The rules of stacksets/region.yaml. The first is GuardDuty's, the others are Security
/// Hub's.
pub const RULES: [RuleWanted; 3] = [
    RuleWanted {
        name: "firebreak-guardduty",
        source: "aws.guardduty",
        detail_type: "GuardDuty Finding",
    },
    RuleWanted {
        name: "firebreak-security-hub",
        source: "aws.securityhub",
        detail_type: "Security Hub Findings - Imported",
    },
    RuleWanted {
        name: "firebreak-security-hub-other",
        source: "aws.securityhub",
        detail_type: "Security Hub Findings - Custom Action",
    },
];

impl RuleWanted {
    /// Why the rule does not forward findings to the hub; `None` if it does.
    pub fn problem(&self, found: &Rule, hub: &AccountId) -> Option<String> {
        let name = self.name;
        let Rule::Present { state, pattern, targets } = found else {
            return Some(format!("there is no rule `{name}`"));
        };
        if !state.starts_with("ENABLED") {
            return Some(format!("the rule `{name}` is {state}"));
        }
        let bus = format!(":{hub}:event-bus/firebreak");
        if !targets.iter().any(|target| target.ends_with(&bus)) {
            return Some(format!("the rule `{name}` has no target `event-bus/firebreak` of {hub}"));
        }
        let matches = serde_json::from_str(pattern)
            .ok()
            .and_then(|pattern| Pattern::parse(&pattern).ok())
            .is_some_and(|pattern| pattern.matches(&self.example()));
        (!matches).then(|| format!("the pattern of the rule `{name}` excludes findings"))
    }

    /// An event that must be forwarded: new, active and of the highest severity.
    fn example(&self) -> Value {
        let detail = if self.source == "aws.guardduty" {
            json!({ "severity": 9, "service": { "archived": false } })
        } else {
            json!({ "findings": [{ "RecordState": "ACTIVE", "Workflow": { "Status": "NEW" } }] })
        };
        json!({ "source": self.source, "detail-type": self.detail_type, "detail": detail })
    }
}
