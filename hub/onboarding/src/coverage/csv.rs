//! The matrix as CSV: a line for each account and Region, for spreadsheets.

use csv::{Terminator, WriterBuilder};

use super::matrix::{AccountRow, Cell, Matrix};
use firebreak_model::finding_types::FAMILIES;

/// The whole matrix, by RFC 4180. An account without Regions, because it is
/// suspended or left out, has one line.
pub fn csv(matrix: &Matrix) -> Result<Vec<u8>, csv::Error> {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    let mut header: Vec<String> = [
        "account",
        "name",
        "state",
        "ou_path",
        "status",
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
    writer.write_record(&header)?;
    for row in &matrix.accounts {
        if row.guardduty.is_empty() {
            writer.write_record(cells(row, "", [None; 3]))?;
            continue;
        }
        for region in &matrix.regions {
            let statuses = [
                row.guardduty.get(&region.region),
                row.security_hub.get(&region.region),
                Some(&region.forwarding),
            ];
            writer.write_record(cells(row, region.region.as_str(), statuses))?;
        }
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

fn cells(row: &AccountRow, region: &str, statuses: [Option<&Cell>; 3]) -> Vec<String> {
    let mut fields = vec![
        row.account.to_string(),
        row.name.clone(),
        row.state.clone(),
        row.ou_path.clone().unwrap_or_default(),
        row.status.name().to_owned(),
        region.to_owned(),
    ];
    for cell in statuses.into_iter().chain([Some(&row.spoke), Some(&row.policy)]) {
        fields.push(cell.map(|cell| cell.status.name().to_owned()).unwrap_or_default());
        fields.push(cell.map(|cell| cell.detail.clone()).unwrap_or_default());
    }
    fields.push(row.last_finding.clone().unwrap_or_default());
    fields.extend(
        FAMILIES
            .iter()
            .map(|family| row.modes.get(family).map(ToString::to_string).unwrap_or_default()),
    );
    fields.into_iter().map(without_formula).collect()
}

/// A spreadsheet must not run a formula that a person put into an account's name
/// (OWASP, "CSV injection").
fn without_formula(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a-b", "a-b"),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@sum", "'@sum"),
            ("\tx", "'\tx"),
            ("\rx", "'\rx"),
        ] {
            assert_eq!(without_formula(text.to_owned()), expected);
        }
    }
}
