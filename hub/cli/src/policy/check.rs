//! `firebreak policy check`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use firebreak_policy::Document;
use serde_json::json;

use super::files;
use crate::terminal::{report, write_json};
use crate::{Failure, Output};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Files and folders of policy documents.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let paths = &arguments.paths;
    let checked = files::check(paths)?;
    let mut out = std::io::stdout().lock();
    match (output, checked) {
        (Output::Text, Ok(policy)) => {
            for lint in files::lints(paths)? {
                report(&format!("warning: {lint}\n"));
            }
            writeln!(out, "{} document(s) OK", policy.documents().len())?;
        }
        (Output::Text, Err(diagnostics)) => return Err(files::issues("policy", &diagnostics)),
        (Output::Json, Ok(policy)) => {
            let describe = |document: &Document| {
                let rules: Vec<&str> = document.rule_names().collect();
                json!({ "attach": document.attach, "file": document.file, "rules": rules })
            };
            let documents: Vec<_> = policy.documents().iter().map(describe).collect();
            let report =
                json!({ "documents": documents, "issues": [], "warnings": files::lints(paths)? });
            write_json(&mut out, &report)?;
        }
        (Output::Json, Err(diagnostics)) => {
            let report = json!({ "documents": [], "issues": diagnostics, "warnings": [] });
            write_json(&mut out, &report)?;
            return Err(Failure::No);
        }
    }
    Ok(())
}
