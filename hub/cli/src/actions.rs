//! `firebreak actions list`.

use std::io::Write;

use clap::Subcommand;
use firebreak_spoke::contract::{Phase, Reversal};
use firebreak_spoke::registry;
use serde_json::{Value, json};

use super::terminal::table;
use super::{Failure, Output};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List every action: what it acts on, what it does and whether it can be undone.
    ///
    /// `--output json` adds parameters and permissions.
    List,
}

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
            let mut table = table(["action", "acts on", "phase", "undo", "what it does"]);
            for action in registry::all() {
                let spec = &action.spec;
                table.add_row([
                    spec.name,
                    &spec.resource_types.join(", "),
                    &phase(spec.phase),
                    undo(spec.reversal),
                    spec.sentence,
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

fn undo(reversal: Reversal) -> &'static str {
    match reversal {
        Reversal::Restored => "yes",
        Reversal::Kept => "nothing to undo (keeps what it made)",
        Reversal::Impossible => "no",
    }
}

fn describe(action: &registry::RegisteredAction) -> Value {
    let spec = &action.spec;
    let mut permissions: Vec<&str> = spec.reads.iter().chain(spec.writes).copied().collect();
    permissions.sort_unstable();
    permissions.dedup();
    json!({
        "name": spec.name,
        "sentence": spec.sentence,
        "resource_types": spec.resource_types,
        "phase": spec.phase,
        "parameters": action.schema(),
        "permissions": permissions,
        "undo": spec.reversal,
        "reversible": spec.reversal != Reversal::Impossible,
    })
}
