//! `firebreak policy explain`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use firebreak_model::resource::AccountId;

use super::files;
use crate::environment::engine_or;
use crate::terminal::write_json;
use crate::values::key_value;
use crate::{Failure, Output};
use firebreak_model::finding::Finding;
use firebreak_model::organization::{OuPath, Place};
use firebreak_policy::Tags;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  firebreak policy explain --event finding.json --policies policies/ --ou-path r-ab12/ou-ab12-11111111"
)]
pub struct Arguments {
    /// A finding or event, in any form in which findings arrive; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    event: PathBuf,
    /// Use these policy files and folders instead of the policy in force.
    #[arg(long, value_name = "PATH")]
    policies: Vec<PathBuf>,
    /// Decide as if the target were in this account.
    #[arg(long)]
    account: Option<AccountId>,
    /// Decide as if the account were at this path, such as `r-ab12/ou-ab12-prod1234`.
    #[arg(long)]
    ou_path: Option<OuPath>,
    /// A tag of the target, in place of all tags in the finding; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    tag: Vec<(String, String)>,
}

pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { event, policies, account, ou_path, tag } = arguments;
    let findings: Vec<Finding> = firebreak_intake::read(&files::text(event)?)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|rejection| Failure::Check(rejection.to_string()))?;
    // No call to AWS where files and path are given.
    let offline = !policies.is_empty() && ou_path.is_some();
    let help = "give the policy with --policies, and the account's place with --ou-path";
    let engine = if offline { None } else { Some(engine_or(help).await?) };
    let policy = match (&engine, policies.is_empty()) {
        (Some(engine), true) => engine.policies.current().await?,
        _ => Arc::new(files::load(policies)?),
    };
    let tags_given: BTreeMap<String, String> = tag.iter().cloned().collect();
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
            let tags = if tags_given.is_empty() { &target.tags } else { &tags_given };
            let tags = Tags::Known(tags.clone());
            explanations.push(policy.explain(finding, &target, &place, &tags));
        }
    }
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => write_json(&mut out, &explanations)?,
        Output::Text => {
            for explanation in &explanations {
                writeln!(out, "{explanation}")?;
            }
            if explanations.is_empty() {
                writeln!(out, "the finding names no resource, so nothing is decided")?;
            }
        }
    }
    Ok(())
}
