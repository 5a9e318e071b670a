//! `firebreak findings parse`: what Firebreak reads in a finding, or why it
//! rejects it.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::Failure;
use crate::finding::Finding;
use crate::sources::{self, Rejection};

/// What to do with findings.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print one JSON line for each input: its findings, or why it was rejected.
    Parse {
        /// Files, folders, or `-` for standard input; `.gz` files are unpacked.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Print each finding's original form as well.
        #[arg(long)]
        detail: bool,
    },
}

/// Runs the command.
pub fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Parse { paths, detail } => {
            let mut out = std::io::stdout().lock();
            let unreadable = parse(paths, *detail, &mut out)?;
            if unreadable.is_empty() { Ok(()) } else { Err(Failure::Check(unreadable.join("\n"))) }
        }
    }
}

/// Parses every input and writes a line for each; returns what could not be read.
fn parse(
    paths: &[PathBuf],
    detail: bool,
    out: &mut impl Write,
) -> Result<Vec<String>, std::io::Error> {
    let mut unreadable = Vec::new();
    let mut files = Vec::new();
    for path in paths {
        if let Err(error) = collect(path, &mut files) {
            unreadable.push(format!("cannot read `{}`: {error}", path.display()));
        }
    }
    for file in files {
        match text(&file) {
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

/// The files below a path, in the order of their names.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if path.as_os_str() != "-" && path.is_dir() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        entries.sort();
        for entry in entries {
            collect(&entry, files)?;
        }
    } else {
        files.push(path.to_owned());
    }
    Ok(())
}

fn text(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut bytes)?;
    } else if path.extension().is_some_and(|extension| extension == "gz") {
        GzDecoder::new(File::open(path)?).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.read_to_end(&mut bytes)?;
    }
    // What is no UTF-8 is no JSON either: it is rejected with a reason, as an input.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One line for the findings of an input, and one for each part that was rejected.
fn lines(file: &Path, text: &str, detail: bool) -> Vec<Value> {
    let file = file.display().to_string();
    let (mut findings, mut rejected) = (Vec::new(), Vec::new());
    for read in sources::read(text) {
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
