//! Account by Region: what is covered, and what is missing.

use std::collections::{BTreeMap, BTreeSet};

use firebreak_model::resource::{AccountId, Region};
use jiff::Timestamp;
use rayon::prelude::*;
use serde::Serialize;

use super::survey::{
    Members, Question, RULES, RegionSurvey, RuleWanted, SecurityHub, Spoke, Survey, SurveyContext,
    SurveyedAccount,
};
use crate::setup::Reading;
use firebreak_model::finding_types;
use firebreak_model::organization::Place;
use firebreak_policy::Span;

/// How something stands. What is worse comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CoverageStatus {
    /// It is not asked for here.
    NotNeeded,
    /// It is as it should be.
    Covered,
    /// It could not be read, so that it counts as missing.
    Unknown,
    /// It is missing.
    Gap,
}

impl CoverageStatus {
    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotNeeded => "not needed",
            Self::Covered => "covered",
            Self::Unknown => "unknown",
            Self::Gap => "gap",
        }
    }

    /// Whether something is to be done about it.
    pub const fn is_missing(self) -> bool {
        match self {
            Self::NotNeeded | Self::Covered => false,
            Self::Unknown | Self::Gap => true,
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// How it stands.
    pub verdict: CoverageStatus,
    /// What was seen, in words.
    pub detail: String,
}

impl Cell {
    fn new(verdict: CoverageStatus, detail: impl Into<String>) -> Self {
        // Reasons of AWS may come with advice on a second line.
        Self { verdict, detail: detail.into().replace('\n', "; ") }
    }
}

/// Whether an account is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountStatus {
    /// Nothing is missing.
    Covered,
    /// Something is.
    Gaps,
    /// Its state says that nothing can happen in it: suspended, closed.
    Inactive,
    /// It was left out on purpose.
    Excepted,
}

impl AccountStatus {
    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Covered => "covered",
            Self::Gaps => "gaps",
            Self::Inactive => "inactive",
            Self::Excepted => "left out",
        }
    }
}

/// An account's part of the matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountRow {
    /// The account.
    pub account: AccountId,
    /// Its name.
    pub name: String,
    /// AWS Organizations' word.
    pub state: String,
    /// The OUs above it.
    pub ou_path: Option<String>,
    /// How it stands.
    pub standing: AccountStatus,
    /// Its spoke role.
    pub spoke: Cell,
    /// What policy covers it.
    pub policy: Cell,
    /// What policy does about each family of finding types.
    pub modes: BTreeMap<&'static str, Span>,
    /// The last day on which the hub decided about a finding of it; none in the
    /// days that were looked at, or unread.
    pub last_finding: Option<String>,
    /// Whether it is GuardDuty's member, by Region.
    pub guardduty: BTreeMap<Region, Cell>,
    /// Whether it is Security Hub's member, by Region.
    pub security_hub: BTreeMap<Region, Cell>,
    /// What is missing, in words.
    pub gaps: Vec<String>,
}

/// A Region's part of the matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegionRow {
    /// The Region.
    pub region: Region,
    /// Whether its findings reach the hub.
    pub forwarding: Cell,
    /// How many accounts have GuardDuty there.
    pub guardduty: usize,
    /// How many accounts have Security Hub there.
    pub security_hub: usize,
}

/// Counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// All accounts.
    pub accounts: usize,
    /// Nothing of theirs is missing.
    pub covered: usize,
    /// Something of theirs is missing.
    pub gaps: usize,
    /// They are suspended or closed.
    pub inactive: usize,
    /// They were left out on purpose.
    pub excepted: usize,
    /// Accounts without GuardDuty in some Region.
    pub without_guardduty: usize,
    /// Accounts without Security Hub in some Region.
    pub without_security_hub: usize,
    /// Accounts whose spoke role is not there, not current or not usable.
    pub without_spoke: usize,
    /// Accounts that no policy covers.
    pub without_policy: usize,
    /// What policy does about each family of finding types, and in how many accounts.
    pub modes: BTreeMap<&'static str, BTreeMap<String, usize>>,
}

/// The whole matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// Whether nothing is missing anywhere.
    pub complete: bool,
    /// When the first part was read.
    pub began: Timestamp,
    /// What was asked.
    pub question: Question,
    /// Counts.
    pub summary: Summary,
    /// What is wrong with the organization as a whole.
    pub problems: Vec<String>,
    /// What is not known, though nothing is missing for it.
    pub notes: Vec<String>,
    /// The Regions that are left out, and why.
    pub skipped: BTreeMap<Region, String>,
    /// Each Region, the home Region first.
    pub regions: Vec<RegionRow>,
    /// Each account.
    pub accounts: Vec<AccountRow>,
}

