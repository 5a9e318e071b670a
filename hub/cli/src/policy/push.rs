//! `firebreak policy push`: check, test, differences, confirmation, then one atomic
//! write.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::activate::{ActivateArguments, activate};
use super::{diff, files, test};
use crate::environment::engine;
use crate::{Failure, Output};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  firebreak policy push policies/ --note 'isolate in sandbox'")]
pub struct Arguments {
    /// Files and folders of policy documents, with their tests.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    options: ActivateArguments,
}

pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { paths, options } = arguments;
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
    // Loaded again with the attach points' places, which show which OUs are below
    // which.
    let policy = files::load_within(paths, &diff::paths_of(&engine, &policy).await?)?;
    let documents = diff::stored(&policy, paths);
    if output == Output::Text {
        let mut out = std::io::stdout().lock();
        let (all, tests) = (documents.len(), results.len());
        writeln!(out, "{all} document(s) OK, {tests} policy test(s) pass\n")?;
    }
    activate(&engine, &documents, options, &options.note, output).await
}
