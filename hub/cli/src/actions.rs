//! `firebreak actions list`: what Firebreak can do to a resource.

use std::io::Write;

use clap::Subcommand;
use comfy_table::{ContentArrangement, Table, presets};
use firebreak_spoke::contract::{Phase, Reversal};
use firebreak_spoke::registry;
use serde_json::{Value, json};

use super::{Failure, Output};

/// What to do with the actions.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Every action: what it acts on, its parameters and permissions, and whether it can be undone.
    List,
}

/// Runs the command.
pub fn run(command: &Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::List => list(output),
    }
}

fn list(output: Output) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => {
            let actions: Vec<Value> = registry::all().iter().map(describe).collect();
            writeln!(out, "{:#}", Value::Array(actions))?;
        }
        Output::Text => {
            let mut table = Table::new();
            table
                .load_style(presets::NOTHING)
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_header(["action", "acts on", "phase", "undo", "what it does"]);
            for entry in registry::all() {
                let about = &entry.spec;
                table.add_row([
                    about.name,
                    &about.resource_types.join(", "),
                    &phase(about.phase),
                    undo(about.reversal),
                    about.sentence,
                ]);
            }
            writeln!(out, "{table}")?;
        }
    }
    Ok(())
}

fn phase(phase: Phase) -> String {
    format!("{phase:?}").to_lowercase()
}

/// What a list says of undo.
fn undo(reversal: Reversal) -> &'static str {
    match reversal {
        Reversal::Restored => "yes",
        Reversal::Kept => "nothing to undo (keeps what it made)",
        Reversal::Impossible => "no",
    }
}

fn describe(entry: &registry::RegisteredAction) -> Value {
    let about = &entry.spec;
    let mut permissions: Vec<&str> = about.reads.iter().chain(about.writes).copied().collect();
    permissions.sort_unstable();
    permissions.dedup();
    json!({
        "name": about.name,
        "sentence": about.sentence,
        "resource_types": about.resource_types,
        "phase": about.phase,
        "parameters": entry.schema(),
        "permissions": permissions,
        "undo": about.reversal,
        "reversible": about.reversal != Reversal::Impossible,
    })
}
