//! `firebreak org threat-list put`: gives GuardDuty in every Region a list of malicious
//! or trusted addresses, ranges and domains.

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;
use firebreak_model::resource::Region;
use serde_json::json;

use super::OrgScope;
use crate::terminal::{confirm, report, write_json};
use crate::{Failure, Output};
use firebreak_onboarding::aws::setup::{ListOutcome, Upload};
use firebreak_onboarding::setup::entities::{self, ListIssue, ListKind};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Activate a list in every Region. It replaces the list that was put before.
    ///
    /// The file has one address, range or domain on each line; `#` begins a comment.
    Put {
        /// The file with the list.
        file: PathBuf,
        /// Upload the list to this bucket, in the administrator's account.
        #[arg(long)]
        bucket: String,
        /// The bucket's Region [default: the home Region].
        #[arg(long, value_name = "REGION")]
        bucket_region: Option<Region>,
        /// A list of trusted entries: GuardDuty raises no findings for them.
        #[arg(long)]
        trusted: bool,
        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        scope: OrgScope,
    },
}

/// How many issues of a file are reported.
const MAX_ISSUES: usize = 50;

pub(super) async fn run(command: &Command, output: Output) -> Result<(), Failure> {
    let Command::Put { file, bucket, bucket_region, trusted, yes, scope } = command;
    let kind = if *trusted { ListKind::Trusted } else { ListKind::Threat };
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::Usage(format!("cannot read `{name}`: {error}")))?;
    let entities = entities::parse_list(&text, kind)
        .map_err(|issues| Failure::Check(describe(&name.to_string(), &issues)))?;
    let setup = scope.begin().await?;
    if !yes {
        let effect = match kind {
            ListKind::Threat => "GuardDuty will raise findings for",
            ListKind::Trusted => "GuardDuty will no longer raise findings for",
        };
        let (count, regions) = (entities.count, setup.regions.len());
        confirm(&format!("{effect} {count} entries in {regions} Region(s). Continue?"))?;
    }
    let region = bucket_region.clone().unwrap_or_else(|| setup.home.clone());
    let upload = Upload { bucket: bucket.clone(), region };
    let listed = setup.put_list(&upload, kind, &entities, &report).await?;
    let failed = listed.regions.iter().any(|(_, it)| matches!(it, ListOutcome::Failed(_)));
    let used = |it: &ListOutcome| match it {
        ListOutcome::Unchanged | ListOutcome::Created | ListOutcome::Updated => true,
        ListOutcome::Skipped(_) | ListOutcome::Failed(_) => false,
    };
    let used = listed.regions.iter().filter(|(_, it)| used(it)).count();
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => {
            let value = json!({
                "kind": kind, "entries": entities.count, "location": listed.location,
                "uploaded": listed.uploaded, "regions": listed.regions, "skipped": setup.skipped,
            });
            write_json(&mut out, &value)?;
        }
        Output::Text => {
            let word = if listed.uploaded { "uploaded" } else { "already uploaded" };
            writeln!(out, "{} entries in {}, {word}", entities.count, listed.location)?;
            writeln!(out, "active in {used} of {} Region(s)", listed.regions.len())?;
            for (region, outcome) in &listed.regions {
                match outcome {
                    ListOutcome::Unchanged | ListOutcome::Created | ListOutcome::Updated => {}
                    ListOutcome::Skipped(why) => writeln!(out, "{region} skipped: {why}")?,
                    ListOutcome::Failed(why) => writeln!(out, "{region} failed: {why}")?,
                }
            }
        }
    }
    if failed || used == 0 { Err(Failure::No) } else { Ok(()) }
}

fn describe(file: &str, issues: &[ListIssue]) -> String {
    let mut lines: Vec<String> = issues
        .iter()
        .take(MAX_ISSUES)
        .map(|ListIssue { line, why }| match line {
            0 => format!("{file}: {why}"),
            line => format!("{file}:{line}: {why}"),
        })
        .collect();
    if let Some(more) = issues.len().checked_sub(MAX_ISSUES).filter(|more| *more > 0) {
        lines.push(format!("and {more} more"));
    }
    lines.push("nothing was uploaded".to_owned());
    lines.join("\n")
}
