//! Replays stored findings through two policies, and compares what each would have done.
//!
//! ```text
//! Finding → replay (each on its own, side by side) → Replayed → tally (in the order of time)
//! ```
//!
//! A response is counted once for a target and a rule. Later findings of a target that a
//! response covers already are counted as held.

use std::collections::{BTreeMap, BTreeSet};

use firebreak_model::resource::AccountId;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::effect::Effect;
use super::spent::Spent;
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
    /// For each OU, mode and action: how often before and after.
    pub counts: Vec<Row>,
    /// The policy that was compared with.
    pub before: Side,
    /// The policy that is proposed.
    pub after: Side,
    /// Every finding whose outcome changes.
    pub changed: Vec<Changed>,
}

/// How often one action, or any, would have been executed in one OU and mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The root or OU directly above the accounts.
    pub unit: String,
    /// `auto`, `approve`, `observe`, `refused`, `nothing`, or `held` for a target that a
    /// response to another finding covers already.
    pub mode: String,
    /// The action; empty for the number of decisions.
    pub action: String,
    /// How often by the policy that was compared with.
    pub before: usize,
    /// How often by the policy that is proposed.
    pub after: usize,
}

/// What one policy would have done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Side {
    /// Responses that act, at once or once approved.
    pub responses: usize,
    /// Findings of a target that a response covered already.
    pub held: usize,
    /// The accounts with the most responses, the most first.
    pub accounts: Vec<(String, usize)>,
    /// The resources with the most findings that led to a response or were held.
    pub resources: Vec<(String, usize)>,
    /// Budgets that would have been spent.
    pub tripped: Vec<Tripped>,
}

/// A budget that would have been spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tripped {
    #[serde(flatten)]
    pub budget: BudgetRef,
    /// How many responses would have waited for approval because of it.
    pub times: usize,
    /// The time of the first.
    pub first: Option<Timestamp>,
}

/// A finding whose outcome changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changed {
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

/// The mode of a finding of a target that a response covers already.
const HELD: &str = "held";

/// How many accounts and resources are listed.
const MOST: usize = 10;

/// What is counted for one policy.
#[derive(Default)]
struct Tally<'a> {
    spent: Spent,
    held: BTreeSet<(&'a str, &'a str)>,
    held_again: usize,
    responses: usize,
    accounts: BTreeMap<&'a str, usize>,
    resources: BTreeMap<&'a str, usize>,
    tripped: BTreeMap<&'a BudgetRef, (usize, Option<Timestamp>)>,
}

impl Backtest {
    /// Counts in the order of time; what has no time comes first.
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
            // An update that changes nothing is handled already.
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
            .map(|((unit, mode, action), [before, after])| Row {
                unit: unit.to_owned(),
                mode: mode.to_owned(),
                action: action.to_owned(),
                before,
                after,
            })
            .collect();
        backtest.before = before.side();
        backtest.after = after.side();
        backtest
    }
}

impl Replayed {
    fn changed(&self, [before, after]: [&'static str; 2]) -> Changed {
        let effect = |decided: &Decided, mode| Effect { mode, ..decided.effect.clone() };
        Changed {
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
    /// Counts one decision, and returns its mode after what was counted before. `last` is
    /// the mode of the same finding's last update at this target.
    fn add(
        &mut self,
        row: &'a Replayed,
        decided: &'a Decided,
        last: Option<&'static str>,
    ) -> &'static str {
        let mode = decided.effect.mode;
        let (true, Some(rule)) = (decided.acts, decided.rule.as_deref()) else { return mode };
        if !self.held.insert((&row.target, rule)) {
            // The response is this finding's own.
            if let Some(last @ ("auto" | "approve" | HELD)) = last {
                return last;
            }
            self.held_again += 1;
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
        let Err(budget) = self.spent.take(&decided.draws, now) else { return mode };
        let tripped = self.tripped.entry(budget).or_insert((0, row.time));
        tripped.0 += 1;
        "approve"
    }

    fn side(self) -> Side {
        Side {
            responses: self.responses,
            held: self.held_again,
            accounts: most(self.accounts),
            resources: most(self.resources),
            tripped: self
                .tripped
                .into_iter()
                .map(|(budget, (times, first))| Tripped { budget: budget.clone(), times, first })
                .collect(),
        }
    }
}

/// The names with the highest counts, the highest first.
fn most(counts: BTreeMap<&str, usize>) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> =
        counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    counts.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    counts.truncate(MOST);
    counts
}
