//! A backtest as a page that stands on its own: no script, nothing loaded.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;

use firebreak_policy::{Backtest, Changed, Row, Side, Tripped};

/// All that a backtest says.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What is compared with.
    pub compared_with: String,
    /// How many findings were read.
    pub findings: usize,
    /// How many parts of the input are no finding that could be acted on.
    pub rejected: usize,
    /// The first of their reasons.
    pub rejections: Vec<String>,
    /// Findings in accounts that have no place: nothing is decided for them.
    pub unplaced: BTreeMap<String, usize>,
    /// What the two policies would have done.
    #[serde(flatten)]
    pub backtest: Backtest,
}

/// How many findings whose outcome changes are shown.
const SHOWN: usize = 1_000;

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2330; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #dde2ea; vertical-align: top }
.n { text-align: right; font-variant-numeric: tabular-nums } code { font-size: .85em; overflow-wrap: anywhere }
.before { fill: #9aa7bb } .after { fill: #2f6fde } text { font: 12px system-ui, sans-serif; fill: #1c2330 }
.warn { background: #fff4d6; padding: .5rem .8rem; border-left: 4px solid #d99a00 }
del { color: #a33; text-decoration: none } ins { color: #17742f; text-decoration: none }
.key::before { content: ''; display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; vertical-align: -.05em; background: var(--c) }
";

/// The page of a backtest.
pub fn page(report: &Report) -> Markup {
    let Report { compared_with, findings, rejected, unplaced, backtest, .. } = report;
    let Backtest { targets, repeats, counts, before, after, changed } = backtest;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Firebreak backtest" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "What the proposed policy would have done" }
                p {
                    (findings) " findings, " (targets) " targets decided, " (repeats)
                    " repeats; compared with " (compared_with) ". "
                    strong { (changed.len()) " findings change their outcome." }
                }
                @if *rejected > 0 {
                    p.warn { (rejected) " parts of the input are no findings that could be acted on." }
                }
                @if !unplaced.is_empty() {
                    p.warn { (unplaced.len()) " accounts have no place: nothing is decided for them." }
                }
                p { span.key style="--c:#9aa7bb" { "before" } span.key style="--c:#2f6fde" { "after" } }
                h2 { "Decisions by mode" }
                (bars(&by(counts, |row| row.mode.clone())))
                @for (unit, rows) in units(counts) {
                    h2 { "Decisions in " (unit) }
                    (bars(&by(&rows, |row| row.mode.clone())))
                }
                h2 { "Actions" }
                (bars(&actions(counts)))
                h2 { "Hit most" }
                (side("before", before))
                (side("after", after))
                h2 { "Every count" }
                table {
                    tr { th { "OU" } th { "mode" } th { "action" } th.n { "before" } th.n { "after" } }
                    @for Row { unit, mode, action, before, after } in counts {
                        tr { td { (unit) } td { (mode) } td { (action) } td.n { (before) } td.n { (after) } }
                    }
                }
                h2 { "Findings whose outcome changes" }
                @if changed.len() > SHOWN {
                    p { "The first " (SHOWN) " of " (changed.len()) "; --output json has all." }
                }
                table {
                    tr { th { "finding" } th { "target" } th { "before and after" } }
                    @for change in changed.iter().take(SHOWN) { (changed_row(change)) }
                }
            }
        }
    }
}

fn changed_row(change: &Changed) -> Markup {
    let Changed { finding, kind, severity, ou_path, target, before, after, .. } = change;
    html! {
        tr {
            td { (kind) " (" (severity) ")" br; code { (finding) } }
            td { code { (target) } br; code { (ou_path) } }
            td { del { (before) } br; ins { (after) } }
        }
    }
}

fn side(name: &str, side: &Side) -> Markup {
    let Side { responses, held, accounts, resources, tripped } = side;
    html! {
        h3 { (name) ": " (responses) " responses, " (held) "  more findings on resources already contained" }
        @for Tripped { budget, times, first } in tripped {
            p.warn {
                "The budget of " (budget.document) ", " (budget.budget) ", would have been spent "
                (times) " times"
                @if let Some(first) = first { ", first at " (first) }
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

/// Decisions, counted by something.
fn by(rows: &[Row], name: impl Fn(&Row) -> String) -> Counts {
    sum(rows.iter().filter(|row| row.action.is_empty()).map(|row| (name(row), row)))
}

fn actions(rows: &[Row]) -> Counts {
    let actions = rows.iter().filter(|row| !row.action.is_empty());
    sum(actions.map(|row| (format!("{} ({})", row.action, row.mode), row)))
}

fn sum<'a>(rows: impl Iterator<Item = (String, &'a Row)>) -> Counts {
    let mut counts = Counts::new();
    for (name, Row { before, after, .. }) in rows {
        let [all_before, all_after] = counts.entry(name).or_default();
        *all_before += before;
        *all_after += after;
    }
    counts
}

fn units(rows: &[Row]) -> BTreeMap<&str, Vec<Row>> {
    let mut units: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
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
