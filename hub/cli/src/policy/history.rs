//! `firebreak policy history`.

use std::io::Write;

use serde_json::json;

use crate::environment::engine;
use crate::terminal::{table, write_json};
use crate::{Failure, Output};
use firebreak_aws::policies::Version;
use firebreak_engine::Engine;

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
            write_json(&mut out, &versions)?;
        }
        Output::Text if versions.is_empty() => writeln!(out, "no policy was ever pushed")?,
        Output::Text => {
            let mut table = table(["version", "at", "by", "documents", "note"]);
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

pub(super) async fn find_version(engine: &Engine, number: u64) -> Result<Version, Failure> {
    let history = engine.policies.history().await?;
    history.into_iter().find(|it| it.number == number).ok_or_else(|| {
        Failure::Usage(format!(
            "there is no version {number}\nhelp: `firebreak policy history` lists all versions"
        ))
    })
}
