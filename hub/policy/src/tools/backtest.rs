//! Replays stored findings through two policies, and compares what each would have done.
//!
//! ```text
//! Finding → replay (each on its own, side by side) → Replayed → tally (in the order of time)
//! ```
//!
//! A response is counted once for a target and a rule. Later findings for which the same
//! rule would act on the same target are covered by that response, even if it waits for
//! approval: they are counted in the mode `held`.

use std::collections::{BTreeMap, BTreeSet};

use firebreak_model::resource::AccountId;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::budget_counters::BudgetCounters;
use super::effect::Effect;
use crate::eval::Policy;
use crate::model::{BudgetRef, Draw, Tags};
use firebreak_model::finding::Finding;
use firebreak_model::organization::{OuPath, Place};

/// One target of a finding, decided by both policies.
#[derive(Clone, Debug)]
pub struct Replayed {
    time: Option<Timestamp>,
    finding: String,
    kind: String,
    severity: f64,
    account: AccountId,
    ou_path: OuPath,
    target: String,
    before: Decided,
    after: Decided,
}

#[derive(Clone, Debug)]
struct Decided {
    effect: Effect,
    actions: Vec<String>,
    acts: bool,
    rule: Option<String>,
    draws: Vec<Draw>,
}

/// Decides about every target of a finding by both policies, with the tags that the
/// finding carries. Also returns the accounts of targets that have no place.
pub fn replay(
    finding: &Finding,
    (before, after): (&Policy, &Policy),
    ou_path: impl Fn(&AccountId) -> Option<OuPath>,
) -> (Vec<Replayed>, Vec<AccountId>) {
    let mut replayed = Vec::new();
    let mut unplaced = Vec::new();
    for target in &finding.targets {
        let account = &target.resource.account;
        let Some(ou_path) = ou_path(account) else {
            unplaced.push(account.clone());
            continue;
        };
        let place = Place { account: account.clone(), ou_path };
        let tags = Tags::Known(target.tags.clone());
        let decide = |policy: &Policy| {
            let decision = policy.decide(finding, target, &place, &tags);
            Decided {
                effect: Effect::of(&decision),
                actions: decision.actions.iter().map(|call| call.name.clone()).collect(),
                acts: decision.acts(),
                rule: decision.rule_key(),
                draws: decision.draws(&place),
            }
        };
        replayed.push(Replayed {
            time: finding.updated_at.or(finding.created_at),
            finding: finding.id.clone(),
            kind: finding.kind.clone(),
            severity: finding.severity,
            account: place.account.clone(),
            target: target.resource.arn(),
            before: decide(before),
            after: decide(after),
            ou_path: place.ou_path,
        });
    }
    (replayed, unplaced)
}

/// What each of two policies would have done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Backtest {
    /// How many decisions were made, without repeats.
    pub targets: usize,
    /// How many updates of a finding were left out because they changed nothing.
    pub repeats: usize,
    /// For each OU, mode and action: how often by each policy.
    pub counts: Vec<OutcomeCount>,
    /// The policy that was compared with.
    pub before: PolicyTotals,
    /// The policy that is proposed.
    pub after: PolicyTotals,
    /// Every decision that the policies make differently.
    pub changed: Vec<ChangedOutcome>,
}

/// How many decisions one OU would have had in one mode, or how many of them one action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutcomeCount {
    /// The root or OU directly above the accounts.
    pub unit: String,
    /// `auto`, `approve`, `observe`, `refused`, `nothing`, or `held` where an earlier
    /// response to another finding covers the target.
    pub mode: String,
    /// The action; empty in the row that counts decisions.
    pub action: String,
    /// How often by the policy that was compared with.
    pub before: usize,
    /// How often by the policy that is proposed.
    pub after: usize,
}

/// What one policy would have done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PolicyTotals {
    /// Responses that act, at once or once approved.
    pub responses: usize,
    /// Further findings that an earlier response covers.
    #[serde(rename = "held")]
    pub covered: usize,
    /// The accounts with the most responses, and how many each.
    pub accounts: Vec<(String, usize)>,
    /// The resources with the most findings that led to a response or were covered by one.
    pub resources: Vec<(String, usize)>,
    /// Budgets that would have been spent.
    #[serde(rename = "tripped")]
    pub spent_budgets: Vec<SpentBudget>,
}

/// A budget that would have been spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpentBudget {
    #[serde(flatten)]
    pub budget: BudgetRef,
    /// How many responses would have waited for approval because of it.
    pub times: usize,
    /// When the first of them would have begun; `None` if its finding has no time.
    pub first: Option<Timestamp>,
}

/// One target of a finding that the policies decide differently.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChangedOutcome {
    /// The finding's id.
    pub finding: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub severity: f64,
    pub account: AccountId,
    pub ou_path: OuPath,
    /// The target's ARN.
    pub target: String,
    #[serde(serialize_with = "as_text")]
    pub before: Effect,
    #[serde(serialize_with = "as_text")]
    pub after: Effect,
}

fn as_text<S: Serializer>(effect: &Effect, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(effect)
}

/// The mode of a decision that an earlier response covers.
const HELD: &str = "held";

