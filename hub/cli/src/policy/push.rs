//! `firebreak policy push` and `rollback`: putting a policy in force.
//!
//! Check, test, differences, a yes, and then one atomic write.

use firebreak_spoke::registry;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use firebreak_model::resource::Region;
use serde_json::json;

use super::super::{Failure, Output, engine, responses};
use super::{diff, files, test};
use firebreak_aws::policies::Author;
use firebreak_engine::Engine;
use firebreak_policy::{Policy, StoredDocument};

/// What to put in force.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Files and folders of policy documents, with their tests.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// Which version to put in force again.
#[derive(Debug, Args)]
pub struct Rollback {
    /// Its number, as `firebreak policy history` shows it.
    version: u64,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct How {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Why, for the history.
    #[arg(long, default_value = "")]
    note: String,
    /// In which Region decisions are compared.
    #[arg(long, default_value = "us-east-1")]
    region: Region,
}

/// Pushes files.
pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { paths, how } = arguments;
    let policy = files::load(paths)?;
    let tests = files::load_tests(paths)?;
    let results = test::run_all(&tests, &policy);
    let failed: Vec<_> = results.iter().filter(|result| !result.passed).collect();
    if !failed.is_empty() {
        let mut failures = Vec::new();
        for result in &failed {
            test::write_result(&mut failures, result)?;
        }
        let failures = String::from_utf8_lossy(&failures).into_owned();
        return Err(Failure::Check(format!(
            "nothing was pushed: {} of {} policy tests fail\n{failures}",
            failed.len(),
            results.len()
        )));
    }
    let engine = engine().await?;
    // Again, now that it is known what stands above what.
    let policy = files::load_within(paths, &diff::paths_of(&engine, &policy).await?)?;
    let documents = diff::stored(&policy, paths);
    if output == Output::Text {
        let mut out = std::io::stdout().lock();
        let (all, tests) = (documents.len(), results.len());
        writeln!(out, "{all} document(s) OK, {tests} policy test(s) pass\n")?;
    }
    put_in_force(&engine, &documents, how, &how.note, output).await
}

/// Puts an earlier version in force again.
pub(super) async fn roll_back(arguments: &Rollback, output: Output) -> Result<(), Failure> {
    let Rollback { version, how } = arguments;
    let engine = engine().await?;
    let history = engine.policies.history().await?;
    let wanted = history.iter().find(|it| it.number == *version).ok_or_else(|| {
        Failure::Usage(format!(
            "there is no version {version}\nhelp: `firebreak policy history` shows what there is"
        ))
    })?;
    let documents = engine.policies.documents(wanted).await?;
    let policy = Policy::from_stored(documents.clone(), registry::catalog());
    if let Some((point, why)) = policy.broken().first() {
        return Err(Failure::Check(format!(
            "nothing was changed: the document of {point} in version {version} is broken: {why}"
        )));
    }
    let note = match how.note.as_str() {
        "" => format!("rollback to version {version}"),
        note => format!("rollback to version {version}: {note}"),
    };
    put_in_force(&engine, &documents, how, &note, output).await
}

async fn put_in_force(
    engine: &Engine,
    documents: &[StoredDocument],
    how: &How,
    note: &str,
    output: Output,
) -> Result<(), Failure> {
    let before = engine.policies.version().await?;
    let differences = diff::compare(engine, documents, &how.region).await?;
    let mut out = std::io::stdout().lock();
    if output == Output::Text {
        differences.write(&mut out)?;
    }
    if differences.documents.is_empty() && before.number > 0 {
        return match output {
            Output::Text => Ok(writeln!(out, "nothing to push")?),
            Output::Json => Ok(writeln!(
                out,
                "{:#}",
                json!({ "pushed": false, "version": before.number, "differences": differences })
            )?),
        };
    }
    if !how.yes {
        if !std::io::stdin().is_terminal() {
            let message = "nothing was pushed: confirm with --yes".to_owned();
            return Err(Failure::Usage(message));
        }
        out.flush()?;
        responses::confirm("Activate this version for the whole organization?")?;
    }
    let author = Author { by: engine.caller().await?, note: note.to_owned() };
    let version = engine.policies.push(documents, &before, &author).await?;
    match output {
        Output::Text => writeln!(
            out,
            "version {} is in force: {} document(s)",
            version.number,
            documents.len()
        )?,
        Output::Json => writeln!(
            out,
            "{:#}",
            json!({ "pushed": true, "version": version.number, "differences": differences })
        )?,
    }
    Ok(())
}
