//! Activates a policy version: differences, confirmation, then one atomic write.

use std::io::Write;

use clap::Args;
use firebreak_aws::policies::Author;
use firebreak_engine::Engine;
use firebreak_model::resource::Region;
use firebreak_policy::StoredDocument;
use serde_json::json;

use super::diff;
use crate::terminal::{confirm_interactively, write_json};
use crate::{Failure, Output};

#[derive(Debug, Args)]
pub(super) struct ActivateArguments {
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
    /// Reason, for the history.
    #[arg(long, default_value = "")]
    pub(super) note: String,
    /// The Region for which decisions are compared.
    #[arg(long, default_value = "us-east-1")]
    region: Region,
}

pub(super) async fn activate(
    engine: &Engine,
    documents: &[StoredDocument],
    options: &ActivateArguments,
    note: &str,
    output: Output,
) -> Result<(), Failure> {
    let before = engine.policies.version().await?;
    let differences = diff::compare(engine, documents, &options.region).await?;
    let mut out = std::io::stdout().lock();
    if output == Output::Text {
        differences.write(&mut out)?;
    }
    if differences.documents.is_empty() && before.number > 0 {
        return match output {
            Output::Text => Ok(writeln!(out, "nothing to push")?),
            Output::Json => write_json(
                &mut out,
                &json!({ "pushed": false, "version": before.number, "differences": differences }),
            ),
        };
    }
    if !options.yes {
        out.flush()?;
        let question = "Activate this version for the whole organization?";
        confirm_interactively(question, "nothing was pushed")?;
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
        Output::Json => write_json(
            &mut out,
            &json!({ "pushed": true, "version": version.number, "differences": differences }),
        )?,
    }
    Ok(())
}
