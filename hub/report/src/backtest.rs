//! A backtest as a page.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde::Serialize;

use firebreak_policy::{Backtest, ChangedOutcome, OutcomeCount, PolicyTotals, SpentBudget};

use crate::page;

/// A backtest, with counts of what was read and rejected.
#[derive(Debug, Serialize)]
pub struct BacktestReport {
    /// The name of the policy that was compared with.
    pub compared_with: String,
    /// How many findings were read.
    pub findings: usize,
    /// How many parts of the input were rejected.
    pub rejected: usize,
    /// The first reasons for rejections.
    pub rejections: Vec<String>,
    /// Findings by account, for accounts whose OU path is unknown: nothing is decided
    /// for them.
    pub unplaced: BTreeMap<String, usize>,
    #[serde(flatten)]
    pub backtest: Backtest,
}

/// How many changed decisions are listed.
const MAX_LISTED: usize = 1_000;

const STYLE: &str = "
body { max-width: 70rem } table { width: 100% } td, th { padding: .25rem .6rem; border-bottom: 1px solid #dde2ea }
.n { text-align: right; font-variant-numeric: tabular-nums }
.before { fill: #9aa7bb } .after { fill: #2f6fde } text { font: 12px system-ui, sans-serif; fill: #1c2330 }
del { color: #a33; text-decoration: none } ins { color: #17742f; text-decoration: none }
.key::before { content: ''; display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; vertical-align: -.05em; background: var(--c) }
";

pub fn page(report: &BacktestReport) -> Markup {
    let BacktestReport { compared_with, findings, rejected, unplaced, backtest, .. } = report;
    let Backtest { targets, repeats, counts, before, after, changed } = backtest;
    let body = html! {
        h1 { "What the proposed policy would have done" }
        p {
            (findings) " findings, " (targets) " targets decided, " (repeats)
            " repeats; compared with " (compared_with) ". "
            strong { (changed.len()) " decisions change." }
        }
        @if *rejected > 0 {
            p.warn { (rejected) " parts of the input were rejected." }
        }
        @if !unplaced.is_empty() {
            p.warn { (unplaced.len()) " accounts have no known OU path and were skipped." }
        }
        p { span.key style="--c:#9aa7bb" { "before" } span.key style="--c:#2f6fde" { "after" } }
        h2 { "Decisions by mode" }
        (bars(&decisions_by(counts, |row| row.mode.clone())))
        @for (unit, rows) in units(counts) {
            h2 { "Decisions in " (unit) }
            (bars(&decisions_by(&rows, |row| row.mode.clone())))
        }
        h2 { "Actions" }
        (bars(&actions_by_name(counts)))
        h2 { "Accounts with the most responses, resources with the most findings" }
        (totals("before", before))
        (totals("after", after))
        h2 { "All counts" }
        table {
            tr { th { "OU" } th { "mode" } th { "action" } th.n { "before" } th.n { "after" } }
            @for OutcomeCount { unit, mode, action, before, after } in counts {
                tr { td { (unit) } td { (mode) } td { @if action.is_empty() { "(decisions)" } @else { (action) } } td.n { (before) } td.n { (after) } }
            }
        }
        h2 { "Decisions that change" }
        @if changed.len() > MAX_LISTED {
            p { "The first " (MAX_LISTED) " of " (changed.len()) "; --output json has all." }
        }
        table {
            tr { th { "finding" } th { "target" } th { "before and after" } }
            @for change in changed.iter().take(MAX_LISTED) { (changed_row(change)) }
        }
    };
    page::page("Firebreak backtest", STYLE, &body)
}

fn changed_row(change: &ChangedOutcome) -> Markup {
    let ChangedOutcome { finding, kind, severity, ou_path, target, before, after, .. } = change;
    html! {
        tr {
            td { (kind) " (" (severity) ")" br; code { (finding) } }
            td { code { (target) } br; code { (ou_path) } }
            td { del { (before) } br; ins { (after) } }
        }
    }
}

fn totals(name: &str, totals: &PolicyTotals) -> Markup {
    let PolicyTotals { responses, covered, accounts, resources, spent_budgets } = totals;
    html! {
        h3 { (name) ": " (responses) " responses, " (covered) " more findings held: covered by an earlier response" }
        @for SpentBudget { budget, times, first } in spent_budgets {
            p.warn {
                "The budget of " (budget.document) ", " (budget.budget) ", would have been spent: "
                (times) " responses would wait for approval"
                @if let Some(first) = first { ", the first at " (first) }
                "."
            }
        }
        @if !accounts.is_empty() {
            table {
                tr { th { "account or resource" } th.n { "count" } }
                @for (name, count) in accounts.iter().chain(resources) {
                    tr { td { code { (name) } } td.n { (count) } }
                }
            }
        }
    }
}

type Counts = BTreeMap<String, [usize; 2]>;

/// Decisions, counted by name.
fn decisions_by(rows: &[OutcomeCount], name: impl Fn(&OutcomeCount) -> String) -> Counts {
    sum(rows.iter().filter(|row| row.action.is_empty()).map(|row| (name(row), row)))
}

fn actions_by_name(rows: &[OutcomeCount]) -> Counts {
    let actions = rows.iter().filter(|row| !row.action.is_empty());
    sum(actions.map(|row| (format!("{} ({})", row.action, row.mode), row)))
}

fn sum<'a>(rows: impl Iterator<Item = (String, &'a OutcomeCount)>) -> Counts {
    let mut counts = Counts::new();
    for (name, OutcomeCount { before, after, .. }) in rows {
        let [all_before, all_after] = counts.entry(name).or_default();
        *all_before += before;
        *all_after += after;
    }
    counts
}

fn units(rows: &[OutcomeCount]) -> BTreeMap<&str, Vec<OutcomeCount>> {
    let mut units: BTreeMap<&str, Vec<OutcomeCount>> = BTreeMap::new();
    for row in rows {
        units.entry(&row.unit).or_default().push(row.clone());
    }
    units
}

/// Two bars for each name.
fn bars(counts: &Counts) -> Markup {
    const WIDTH: usize = 560;
    const LEFT: usize = 300;
    let most = counts.values().flatten().copied().max().unwrap_or(0).max(1);
    let rows: Vec<(usize, &String, &[usize; 2])> =
        counts.iter().enumerate().map(|(index, (name, pair))| (index * 36, name, pair)).collect();
    html! {
        svg width="100%" viewBox=(format!("0 0 {} {}", LEFT + WIDTH + 80, counts.len() * 36 + 4)) role="img" {
            @for (top, name, [before, after]) in rows {
                text x="0" y=(top + 20) { (name) }
                @for (count, class, y) in [(before, "before", top + 4), (after, "after", top + 18)] {
                    rect class=(class) x=(LEFT) y=(y) height="12" width=(count * WIDTH / most);
                    text x=(LEFT + count * WIDTH / most + 6) y=(y + 10) { (count) }
                }
            }
        }
    }
}
