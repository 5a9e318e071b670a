//! Questions, tables, JSON and times on the terminal, shared by all commands.

use std::io::{IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;

use super::Failure;

/// Asks on the terminal; everything except yes is a no.
pub(crate) fn confirm(question: &str) -> Result<(), Failure> {
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Failure::Check("nothing was changed: not confirmed".to_owned()))
    }
}

/// Asks on the terminal; where there is none, `--yes` is needed.
pub(crate) fn confirm_interactively(question: &str, unchanged: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("{unchanged}: confirm with --yes")));
    }
    confirm(question)
}

/// Writes a line on standard error. A closed standard error is no reason to stop.
pub(crate) fn report(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table
}

pub(crate) fn write_json(
    out: &mut impl Write,
    value: &impl serde::Serialize,
) -> Result<(), Failure> {
    let value = serde_json::to_value(value).map_err(std::io::Error::other)?;
    writeln!(out, "{value:#}")?;
    Ok(())
}

/// A time to the second, such as `2026-01-31 18:00:00Z`.
pub(crate) fn to_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
