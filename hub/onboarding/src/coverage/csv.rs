//! The matrix as CSV: a line for each account and Region, for spreadsheets.

use super::matrix::{AccountRow, Cell, Matrix};
use firebreak_model::finding_types::FAMILIES;

/// The whole matrix, by RFC 4180. An account without Regions, because it is
/// suspended or left out, has one line.
pub fn csv(matrix: &Matrix) -> String {
    let mut header: Vec<String> = [
        "account",
        "name",
        "state",
        "ou_path",
        "standing",
        "region",
        "guardduty",
        "guardduty_detail",
        "security_hub",
        "security_hub_detail",
        "forwarding",
        "forwarding_detail",
        "spoke",
        "spoke_detail",
        "policy",
        "policy_detail",
        "last_finding",
    ]
    .map(str::to_owned)
    .to_vec();
    header.extend(FAMILIES.iter().map(|family| format!("mode_{family}")));
    let mut out = line(&header);
    for row in &matrix.accounts {
        if row.guardduty.is_empty() {
            out.push_str(&line(&fields(row, "", [None; 3])));
            continue;
        }
        for region in &matrix.regions {
            let cells = [
                row.guardduty.get(&region.region),
                row.security_hub.get(&region.region),
                Some(&region.forwarding),
            ];
            out.push_str(&line(&fields(row, region.region.as_str(), cells)));
        }
    }
    out
}

fn fields(row: &AccountRow, region: &str, cells: [Option<&Cell>; 3]) -> Vec<String> {
    let mut fields = vec![
        row.account.to_string(),
        row.name.clone(),
        row.state.clone(),
        row.ou_path.clone().unwrap_or_default(),
        row.standing.name().to_owned(),
        region.to_owned(),
    ];
    for cell in cells.into_iter().chain([Some(&row.spoke), Some(&row.policy)]) {
        fields.push(cell.map(|cell| cell.verdict.name().to_owned()).unwrap_or_default());
        fields.push(cell.map(|cell| cell.detail.clone()).unwrap_or_default());
    }
    fields.push(row.last_finding.clone().unwrap_or_default());
    fields.extend(
        FAMILIES
            .iter()
            .map(|family| row.modes.get(family).map(ToString::to_string).unwrap_or_default()),
    );
    fields
}

fn line(fields: &[String]) -> String {
    let fields: Vec<String> = fields.iter().map(|it| field(it)).collect();
    format!("{}\r\n", fields.join(","))
}

/// Whoever may name an account must not have a formula run in the spreadsheet
/// of whoever reads this (OWASP, "CSV injection").
fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn a_field_is_quoted_where_it_has_to_be_and_never_a_formula() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            ("@sum,x", "\"'@sum,x\""),
        ] {
            assert_eq!(field(text), expected);
        }
    }
}
