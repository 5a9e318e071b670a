//! `firebreak policy explain`: what policy decides for a finding, and how.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use firebreak_model::resource::AccountId;
use serde_json::json;

use super::super::{Failure, Output, responder_or};
use super::files;
use firebreak_model::finding::Finding;
use firebreak_model::organization::{OuPath, Place};
use firebreak_policy::Tags;

/// What to explain.
#[derive(Debug, Args)]
pub struct Arguments {
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
pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { event, policies, account, ou_path, tag } = arguments;
    let findings: Vec<Finding> = firebreak_intake::read(&files::text(event)?)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|rejection| Failure::Check(rejection.to_string()))?;
    // Wholly offline where files and path are given.
    let offline = !policies.is_empty() && ou_path.is_some();
    let help = "say with --policies which policy is meant, and with --ou-path where the account is";
    let engine = if offline { None } else { Some(responder_or(help).await?) };
    let policy = match (&engine, policies.is_empty()) {
        (Some(engine), true) => engine.policies.current().await?,
        _ => Arc::new(files::load(policies)?),
    };
    let given: BTreeMap<String, String> = tag.iter().cloned().collect();
    let mut explanations = Vec::new();
    for finding in &findings {
        for target in &finding.targets {
            let mut target = target.clone();
            if let Some(account) = account {
                target.resource.account.clone_from(account);
            }
            let account = target.resource.account.clone();
            let place = match (ou_path, &engine) {
                (Some(ou_path), _) => Place { account, ou_path: ou_path.clone() },
                (None, Some(engine)) => engine.organization.place(&account).await?,
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
