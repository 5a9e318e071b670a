//! What was read of an organization, in parts, so that a survey that was
//! interrupted goes on with the parts that are missing.

use std::collections::{BTreeMap, BTreeSet};

use firebreak_model::resource::{AccountId, Region};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::setup::Reading;
use firebreak_model::organization::OuPath;
use firebreak_policy::{Pattern, Policy};

/// The form of a kept survey. A reader refuses any other.
pub const FORMAT: u32 = 1;

/// How long what was read may be built upon.
const LASTS: SignedDuration = SignedDuration::from_hours(24);

/// Whether Security Hub is to be on in every account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecurityHub {
    /// It is: members and forwarding count.
    Wanted,
    /// The organization does without it.
    Unused,
}

/// What was asked: two runs may share what was read only where it is the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The organization's management account.
    pub management: AccountId,
    /// The account that administers GuardDuty and Security Hub, where the hub runs.
    pub administrator: AccountId,
    /// The Region in which findings are gathered.
    pub home: Region,
    /// The Regions that are looked at, the home Region first.
    pub regions: Vec<Region>,
    /// The spoke role's name, with its path if it has one.
    pub spoke_role: String,
    /// The digest that the spoke role's tag should hold.
    pub digest: String,
    /// Whether Security Hub counts.
    pub security_hub: SecurityHub,
}

/// An account of the organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SurveyedAccount {
    /// Its id.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// `ACTIVE`, `SUSPENDED`, ….
    pub state: String,
    /// The OUs above it; unknown where AWS Organizations does not say.
    pub ou_path: Option<OuPath>,
}

impl SurveyedAccount {
    /// Whether anything can happen in it. `PENDING_CLOSURE` still works (AWS
    /// Organizations API reference, Account); a state that is not known counts.
    pub fn works(&self) -> bool {
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

/// A rule that stacksets/region.yaml makes, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Rule {
    /// There is none of this name.
    Missing,
    /// There is one.
    There {
        /// `ENABLED`, `DISABLED`, ….
        state: String,
        /// Its event pattern, as EventBridge returns it.
        pattern: String,
        /// The ARNs of its targets.
        targets: Vec<String>,
    },
}

/// What of a Region was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionSurvey {
    /// GuardDuty's members.
    pub guardduty: Reading<Members>,
    /// Security Hub's members.
    pub security_hub: Reading<Members>,
    /// Where Security Hub gathers findings; read in the home Region.
    pub gathers_in: Option<Region>,
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

/// What became of assuming an account's spoke role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spoke {
    /// It was assumed, as for a containment; what its tag says of its permissions.
    Assumed {
        /// The tag's value.
        digest: Option<String>,
    },
    /// It is missing, or cannot be used: why.
    Closed(String),
    /// That could not be found out this time: why.
    Unread(String),
}

/// What was read until now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Survey {
    /// See [`FORMAT`].
    pub format: u32,
    /// When the first part was read.
    pub began: Timestamp,
    /// What was asked.
    pub question: Question,
    /// The organization's accounts; empty until they are read.
    pub accounts: Vec<SurveyedAccount>,
    /// The Regions that were read.
    pub regions: BTreeMap<Region, RegionSurvey>,
    /// The spoke roles that were tried.
    pub spokes: BTreeMap<AccountId, Spoke>,
}

impl Survey {
    /// Nothing was read yet.
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

    /// Makes it ready to be gone on with: what could not be read is asked again.
    ///
    /// # Errors
    ///
    /// Why it cannot answer this question: it answers another, or is too old.
    pub fn resume(mut self, question: &Question, now: Timestamp) -> Result<Self, String> {
        if self.format != FORMAT {
            return Err(format!("its format is {}, this version's is {FORMAT}", self.format));
        }
        if self.question != *question {
            return Err("it was read for other accounts, Regions, roles or permissions".to_owned());
        }
        if now.duration_since(self.began) > LASTS {
            return Err(format!("it was begun at {}, more than a day ago", self.began));
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
        let working = self.accounts.iter().filter(|account| account.works());
        let ids = working.map(|account| &account.id);
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

    /// Where Security Hub gathers findings, if it does: its events of all
    /// Regions are on that Region's bus.
    pub fn gathers_in(&self) -> Option<&Region> {
        self.regions.get(&self.question.home)?.gathers_in.as_ref()
    }
}

/// Inputs not cached in the survey.
#[derive(Debug)]
pub struct SurveyContext<'a> {
    /// The policy in force, or why it cannot be read.
    pub policy: Result<&'a Policy, &'a str>,
    /// The last day on which the hub decided about a finding of the account,
    /// of the days that were looked at, or why that cannot be read.
    pub last: Result<BTreeMap<AccountId, Date>, String>,
    /// The accounts that are left out on purpose.
    pub except: BTreeSet<AccountId>,
    /// The Regions that are left out, and why.
    pub skipped: BTreeMap<Region, String>,
}

/// A rule that forwards findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleWanted {
    /// Its name, as stacksets/region.yaml gives it.
    pub name: &'static str,
    source: &'static str,
    detail_type: &'static str,
}

/// The rules of stacksets/region.yaml: the first is GuardDuty's, the others are
/// Security Hub's.
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
    /// Why the rule as it was found does not forward to the hub; `None` where it
    /// does.
    pub fn lacks(&self, found: &Rule, hub: &AccountId) -> Option<String> {
        let name = self.name;
        let Rule::There { state, pattern, targets } = found else {
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
        (!matches).then(|| format!("the pattern of the rule `{name}` leaves findings out"))
    }

    /// An event that has to be forwarded: new, active and of the highest severity.
    fn example(&self) -> Value {
        let detail = if self.source == "aws.guardduty" {
            json!({ "severity": 9, "service": { "archived": false } })
        } else {
            json!({ "findings": [{ "RecordState": "ACTIVE", "Workflow": { "Status": "NEW" } }] })
        };
        json!({ "source": self.source, "detail-type": self.detail_type, "detail": detail })
    }
}
