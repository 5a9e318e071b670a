//! `firebreak findings parse`: shows a finding as Firebreak parses it, or why it is
//! rejected.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Failure, inputs};
use firebreak_intake::Rejection;
use firebreak_model::finding::Finding;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print one JSON line for each input: its findings, or why it was rejected.
    ///
    /// The exit code is 0 even when a finding is rejected.
    Parse {
        /// Files, folders, or `-` for standard input; `.gz` files are unpacked.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Also print the original text of each finding.
        #[arg(long)]
        detail: bool,
    },
}

pub fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Parse { paths, detail } => {
            let mut out = std::io::stdout().lock();
            let unreadable = parse(paths, *detail, &mut out)?;
            if unreadable.is_empty() { Ok(()) } else { Err(Failure::Usage(unreadable.join("\n"))) }
        }
    }
}

/// Parses every input and writes its lines; returns why files could not be read.
fn parse(
    paths: &[PathBuf],
    detail: bool,
    out: &mut impl Write,
) -> Result<Vec<String>, std::io::Error> {
    let mut unreadable = Vec::new();
    let mut files = Vec::new();
    for path in paths {
        if let Err(error) = inputs::collect(path, &mut files) {
            unreadable.push(format!("cannot read `{}`: {error}", path.display()));
        }
    }
    for file in files {
        match inputs::text(&file) {
            Ok(text) => {
                for line in lines(&file, &text, detail) {
                    writeln!(out, "{line}")?;
                }
            }
            Err(error) => unreadable.push(format!("cannot read `{}`: {error}", file.display())),
        }
    }
    Ok(unreadable)
}

/// One line for the findings of an input, and one for each rejected part.
fn lines(file: &Path, text: &str, detail: bool) -> Vec<Value> {
    let file = file.display().to_string();
    let (mut findings, mut rejected) = (Vec::new(), Vec::new());
    for read in firebreak_intake::read(text) {
        match read {
            Ok(finding) => findings.push(describe(&finding, detail)),
            Err(rejection) => rejected.push(rejection),
        }
    }
    let mut lines = Vec::new();
    if !findings.is_empty() {
        lines.push(json!({ "file": file, "findings": findings }));
    }
    for Rejection { reason, field, message_id } in rejected {
        let rejected = json!({ "reason": reason, "field": field, "message_id": message_id });
        lines.push(json!({ "file": file, "rejected": rejected }));
    }
    lines
}

fn describe(finding: &Finding, detail: bool) -> Value {
    let mut described = json!(finding);
    if let (false, Some(object)) = (detail, described.as_object_mut()) {
        object.remove("detail");
    }
    described
}
