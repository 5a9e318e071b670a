//! `firebreak policy history`: every policy that was ever pushed.

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;

use super::super::{Failure, Output, engine};
use firebreak_aws::policies::Version;

/// Runs the command.
pub(super) async fn run(output: Output) -> Result<(), Failure> {
    let engine = engine().await?;
    let current = engine.policies.version().await?.number;
    let versions = engine.policies.history().await?;
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => {
            let versions: Vec<_> = versions
                .iter()
                .map(|version| {
                    let Version { number, by, at, note, documents, .. } = version;
                    json!({
                        "version": number, "in_force": *number == current, "at": at, "by": by,
                        "note": note, "documents": documents,
                    })
                })
                .collect();
            writeln!(out, "{:#}", json!(versions))?;
        }
        Output::Text if versions.is_empty() => writeln!(out, "no policy was ever pushed")?,
        Output::Text => {
            let mut table = Table::new();
            table
                .load_style(presets::NOTHING)
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_header(["version", "at", "by", "documents", "note"]);
            for Version { number, by, at, note, documents, .. } in &versions {
                let mark = if *number == current { " (in force)" } else { "" };
                table.add_row([
                    format!("{number}{mark}"),
                    at.map(|at| at.to_string()).unwrap_or_default(),
                    by.clone(),
                    documents.to_string(),
                    note.clone(),
                ]);
            }
            writeln!(out, "{table}")?;
        }
    }
    Ok(())
}
