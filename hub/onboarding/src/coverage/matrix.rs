//! The coverage by account and Region, and what is missing.

use std::collections::{BTreeMap, BTreeSet};

use firebreak_model::resource::{AccountId, Region};
use jiff::Timestamp;
use rayon::prelude::*;
use serde::Serialize;

use super::survey::{
    Members, Question, RULES, RegionSurvey, RuleWanted, SecurityHubUse, Spoke, Survey,
    SurveyContext, SurveyedAccount,
};
use crate::setup::Reading;
use firebreak_model::finding_types;
use firebreak_model::organization::Place;
use firebreak_policy::StanceRange;

/// In order from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CoverageStatus {
    NotNeeded,
    Covered,
    /// It could not be read, so it counts as missing.
    Unknown,
    Gap,
}

impl CoverageStatus {
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotNeeded => "not needed",
            Self::Covered => "covered",
            Self::Unknown => "unknown",
            Self::Gap => "gap",
        }
    }

    pub const fn is_missing(self) -> bool {
        match self {
            Self::NotNeeded | Self::Covered => false,
            Self::Unknown | Self::Gap => true,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    pub status: CoverageStatus,
    pub detail: String,
}

impl Cell {
    fn new(status: CoverageStatus, detail: impl Into<String>) -> Self {
        // The reason may have a second line with help.
        Self { status, detail: detail.into().replace('\n', "; ") }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountStatus {
    Covered,
    Gaps,
    /// Suspended or closed.
    Inactive,
    /// Left out on purpose.
    Excepted,
}

impl AccountStatus {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Covered => "covered",
            Self::Gaps => "gaps",
            Self::Inactive => "inactive",
            Self::Excepted => "left out",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountRow {
    pub account: AccountId,
    pub name: String,
    /// The state in AWS Organizations.
    pub state: String,
    pub ou_path: Option<String>,
    pub status: AccountStatus,
    pub spoke: Cell,
    pub policy: Cell,
    /// What policy does for each family of finding types.
    pub modes: BTreeMap<&'static str, StanceRange>,
    /// The last day on which the hub decided a finding in the account, if it is known.
    pub last_finding: Option<String>,
    /// Membership in GuardDuty, by Region.
    pub guardduty: BTreeMap<Region, Cell>,
    /// Membership in Security Hub, by Region.
    pub security_hub: BTreeMap<Region, Cell>,
    pub gaps: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegionRow {
    pub region: Region,
    /// Whether its findings reach the hub.
    pub forwarding: Cell,
    /// The number of accounts with GuardDuty.
    pub guardduty: usize,
    /// The number of accounts with Security Hub.
    pub security_hub: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub accounts: usize,
    pub covered: usize,
    pub gaps: usize,
    pub inactive: usize,
    pub excepted: usize,
    /// Accounts without GuardDuty in some Region.
    pub without_guardduty: usize,
    /// Accounts without Security Hub in some Region.
    pub without_security_hub: usize,
    /// Accounts whose spoke role is missing, outdated or unusable.
    pub without_spoke: usize,
    /// Accounts that no policy covers.
    pub without_policy: usize,
    /// What policy does for each family of finding types, and in how many accounts.
    pub modes: BTreeMap<&'static str, BTreeMap<String, usize>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// Whether nothing is missing.
    pub complete: bool,
    /// The time of the first part of the survey.
    pub began: Timestamp,
    pub question: Question,
    pub summary: Summary,
    /// Problems of the organization as a whole.
    pub problems: Vec<String>,
    /// Unknown facts that do not count as missing.
    pub notes: Vec<String>,
    /// Skipped Regions, with the reason.
    pub skipped: BTreeMap<Region, String>,
    /// The home Region first.
    pub regions: Vec<RegionRow>,
    pub accounts: Vec<AccountRow>,
}

pub fn matrix(survey: &Survey, context: &SurveyContext<'_>) -> Matrix {
    let finding_types = finding_types::all();
    let row = |account: &SurveyedAccount| row(survey, context, account, &finding_types);
    let mut accounts: Vec<AccountRow> = survey.accounts.par_iter().map(row).collect();
    accounts.sort_by(|one, other| one.account.cmp(&other.account));
    let has = |cells: &BTreeMap<Region, Cell>, region: &Region| {
        cells.get(region).is_some_and(|cell| cell.status == CoverageStatus::Covered)
    };
    let regions: Vec<RegionRow> = survey
        .question
        .regions
        .iter()
        .map(|region| RegionRow {
            region: region.clone(),
            forwarding: forwarding(survey, region),
            guardduty: accounts.iter().filter(|row| has(&row.guardduty, region)).count(),
            security_hub: accounts.iter().filter(|row| has(&row.security_hub, region)).count(),
        })
        .collect();
    let mut problems = Vec::new();
    if let Err(why) = context.policy {
        problems.push(format!("the policy cannot be read: {}", why.replace('\n', "; ")));
    }
    if accounts.is_empty() {
        problems.push("the list of accounts is empty".to_owned());
    }
    let known: BTreeSet<&AccountId> = accounts.iter().map(|row| &row.account).collect();
    for account in context.except.iter().filter(|id| !known.contains(id)) {
        problems.push(format!(
            "{account} was given by --except, but is not an account of the organization"
        ));
    }
    let notes = context
        .last
        .as_ref()
        .err()
        .map(|why| format!("the last findings cannot be read: {}", why.replace('\n', "; ")));
    let summary = summary(&accounts);
    let forwarded = regions.iter().all(|region| !region.forwarding.status.is_missing());
    Matrix {
        complete: summary.gaps == 0 && problems.is_empty() && forwarded,
        began: survey.began,
        question: survey.question.clone(),
        summary,
        problems,
        notes: notes.into_iter().collect(),
        skipped: context.skipped.clone(),
        regions,
        accounts,
    }
}

fn summary(accounts: &[AccountRow]) -> Summary {
    let count = |wanted| accounts.iter().filter(|row| row.status == wanted).count();
    let lacking =
        |lacks: &dyn Fn(&AccountRow) -> bool| accounts.iter().filter(|row| lacks(row)).count();
    let mut modes: BTreeMap<&'static str, BTreeMap<String, usize>> = BTreeMap::new();
    for (family, span) in accounts.iter().flat_map(|row| &row.modes) {
        *modes.entry(*family).or_default().entry(span.to_string()).or_default() += 1;
    }
    let any = |cells: &BTreeMap<Region, Cell>| cells.values().any(|it| it.status.is_missing());
    Summary {
        accounts: accounts.len(),
        covered: count(AccountStatus::Covered),
        gaps: count(AccountStatus::Gaps),
        inactive: count(AccountStatus::Inactive),
        excepted: count(AccountStatus::Excepted),
        without_guardduty: lacking(&|row| any(&row.guardduty)),
        without_security_hub: lacking(&|row| any(&row.security_hub)),
        without_spoke: lacking(&|row| row.spoke.status.is_missing()),
        without_policy: lacking(&|row| row.policy.status.is_missing()),
        modes,
    }
}

fn row(
    survey: &Survey,
    context: &SurveyContext<'_>,
    account: &SurveyedAccount,
    finding_types: &[finding_types::FindingType],
) -> AccountRow {
    let SurveyedAccount { id, name, state, ou_path } = account;
    let last = context.last.as_ref().ok().and_then(|last| last.get(id));
    let left_out = if account.is_active() {
        context
            .except
            .contains(id)
            .then_some((AccountStatus::Excepted, "left out on purpose".to_owned()))
    } else {
        Some((AccountStatus::Inactive, format!("the account is {state}")))
    };
    let mut row = AccountRow {
        account: id.clone(),
        name: name.clone(),
        state: state.clone(),
        ou_path: ou_path.as_ref().map(ToString::to_string),
        status: AccountStatus::Covered,
        spoke: Cell::new(CoverageStatus::NotNeeded, ""),
        policy: Cell::new(CoverageStatus::NotNeeded, ""),
        modes: BTreeMap::new(),
        last_finding: last.map(ToString::to_string),
        guardduty: BTreeMap::new(),
        security_hub: BTreeMap::new(),
        gaps: Vec::new(),
    };
    if let Some((status, detail)) = left_out {
        row.status = status;
        row.spoke.detail.clone_from(&detail);
        row.policy.detail = detail;
        return row;
    }
    row.spoke = spoke(survey, id);
    (row.policy, row.modes) = policy(survey, context, account, finding_types);
    for region in &survey.question.regions {
        let seen = survey.regions.get(region);
        let guardduty = member(survey, id, seen.map(|seen| &seen.guardduty));
        row.guardduty.insert(region.clone(), guardduty);
        let security_hub = match survey.question.security_hub {
            SecurityHubUse::Wanted => member(survey, id, seen.map(|seen| &seen.security_hub)),
            SecurityHubUse::Unused => Cell::new(CoverageStatus::NotNeeded, "not used"),
        };
        row.security_hub.insert(region.clone(), security_hub);
    }
    row.gaps = gaps(&row);
    if !row.gaps.is_empty() {
        row.status = AccountStatus::Gaps;
    }
    row
}

/// Everything that an account lacks; the same gap in several Regions is one entry.
fn gaps(row: &AccountRow) -> Vec<String> {
    let mut gaps = Vec::new();
    for (what, cell) in [("spoke role", &row.spoke), ("policy", &row.policy)] {
        if cell.status.is_missing() {
            gaps.push(format!("{what}: {}", cell.detail));
        }
    }
    for (service, cells) in [("GuardDuty", &row.guardduty), ("Security Hub", &row.security_hub)] {
        let mut alike: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (region, cell) in cells.iter().filter(|(_, cell)| cell.status.is_missing()) {
            alike.entry(&cell.detail).or_default().push(region.as_str());
        }
        for (detail, regions) in alike {
            gaps.push(format!("{service} in {}: {detail}", regions.join(", ")));
        }
    }
    gaps
}

fn spoke(survey: &Survey, account: &AccountId) -> Cell {
    let expected = &survey.question.digest;
    match survey.spokes.get(account) {
        None => Cell::new(CoverageStatus::Unknown, "not tried"),
        Some(Spoke::Unread(why)) => Cell::new(CoverageStatus::Unknown, why),
        Some(Spoke::Unusable(why)) => Cell::new(CoverageStatus::Gap, why),
        Some(Spoke::Assumed { digest: Some(digest) }) if digest == expected => {
            Cell::new(CoverageStatus::Covered, "assumed, current")
        }
        Some(Spoke::Assumed { digest: Some(digest) }) => Cell::new(
            CoverageStatus::Gap,
            format!("assumed, but its permissions are `{digest}`, not `{expected}`"),
        ),
        Some(Spoke::Assumed { digest: None }) => Cell::new(
            CoverageStatus::Gap,
            format!("assumed, but it has no tag with the digest `{expected}` of its permissions"),
        ),
    }
}

fn policy(
    survey: &Survey,
    context: &SurveyContext<'_>,
    account: &SurveyedAccount,
    finding_types: &[finding_types::FindingType],
) -> (Cell, BTreeMap<&'static str, StanceRange>) {
    let Ok(policy) = context.policy else {
        return (
            Cell::new(CoverageStatus::Unknown, "the policy could not be read"),
            BTreeMap::new(),
        );
    };
    let Some(ou_path) = account.ou_path.clone() else {
        return (
            Cell::new(CoverageStatus::Unknown, "the account's OU path is unknown"),
            BTreeMap::new(),
        );
    };
    let place = Place { account: account.id.clone(), ou_path };
    match policy.stances(&place, &survey.question.home, finding_types) {
        Ok(modes) => (Cell::new(CoverageStatus::Covered, "covered"), modes),
        Err(why) => (Cell::new(CoverageStatus::Gap, why), BTreeMap::new()),
    }
}

fn member(survey: &Survey, account: &AccountId, seen: Option<&Reading<Members>>) -> Cell {
    let members = match seen {
        None => return Cell::new(CoverageStatus::Unknown, "not read"),
        Some(Reading::Unread(why)) => return Cell::new(CoverageStatus::Unknown, why),
        Some(Reading::Absent(why)) => return Cell::new(CoverageStatus::NotNeeded, why),
        Some(Reading::Read(members)) => members,
    };
    if *account == survey.question.administrator {
        return if members.own {
            Cell::new(CoverageStatus::Covered, "on in the administrator's account")
        } else {
            Cell::new(CoverageStatus::Gap, "off in the administrator's account")
        };
    }
    match members.members.get(account) {
        None => Cell::new(CoverageStatus::Gap, "not a member"),
        Some(status) if status.eq_ignore_ascii_case("enabled") => {
            Cell::new(CoverageStatus::Covered, status)
        }
        Some(status) => Cell::new(CoverageStatus::Gap, format!("a member that is {status}")),
    }
}

/// Whether a Region's findings reach the hub. Security Hub's rules are needed where its
/// events are: in each Region, or in the Region that aggregates them.
fn forwarding(survey: &Survey, region: &Region) -> Cell {
    let Some(seen) = survey.regions.get(region) else {
        return Cell::new(CoverageStatus::Unknown, "not read");
    };
    let here = survey.question.security_hub == SecurityHubUse::Wanted
        && survey.aggregates_in().is_none_or(|home| home == region);
    let count = if here { RULES.len() } else { 1 };
    let cells: Vec<Cell> =
        RULES.iter().take(count).map(|rule| rule_cell(survey, seen, rule)).collect();
    let worst = cells.iter().map(|cell| cell.status).max().unwrap_or(CoverageStatus::Unknown);
    let detail: Vec<&str> =
        cells.iter().filter(|cell| cell.status == worst).map(|cell| cell.detail.as_str()).collect();
    match worst {
        CoverageStatus::Covered => Cell::new(worst, "forwards"),
        CoverageStatus::NotNeeded | CoverageStatus::Unknown | CoverageStatus::Gap => {
            Cell::new(worst, detail.join(", "))
        }
    }
}

fn rule_cell(survey: &Survey, seen: &RegionSurvey, wanted: &RuleWanted) -> Cell {
    match seen.rules.get(wanted.name) {
        None => Cell::new(CoverageStatus::Unknown, "not read"),
        Some(Reading::Unread(why)) => Cell::new(CoverageStatus::Unknown, why),
        Some(Reading::Absent(why)) => Cell::new(CoverageStatus::NotNeeded, why),
        Some(Reading::Read(rule)) => match wanted.problem(rule, &survey.question.administrator) {
            None => Cell::new(CoverageStatus::Covered, "forwards"),
            Some(why) => Cell::new(CoverageStatus::Gap, why),
        },
    }
}
