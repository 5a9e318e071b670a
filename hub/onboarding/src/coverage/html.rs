//! The matrix as a page.

use firebreak_report::page;
use maud::{Markup, html};

use super::matrix::{AccountRow, AccountStatus, Cell, CoverageStatus, Matrix, RegionRow};
use firebreak_model::finding_types::FAMILIES;

const STYLE: &str = "
td, th { padding: .15rem .5rem; border: 1px solid #fff }
thead th { position: sticky; top: 0; background: #fff; vertical-align: bottom }
.r { writing-mode: vertical-rl; transform: rotate(180deg) }
.c { background: #bfe3c8 } .g { background: #e2574c; color: #fff } .u { background: #f3c95b } .n { background: #e6e9ee; color: #667 }
.auto { background: #2f8f4e; color: #fff } .approve { background: #8ccb9b } .observe { background: #d7e9f7 } .refused { background: #f3dcb0 } .nothing { background: #e6e9ee; color: #667 }
";

pub fn page(matrix: &Matrix) -> Markup {
    let Matrix { question, summary, problems, notes, skipped, regions, accounts, .. } = matrix;
    let body = html! {
        h1 { "Coverage of the organization of " (question.management) }
        p {
            "Administrator " (question.administrator) ", survey begun at " (matrix.began) ". "
            strong { @if matrix.complete { "Nothing is missing." } @else { "Something is missing." } }
        }
        p {
            (summary.accounts) " accounts: " (summary.covered) " covered, " (summary.gaps)
            " with gaps, " (summary.inactive) " suspended or closed, " (summary.excepted)
            " left out on purpose."
        }
        @for problem in problems.iter().chain(notes) { p.warn { (problem) } }
        @for (region, why) in skipped { p { (region) " is left out: " (why) } }
        h2 { "Accounts by Region" }
        p {
            "A cell shows the worst status of GuardDuty, Security Hub and forwarding: "
            span.c { " covered " } " " span.g { " gap " } " " span.u { " unknown " } " " span.n { " not needed " }
            ". Hover over a gap for its reason."
        }
        table {
            thead { tr {
                th { "account" } th { "name" } th { "state" }
                th.r { "spoke role" } th.r { "policy" }
                @for region in regions { th.r { (region.region) } }
                @for family in FAMILIES { th.r { (family) } }
                th { "last finding" }
            } }
            tbody {
                tr {
                    th colspan="5" { "findings reach the hub" }
                    @for region in regions { (cell(&[("forwarding", &region.forwarding)])) }
                    td colspan=(FAMILIES.len() + 1) {}
                }
                @for row in accounts { (account(row, regions)) }
            }
        }
    };
    page::page("Firebreak coverage", STYLE, &body)
}

fn account(row: &AccountRow, regions: &[RegionRow]) -> Markup {
    let left_out = match row.status {
        AccountStatus::Inactive | AccountStatus::Excepted => true,
        AccountStatus::Covered | AccountStatus::Gaps => false,
    };
    html! {
        tr {
            td { code { (row.account) } }
            td title=(row.ou_path.as_deref().unwrap_or("place unknown")) { (row.name) }
            td { (row.state) @if row.status == AccountStatus::Excepted { " (left out)" } }
            (cell(&[("spoke role", &row.spoke)]))
            (cell(&[("policy", &row.policy)]))
            @if left_out {
                td.n colspan=(regions.len() + FAMILIES.len()) { (row.spoke.detail) }
            } @else {
                @for region in regions {
                    @let cells: Vec<(&str, &Cell)> = [
                        ("GuardDuty", row.guardduty.get(&region.region)),
                        ("Security Hub", row.security_hub.get(&region.region)),
                        ("forwarding", Some(&region.forwarding)),
                    ].into_iter().filter_map(|(what, cell)| Some((what, cell?))).collect();
                    (cell(&cells))
                }
                @for family in FAMILIES {
                    @match row.modes.get(family) {
                        Some(span) => td class=(span.strongest.name()) { (span) },
                        None => td.u { "unknown" },
                    }
                }
            }
            td { (row.last_finding.as_deref().unwrap_or("")) }
        }
    }
}

/// One cell, by the worst status in it.
fn cell(cells: &[(&str, &Cell)]) -> Markup {
    let worst = cells.iter().map(|(_, cell)| cell.status).max().unwrap_or(CoverageStatus::Unknown);
    let detail: Vec<String> = cells
        .iter()
        .filter(|(_, cell)| cell.status.is_missing())
        .map(|(what, cell)| format!("{what}: {}", cell.detail))
        .collect();
    let (class, word) = match worst {
        CoverageStatus::Covered => ("c", "ok"),
        CoverageStatus::Gap => ("g", "gap"),
        CoverageStatus::Unknown => ("u", "?"),
        CoverageStatus::NotNeeded => ("n", "–"),
    };
    html! {
        @if detail.is_empty() {
            td class=(class) { (word) }
        } @else {
            td class=(class) title=(detail.join("\n")) { (word) }
        }
    }
}
