//! `firebreak policy explain | push`.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use firebreak_spoke::resource::AccountId;
use serde_json::json;

use super::{Failure, Output, responder};
use crate::aws::error::HubError;
use crate::finding::Finding;
use crate::organization::{OuPath, Place};
use crate::policy::{ActionFacts, Policy, StoredDocument, Tags, read_files, schema};
use crate::sources;

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check policy files: every mistake of every file, at its line and column.
    Check {
        /// Files and folders of policy documents.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Say what policy decides for a finding, and how it came to that.
    Explain(Explain),
    /// Put policy files in force, all at once.
    Push {
        /// Files and folders of policy documents.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Print the JSON Schema of policy documents.
    Schema,
}

/// What to explain.
#[derive(Debug, Args)]
pub struct Explain {
    /// The finding, in any form; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    event: PathBuf,
    /// Policy files and folders to use instead of the policy in force.
    #[arg(long, value_name = "PATH")]
    policies: Vec<PathBuf>,
    /// Decide as if the target were in this account.
    #[arg(long)]
    account: Option<AccountId>,
    /// Decide as if the account were at this path, such as `r-ab12/ou-ab12-prod1234`.
    #[arg(long)]
    ou_path: Option<OuPath>,
    /// A tag of the target, instead of the finding's.
    #[arg(long, value_name = "KEY=VALUE", value_parser = tag)]
    tag: Vec<(String, String)>,
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write a tag as key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs the command.
pub async fn run(command: &Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Check { paths } => {
            let policy = load(paths)?;
            writeln!(std::io::stdout(), "{} document(s) are sound", policy.documents().len())?;
            Ok(())
        }
        Command::Explain(explain) => explain_findings(explain, output).await,
        Command::Push { paths, yes } => push(paths, *yes).await,
        Command::Schema => {
            writeln!(std::io::stdout(), "{:#}", schema())?;
            Ok(())
        }
    }
}

/// Loads documents from files and folders; a folder's `tests` are not documents.
pub fn load(paths: &[PathBuf]) -> Result<Policy, Failure> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files).map_err(|error| {
            Failure::Usage(format!("cannot read `{}`: {error}", path.display()))
        })?;
    }
    if files.is_empty() {
        return Err(Failure::Usage("there is no policy document (*.yaml) there".to_owned()));
    }
    read_files(&files, &ActionFacts::all()).map_err(|diagnostics| {
        let count = diagnostics.len();
        let told: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        Failure::Check(format!("{count} mistake(s) in policy files\n\n{}", told.join("\n\n")))
    })
}

fn collect(path: &Path, files: &mut Vec<(String, String)>) -> std::io::Result<()> {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        entries.sort();
        for entry in entries {
            let yaml = entry.extension().is_some_and(|it| it == "yaml" || it == "yml");
            let tests = entry.file_name().is_some_and(|name| name == "tests");
            if (entry.is_dir() && !tests) || yaml {
                collect(&entry, files)?;
            }
        }
    } else {
        files.push((path.display().to_string(), std::fs::read_to_string(path)?));
    }
    Ok(())
}

