//! `firebreak policy import`: converts another system's configuration.

use firebreak_spoke::registry;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::files;
use crate::terminal::write_json;
use crate::{Failure, Output};
use firebreak_policy::{Mode, import_gd_actions};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Dome9 CloudBots' `GD_ACTIONS`: a JSON map from finding types to `AUTO:` strings, or
    /// the Lambda environment that has it; `-` is standard input.
    #[arg(long, value_name = "FILE", required = true)]
    gd_actions: PathBuf,
    /// Where to attach the document: the id of a root, OU or account.
    #[arg(long)]
    attach: String,
    /// The rules' mode: `auto` acts at once as CloudBots does, `approve` asks first.
    #[arg(long, default_value = "auto", value_parser = mode)]
    mode: Mode,
}

fn mode(text: &str) -> Result<Mode, String> {
    let names = Mode::ALL.map(Mode::name).join(", ");
    Mode::ALL.into_iter().find(|it| it.name() == text).ok_or(format!("expected one of {names}"))
}

/// Exit code 1 if something has no counterpart in Firebreak.
pub(super) fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { gd_actions, attach, mode } = arguments;
    let text = files::text(gd_actions)?;
    let imported = import_gd_actions(&text, attach, *mode, registry::catalog());
    let mut out = std::io::stdout().lock();
    match (output, &imported.document) {
        (Output::Text, Some(document)) => write!(out, "{document}")?,
        (Output::Text, None) => {}
        (Output::Json, document) => {
            write_json(&mut out, &json!({ "document": document, "errors": imported.errors }))?;
        }
    }
    if imported.errors.is_empty() {
        return Ok(());
    }
    let errors = imported.errors.join("\n  ");
    Err(Failure::Check(format!("{} part(s) were not imported:\n  {errors}", imported.errors.len())))
}
