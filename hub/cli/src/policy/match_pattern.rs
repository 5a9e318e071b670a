//! `firebreak policy match`: whether an event pattern matches an event.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::files;
use crate::{Failure, Output};
use firebreak_policy::Pattern;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The event pattern, as JSON or as a file.
    #[arg(long, required_unless_present = "cases", requires = "event")]
    pattern: Option<String>,
    /// The event, as JSON or as a file; `-` is standard input.
    #[arg(long, requires = "pattern")]
    event: Option<String>,
    /// A file with a list of `{id, pattern, event, expect}`, where `expect` is true, false
    /// or "invalid".
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pattern", "event"])]
    cases: Option<PathBuf>,
}

/// Exit code 0 if it matches, 1 if it does not, 2 if the pattern is invalid.
pub(super) fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    match (&arguments.cases, &arguments.pattern, &arguments.event) {
        (Some(cases), ..) => compare(cases, output),
        (None, Some(pattern), Some(event)) => {
            match_one(&json_or_file("pattern", pattern)?, &json_or_file("event", event)?, output)
        }
        (None, ..) => Err(Failure::Usage("--pattern needs --event".to_owned())),
    }
}

/// Parses an argument that is JSON or names a file of JSON.
fn json_or_file(name: &str, argument: &str) -> Result<Value, Failure> {
    let is_json = argument.trim_start().starts_with(['{', '[', '"']);
    let text = if is_json { argument.to_owned() } else { files::text(Path::new(argument))? };
    let place = if is_json { format!("--{name}") } else { format!("`{argument}`") };
    serde_json::from_str(&text)
        .map_err(|error| Failure::Usage(format!("{place}: invalid JSON: {error}")))
}

fn match_one(pattern: &Value, event: &Value, output: Output) -> Result<(), Failure> {
    let pattern = Pattern::parse(pattern)
        .map_err(|error| Failure::Usage(format!("--pattern: invalid event pattern: {error}")))?;
    let failed = pattern.first_mismatch(event);
    let mut out = std::io::stdout().lock();
    match (output, &failed) {
        (Output::Json, _) => {
            writeln!(out, "{}", json!({ "matches": failed.is_none(), "fails_at": failed }))?;
        }
        (Output::Text, None) => writeln!(out, "yes")?,
        (Output::Text, Some(field)) if field.is_empty() => {
            writeln!(out, "no: no single element of the event matches every field")?;
        }
        (Output::Text, Some(field)) => writeln!(out, "no: `{field}` does not match")?,
    }
    if failed.is_none() { Ok(()) } else { Err(Failure::No) }
}

#[derive(Debug, Deserialize)]
struct Case {
    #[serde(default)]
    id: Value,
    pattern: Value,
    event: Value,
    expect: Value,
}

fn compare(file: &Path, output: Output) -> Result<(), Failure> {
    let cases: Vec<Case> = serde_json::from_str(&files::text(file)?)
        .map_err(|error| Failure::Usage(format!("`{}`: {error}", file.display())))?;
    let expected = |case: &Case| case.expect.is_boolean() || case.expect == "invalid";
    if cases.is_empty() || !cases.iter().all(expected) {
        let why = "expected a list of cases, each with `expect` true, false or \"invalid\"";
        return Err(Failure::Usage(format!("`{}`: {why}", file.display())));
    }
    let mut out = std::io::stdout().lock();
    let (mut agreed, mut disagreed) = (0, 0);
    for Case { id, pattern, event, expect } in cases {
        let (got, why) = match Pattern::parse(&pattern) {
            Ok(read) => (json!(read.matches(&event)), read.first_mismatch(&event)),
            Err(error) => (json!("invalid"), Some(error.to_string())),
        };
        if got == expect {
            agreed += 1;
            continue;
        }
        disagreed += 1;
        let line = json!({
            "id": id, "expect": expect, "got": got, "why": why, "pattern": pattern, "event": event,
        });
        writeln!(out, "{line}")?;
    }
    match output {
        Output::Text => writeln!(out, "{agreed} agreed, {disagreed} disagreed")?,
        Output::Json => {
            writeln!(out, "{}", json!({ "agreed": agreed, "disagreed": disagreed }))?;
        }
    }
    if disagreed == 0 { Ok(()) } else { Err(Failure::No) }
}
