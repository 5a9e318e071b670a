//! A backtest as text.

use std::io::Write;

use comfy_table::CellAlignment;

use firebreak_policy::{Backtest, ChangedOutcome, OutcomeCount, PolicyTotals, SpentBudget};
use firebreak_report::backtest::BacktestReport;

use crate::terminal::table;

/// How many changed decisions are written.
const MAX_WRITTEN: usize = 20;

pub(super) fn write(out: &mut impl Write, report: &BacktestReport) -> std::io::Result<()> {
    let BacktestReport { compared_with, findings, rejected, rejections, unplaced, backtest } =
        report;
    let Backtest { targets, repeats, counts, before, after, changed } = backtest;
    writeln!(out, "{findings} finding(s), {targets} target(s) decided, {repeats} repeat(s)")?;
    writeln!(out, "compared with {compared_with}")?;
    if *rejected > 0 {
        writeln!(out, "{rejected} part(s) of the input rejected, such as:")?;
        for reason in rejections.iter().take(3) {
            writeln!(out, "  {reason}")?;
        }
    }
    if !unplaced.is_empty() {
        let sum: usize = unplaced.values().sum();
        writeln!(
            out,
            "{sum} target(s) in {} account(s) whose OU path is unknown were skipped",
            unplaced.len()
        )?;
    }
    let mut table = table(["OU", "mode", "action", "before", "after"]);
    for OutcomeCount { unit, mode, action, before, after } in counts {
        table.add_row([
            unit.clone(),
            mode.clone(),
            if action.is_empty() { "(decisions)".to_owned() } else { action.clone() },
            before.to_string(),
            after.to_string(),
        ]);
    }
    for column in [3, 4] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(out, "\n{table}\n")?;
    write_totals(out, "before", before)?;
    write_totals(out, "after", after)?;
    writeln!(out, "{} decision(s) change", changed.len())?;
    for ChangedOutcome { finding, kind, severity, account, target, before, after, .. } in
        changed.iter().take(MAX_WRITTEN)
    {
        writeln!(out, "  {kind} ({severity}) {finding} in {account}\n    {target}")?;
        writeln!(out, "    - {before}\n    + {after}")?;
    }
    if changed.len() > MAX_WRITTEN {
        writeln!(out, "  and {} more: --output json has all", changed.len() - MAX_WRITTEN)?;
    }
    Ok(())
}

fn write_totals(out: &mut impl Write, name: &str, totals: &PolicyTotals) -> std::io::Result<()> {
    let PolicyTotals { responses, covered, accounts, resources, spent_budgets } = totals;
    writeln!(
        out,
        "{name}: {responses} response(s), {covered} more finding(s) held: covered by an earlier response"
    )?;
    let named = |list: &[(String, usize)]| {
        let named: Vec<String> =
            list.iter().take(3).map(|(name, count)| format!("{name} ({count})")).collect();
        named.join(", ")
    };
    if !accounts.is_empty() {
        writeln!(out, "  accounts with the most responses: {}", named(accounts))?;
        writeln!(out, "  resources with the most findings: {}", named(resources))?;
    }
    for SpentBudget { budget, times, first } in spent_budgets {
        let first = first.map(|first| format!(", the first at {first}")).unwrap_or_default();
        writeln!(
            out,
            "  ! the budget of {}, {}, would have been spent: {times} response(s) would wait for approval{first}",
            budget.document, budget.budget
        )?;
    }
    Ok(())
}