async fn explain_findings(explain: &Explain, output: Output) -> Result<(), Failure> {
    let text = if explain.event.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())?
    } else {
        std::fs::read_to_string(&explain.event).map_err(|error| {
            Failure::Usage(format!("cannot read `{}`: {error}", explain.event.display()))
        })?
    };
    let findings: Vec<Finding> = sources::read(&text)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|rejection| Failure::Check(rejection.to_string()))?;
    // Wholly offline where files and path are given.
    let offline = !explain.policies.is_empty() && explain.ou_path.is_some();
    let responder = if offline { None } else { Some(responder().await?) };
    let policy = match (&responder, explain.policies.is_empty()) {
        (Some(responder), true) => responder.policies.current().await?,
        _ => std::sync::Arc::new(load(&explain.policies)?),
    };
    let given: BTreeMap<String, String> = explain.tag.iter().cloned().collect();
    let mut explanations = Vec::new();
    for finding in &findings {
        for target in &finding.targets {
            let mut target = target.clone();
            if let Some(account) = &explain.account {
                target.resource.account.clone_from(account);
            }
            let account = target.resource.account.clone();
            let place = match (&explain.ou_path, &responder) {
                (Some(ou_path), _) => Place { account, ou_path: ou_path.clone() },
                (None, Some(responder)) => responder.organization.place(&account).await?,
                (None, None) => return Err(Failure::Usage("--ou-path is missing".to_owned())),
            };
            let tags = if given.is_empty() { &target.tags } else { &given };
            let tags = Tags::Known(tags.clone());
            explanations.push(policy.explain(finding, &target, &place, &tags));
        }
    }
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => writeln!(out, "{:#}", json!(explanations))?,
        Output::Text => {
            for explanation in &explanations {
                writeln!(out, "{explanation}")?;
            }
            if explanations.is_empty() {
                writeln!(out, "the finding names no resource: nothing is decided")?;
            }
        }
    }
    Ok(())
}

async fn push(paths: &[PathBuf], yes: bool) -> Result<(), Failure> {
    let policy = load(paths)?;
    let documents: Vec<StoredDocument> = policy
        .documents()
        .into_iter()
        .map(|document| document.to_stored())
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::Check(format!("cannot write a document as JSON: {error}")))?;
    let responder = responder().await?;
    let before = responder.policies.version().await?;
    let old =
        if before.number == 0 { Vec::new() } else { responder.policies.documents(&before).await? };
    let mut out = std::io::stdout().lock();
    let mut changed = 0;
    for line in differences(&old, &documents) {
        changed += 1;
        writeln!(out, "{line}")?;
    }
    if changed == 0 {
        writeln!(out, "version {} is in force already; nothing to push", before.number)?;
        return Ok(());
    }
    if !yes {
        if !std::io::stdin().is_terminal() {
            let message = "nothing was pushed: confirm with --yes".to_owned();
            return Err(Failure::Usage(message));
        }
        super::responses::confirm("Put this in force for the whole organization")?;
    }
    let version =
        responder.policies.push(&documents, &before).await.map_err(|error| match error {
            HubError::Failed(why) => Failure::Check(why),
            HubError::Transient(why) => Failure::Aws(HubError::Transient(why)),
        })?;
    writeln!(out, "version {} is in force: {} document(s)", version.number, documents.len())?;
    Ok(())
}

/// A line for each document that comes, goes or changes.
fn differences(old: &[StoredDocument], new: &[StoredDocument]) -> Vec<String> {
    let find = |list: &[StoredDocument], attach: &str| {
        list.iter().find(|it| it.attach == attach).map(|it| it.json.clone())
    };
    let mut lines = Vec::new();
    for document in new {
        let StoredDocument { attach, file, json } = document;
        match find(old, attach) {
            None => lines.push(format!("+ {attach} ({file})")),
            Some(before) if before != *json => lines.push(format!("~ {attach} ({file})")),
            Some(_) => {}
        }
    }
    for document in old {
        if find(new, &document.attach).is_none() {
            lines.push(format!("- {} ({})", document.attach, document.file));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_shows_what_comes_what_goes_and_what_changes() {
        let document = |attach: &str, json: &str| StoredDocument {
            attach: attach.to_owned(),
            file: format!("{attach}.yaml"),
            json: json.to_owned(),
        };
        let old = [document("r-a", "1"), document("ou-b", "1"), document("ou-c", "1")];
        let new = [document("r-a", "1"), document("ou-b", "2"), document("ou-d", "1")];
        assert_eq!(
            differences(&old, &new),
            ["~ ou-b (ou-b.yaml)", "+ ou-d (ou-d.yaml)", "- ou-c (ou-c.yaml)"]
        );
    }
}
