//! `firebreak policy rollback`.

use clap::Args;
use firebreak_policy::Policy;
use firebreak_spoke::registry;

use super::activate::{ActivateArguments, activate};
use super::history::find_version;
use crate::environment::engine;
use crate::{Failure, Output};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The version's number, as `firebreak policy history` shows it.
    version: u64,
    #[command(flatten)]
    options: ActivateArguments,
}

pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { version, options } = arguments;
    let engine = engine().await?;
    let stored = find_version(&engine, *version).await?;
    let documents = engine.policies.documents(&stored).await?;
    let policy = Policy::from_stored(documents.clone(), registry::catalog());
    if let Some((point, why)) = policy.broken().first() {
        return Err(Failure::Check(format!(
            "nothing was changed: the document of {point} in version {version} is broken: {why}"
        )));
    }
    let note = match options.note.as_str() {
        "" => format!("rollback to version {version}"),
        note => format!("rollback to version {version}: {note}"),
    };
    activate(&engine, &documents, options, &note, output).await
}