/// How many accounts, and how many resources, are listed.
const MAX_LISTED: usize = 10;

/// What is counted for one policy.
#[derive(Default)]
struct Tally<'a> {
    budgets: BudgetCounters,
    /// The target and the rule of each response.
    with_response: BTreeSet<(&'a str, &'a str)>,
    covered: usize,
    responses: usize,
    accounts: BTreeMap<&'a str, usize>,
    resources: BTreeMap<&'a str, usize>,
    spent_budgets: BTreeMap<&'a BudgetRef, (usize, Option<Timestamp>)>,
}

impl Backtest {
    /// Counts in the order of time; findings without a time come first.
    pub fn tally(mut replayed: Vec<Replayed>) -> Self {
        replayed.sort_by(|one, other| {
            (one.time, &one.finding, &one.target).cmp(&(other.time, &other.finding, &other.target))
        });
        let mut backtest = Self::default();
        let mut counts: BTreeMap<(&str, &str, &str), [usize; 2]> = BTreeMap::new();
        let mut seen: BTreeMap<(&str, &str), [&str; 2]> = BTreeMap::new();
        let (mut before, mut after) = (Tally::default(), Tally::default());
        for row in &replayed {
            let last = seen.get(&(row.finding.as_str(), row.target.as_str())).copied();
            let modes = [
                before.add(row, &row.before, last.map(|[mode, _]| mode)),
                after.add(row, &row.after, last.map(|[_, mode]| mode)),
            ];
            seen.insert((&row.finding, &row.target), modes);
            // A repeat: the modes are those of the finding's last update.
            if last == Some(modes) {
                backtest.repeats += 1;
                continue;
            }
            backtest.targets += 1;
            let unit = row.ou_path.unit();
            for (side, (mode, decided)) in modes.iter().zip([&row.before, &row.after]).enumerate() {
                let mut count = |action| {
                    let both = counts.entry((unit, mode, action)).or_default();
                    if let Some(count) = both.get_mut(side) {
                        *count += 1;
                    }
                };
                count("");
                if !matches!(*mode, "refused" | "nothing" | HELD) {
                    decided.actions.iter().for_each(|action| count(action));
                }
            }
            if modes[0] != modes[1] || row.before.effect != row.after.effect {
                backtest.changed.push(row.changed(modes));
            }
        }
        backtest.counts = counts
            .into_iter()
            .map(|((unit, mode, action), [before, after])| OutcomeCount {
                unit: unit.to_owned(),
                mode: mode.to_owned(),
                action: action.to_owned(),
                before,
                after,
            })
            .collect();
        backtest.before = before.totals();
        backtest.after = after.totals();
        backtest
    }
}

impl Replayed {
    fn changed(&self, [before, after]: [&'static str; 2]) -> ChangedOutcome {
        let effect = |decided: &Decided, mode| Effect { mode, ..decided.effect.clone() };
        ChangedOutcome {
            finding: self.finding.clone(),
            kind: self.kind.clone(),
            severity: self.severity,
            account: self.account.clone(),
            ou_path: self.ou_path.clone(),
            target: self.target.clone(),
            before: effect(&self.before, before),
            after: effect(&self.after, after),
        }
    }
}

impl<'a> Tally<'a> {
    /// Counts one decision, and returns its mode: the decision's own, `held` where an
    /// earlier response covers it, `approve` where a budget is spent. `last` is the mode
    /// of the same finding's last update at this target.
    fn add(
        &mut self,
        row: &'a Replayed,
        decided: &'a Decided,
        last: Option<&'static str>,
    ) -> &'static str {
        let mode = decided.effect.mode;
        let (true, Some(rule)) = (decided.acts, decided.rule.as_deref()) else { return mode };
        if !self.with_response.insert((&row.target, rule)) {
            // The response is this finding's own.
            if let Some(last @ ("auto" | "approve" | HELD)) = last {
                return last;
            }
            self.covered += 1;
            *self.resources.entry(&row.target).or_default() += 1;
            return HELD;
        }
        self.responses += 1;
        *self.resources.entry(&row.target).or_default() += 1;
        *self.accounts.entry(row.account.as_str()).or_default() += 1;
        if mode != "auto" {
            return mode;
        }
        let now = row.time.unwrap_or(Timestamp::UNIX_EPOCH);
        let Err(budget) = self.budgets.draw(&decided.draws, now) else { return mode };
        let (times, _) = self.spent_budgets.entry(budget).or_insert((0, row.time));
        *times += 1;
        "approve"
    }

    fn totals(self) -> PolicyTotals {
        PolicyTotals {
            responses: self.responses,
            covered: self.covered,
            accounts: most(self.accounts),
            resources: most(self.resources),
            spent_budgets: self
                .spent_budgets
                .into_iter()
                .map(|(budget, (times, first))| SpentBudget {
                    budget: budget.clone(),
                    times,
                    first,
                })
                .collect(),
        }
    }
}

/// The names with the highest counts, the highest first.
fn most(counts: BTreeMap<&str, usize>) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> =
        counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    counts.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    counts.truncate(MAX_LISTED);
    counts
}
