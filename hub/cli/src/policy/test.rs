//! `firebreak policy test`: runs the tests of policies.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::files;
use crate::terminal::write_json;
use crate::{Failure, Output};
use firebreak_model::finding::Finding;
use firebreak_policy::{FindingSource, Policy, PolicyTest, PolicyTestResult, TestDifference};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Folders of policy documents; their tests are in folders named `tests`.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Only tests whose name or file contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

pub(super) fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let policy = files::load(&arguments.paths)?;
    let mut cases = files::load_tests(&arguments.paths)?;
    let all = cases.len();
    if let Some(filter) = &arguments.filter {
        cases.retain(|case| case.name.contains(filter) || case.file.contains(filter));
    }
    if cases.is_empty() {
        // A run without tests must not look like a success.
        return Err(Failure::Usage(match all {
            0 => "there is no test\nhelp: put tests in *.yaml files in folders named `tests`"
                .to_owned(),
            all => format!("no name or file of the {all} tests contains this"),
        }));
    }
    let results = run_all(&cases, &policy);
    let failed = results.iter().filter(|result| !result.passed).count();
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => write_json(
            &mut out,
            &json!({ "passed": results.len() - failed, "failed": failed, "tests": results }),
        )?,
        Output::Text => {
            for result in &results {
                write_result(&mut out, result)?;
            }
            writeln!(out, "{} passed, {failed} failed", results.len() - failed)?;
        }
    }
    if failed == 0 { Ok(()) } else { Err(Failure::No) }
}

pub(super) fn run_all(cases: &[PolicyTest], policy: &Policy) -> Vec<PolicyTestResult> {
    cases
        .iter()
        .map(|case| match &case.finding {
            FindingSource::Fields(finding) => case.run(policy, finding),
            FindingSource::File(name) => match finding(&case.file, name) {
                Ok(finding) => case.run(policy, &finding),
                Err(error) => case.failed(error),
            },
        })
        .collect()
}

/// Reads the file that a test names: it has exactly one finding.
fn finding(test: &str, name: &str) -> Result<Finding, String> {
    let path = Path::new(test).parent().unwrap_or(Path::new("")).join(name);
    let message = std::fs::read_to_string(&path)
        .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    let mut findings: Vec<Finding> = firebreak_intake::read(&message)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|rejection| format!("`{}`: {rejection}", path.display()))?;
    match (findings.pop(), findings.len()) {
        (Some(finding), 0) => Ok(finding),
        (_, others) => Err(format!(
            "`{}` has {} findings; a test needs exactly one",
            path.display(),
            if others == 0 { 0 } else { others + 1 }
        )),
    }
}

/// Writes one result for people; a failure with its differences and the explanation.
pub(super) fn write_result(out: &mut impl Write, result: &PolicyTestResult) -> std::io::Result<()> {
    let PolicyTestResult { file, line, name, passed, differences, error, explanation } = result;
    if *passed {
        return writeln!(out, "✓ {name}");
    }
    writeln!(out, "✗ {name}\n    {file}:{line}")?;
    for TestDifference { what, expected, decided } in differences {
        writeln!(out, "    {what}\n      - {expected}\n      + {decided}")?;
    }
    if let Some(error) = error {
        writeln!(out, "    error: {}", error.replace('\n', "\n    "))?;
    }
    if let Some(explanation) = explanation {
        writeln!(out, "    {}", explanation.to_string().replace('\n', "\n    "))?;
    }
    Ok(())
}
