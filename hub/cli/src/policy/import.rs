//! `firebreak policy import`: another system's configuration as a document.

use firebreak_spoke::registry;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::super::{Failure, Output};
use super::files;
use firebreak_policy::{Mode, import_gd_actions};

/// What to import.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Dome9 CloudBots' `GD_ACTIONS`: a JSON map from finding types to `AUTO:`
    /// strings, or an environment with it; `-` is standard input.
    #[arg(long, value_name = "FILE", required = true)]
    gd_actions: PathBuf,
    /// Where the document is to be attached: a root, OU or account id.
    #[arg(long)]
    attach: String,
    /// The rules' mode: CloudBots acts at once, `approve` asks first.
    #[arg(long, default_value = "auto", value_parser = mode)]
    mode: Mode,
}

fn mode(text: &str) -> Result<Mode, String> {
    let names = Mode::ALL.map(Mode::name).join(", ");
    Mode::ALL.into_iter().find(|it| it.name() == text).ok_or(format!("it is one of {names}"))
}

/// Runs the command: the document on standard output; 1 when something has no
/// counterpart here, which is reported.
pub(super) fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { gd_actions, attach, mode } = arguments;
    let text = files::text(gd_actions)?;
    let imported = import_gd_actions(&text, attach, *mode, registry::catalog());
    let mut out = std::io::stdout().lock();
    match (output, &imported.document) {
        (Output::Text, Some(document)) => write!(out, "{document}")?,
        (Output::Text, None) => {}
        (Output::Json, document) => {
            writeln!(out, "{:#}", json!({ "document": document, "errors": imported.errors }))?;
        }
    }
    if imported.errors.is_empty() {
        return Ok(());
    }
    let errors = imported.errors.join("\n  ");
    Err(Failure::Check(format!("{} part(s) were not imported:\n  {errors}", imported.errors.len())))
}