/// Puts together what was read.
pub fn matrix(survey: &Survey, context: &SurveyContext<'_>) -> Matrix {
    let finding_types = finding_types::all();
    let row = |account: &SurveyedAccount| row(survey, context, account, &finding_types);
    let mut accounts: Vec<AccountRow> = survey.accounts.par_iter().map(row).collect();
    accounts.sort_by(|one, other| one.account.cmp(&other.account));
    let has = |cells: &BTreeMap<Region, Cell>, region: &Region| {
        cells.get(region).is_some_and(|cell| cell.verdict == CoverageStatus::Covered)
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
        problems.push(format!("what policy does is not known: {}", why.replace('\n', "; ")));
    }
    if accounts.is_empty() {
        problems.push("no account was read".to_owned());
    }
    let known: BTreeSet<&AccountId> = accounts.iter().map(|row| &row.account).collect();
    for account in context.except.iter().filter(|id| !known.contains(id)) {
        problems.push(format!("{account} is to be left out, and is no account here"));
    }
    let notes = context.last.as_ref().err().map(|why| {
        format!("when a finding was seen last is not known: {}", why.replace('\n', "; "))
    });
    let summary = summary(&accounts);
    let forwarded = regions.iter().all(|region| !region.forwarding.verdict.is_missing());
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
    let standing = |wanted| accounts.iter().filter(|row| row.standing == wanted).count();
    let lacking =
        |lacks: &dyn Fn(&AccountRow) -> bool| accounts.iter().filter(|row| lacks(row)).count();
    let mut modes: BTreeMap<&'static str, BTreeMap<String, usize>> = BTreeMap::new();
    for (family, span) in accounts.iter().flat_map(|row| &row.modes) {
        *modes.entry(*family).or_default().entry(span.to_string()).or_default() += 1;
    }
    let any = |cells: &BTreeMap<Region, Cell>| cells.values().any(|it| it.verdict.is_missing());
    Summary {
        accounts: accounts.len(),
        covered: standing(AccountStatus::Covered),
        gaps: standing(AccountStatus::Gaps),
        inactive: standing(AccountStatus::Inactive),
        excepted: standing(AccountStatus::Excepted),
        without_guardduty: lacking(&|row| any(&row.guardduty)),
        without_security_hub: lacking(&|row| any(&row.security_hub)),
        without_spoke: lacking(&|row| row.spoke.verdict.is_missing()),
        without_policy: lacking(&|row| row.policy.verdict.is_missing()),
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
    let left_out = if account.works() {
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
        standing: AccountStatus::Covered,
        spoke: Cell::new(CoverageStatus::NotNeeded, ""),
        policy: Cell::new(CoverageStatus::NotNeeded, ""),
        modes: BTreeMap::new(),
        last_finding: last.map(ToString::to_string),
        guardduty: BTreeMap::new(),
        security_hub: BTreeMap::new(),
        gaps: Vec::new(),
    };
    if let Some((standing, detail)) = left_out {
        row.standing = standing;
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
            SecurityHub::Wanted => member(survey, id, seen.map(|seen| &seen.security_hub)),
            SecurityHub::Unused => Cell::new(CoverageStatus::NotNeeded, "not used"),
        };
        row.security_hub.insert(region.clone(), security_hub);
    }
    row.gaps = gaps(&row);
    if !row.gaps.is_empty() {
        row.standing = AccountStatus::Gaps;
    }
    row
}

/// All that is missing of an account; what is alike in several Regions once.
fn gaps(row: &AccountRow) -> Vec<String> {
    let mut gaps = Vec::new();
    for (what, cell) in [("spoke role", &row.spoke), ("policy", &row.policy)] {
        if cell.verdict.is_missing() {
            gaps.push(format!("{what}: {}", cell.detail));
        }
    }
    for (service, cells) in [("GuardDuty", &row.guardduty), ("Security Hub", &row.security_hub)] {
        let mut alike: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (region, cell) in cells.iter().filter(|(_, cell)| cell.verdict.is_missing()) {
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
        Some(Spoke::Closed(why)) => Cell::new(CoverageStatus::Gap, why),
        Some(Spoke::Assumed { digest: Some(digest) }) if digest == expected => {
            Cell::new(CoverageStatus::Covered, "assumed, current")
        }
        Some(Spoke::Assumed { digest: Some(digest) }) => Cell::new(
            CoverageStatus::Gap,
            format!("assumed, but its permissions are `{digest}`, not `{expected}`"),
        ),
        Some(Spoke::Assumed { digest: None }) => Cell::new(
            CoverageStatus::Gap,
            format!("assumed, but no tag says that its permissions are `{expected}`"),
        ),
    }
}

fn policy(
    survey: &Survey,
    context: &SurveyContext<'_>,
    account: &SurveyedAccount,
    finding_types: &[finding_types::FindingType],
) -> (Cell, BTreeMap<&'static str, Span>) {
    let Ok(policy) = context.policy else {
        return (
            Cell::new(CoverageStatus::Unknown, "the policy could not be read"),
            BTreeMap::new(),
        );
    };
    let Some(ou_path) = account.ou_path.clone() else {
        return (
            Cell::new(CoverageStatus::Unknown, "the account's place is not known"),
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

/// Whether a Region's findings reach the hub. Security Hub's rules are needed
/// where its events are: in each Region, or where it gathers them.
fn forwarding(survey: &Survey, region: &Region) -> Cell {
    let Some(seen) = survey.regions.get(region) else {
        return Cell::new(CoverageStatus::Unknown, "not read");
    };
    let here = survey.question.security_hub == SecurityHub::Wanted
        && survey.gathers_in().is_none_or(|home| home == region);
    let count = if here { RULES.len() } else { 1 };
    let cells: Vec<Cell> =
        RULES.iter().take(count).map(|rule| rule_cell(survey, seen, rule)).collect();
    let worst = cells.iter().map(|cell| cell.verdict).max().unwrap_or(CoverageStatus::Unknown);
    let detail: Vec<&str> = cells
        .iter()
        .filter(|cell| cell.verdict == worst)
        .map(|cell| cell.detail.as_str())
        .collect();
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
        Some(Reading::Read(rule)) => match wanted.lacks(rule, &survey.question.administrator) {
            None => Cell::new(CoverageStatus::Covered, "forwards"),
            Some(why) => Cell::new(CoverageStatus::Gap, why),
        },
    }
}
