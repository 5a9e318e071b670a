//! `firebreak org coverage`: surveys every account and Region for what a response to a
//! finding there needs. Reads only.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use firebreak_model::resource::AccountId;

use super::{OrgScope, keep};
use crate::environment::settings;
use crate::terminal::{report, table};
use crate::values::actions_named;
use crate::{Failure, Output};
use firebreak_onboarding::aws::coverage::{SurveyError, Surveyor};
use firebreak_onboarding::coverage::{
    self, AccountRow, AccountStatus, CoverageStatus, Matrix, SecurityHubUse, Survey, SurveyContext,
};
use firebreak_onboarding::stacksets::{self, SPOKE};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    // A summary and a table of what is missing.
    Text,
    Json,
    // A line for each account and Region.
    Csv,
}

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    scope: OrgScope,
    /// Format on standard output: `csv` has a line for each account and Region [default: as
    /// --output].
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Also write an HTML page with a heat map.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Keep the survey in this file, and resume from it after an interruption or a failed
    /// call. The file is removed when the survey is complete.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Leave out this account on purpose; may be repeated.
    #[arg(long, value_name = "ACCOUNT")]
    except: Vec<AccountId>,
    /// The actions that the spoke role was rendered for, if not all; separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "ACTION")]
    actions: Vec<String>,
    /// Security Hub is not used: ignore its members and its forwarding rules.
    #[arg(long)]
    without_security_hub: bool,
    /// How many days back to search for the last finding of each account.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(..=365))]
    days: u16,
    /// Also list accounts without gaps.
    #[arg(long)]
    all: bool,
}

/// How many accounts the table lists.
const MAX_LISTED: usize = 200;

impl Arguments {
    fn format(&self, output: Output) -> Format {
        self.format.unwrap_or(match output {
            Output::Text => Format::Text,
            Output::Json => Format::Json,
        })
    }

    /// The digest in the tag of an up-to-date spoke role.
    fn digest(&self) -> Result<String, Failure> {
        let rendered = stacksets::render(SPOKE, &actions_named(&self.actions)?);
        Ok(rendered.map_err(|error| Failure::Usage(error.to_string()))?.digest)
    }
}

impl From<SurveyError> for Failure {
    fn from(error: SurveyError) -> Self {
        match error {
            SurveyError::Aws(error) => Self::Aws(error),
            SurveyError::Kept(error) => Self::Io(error),
        }
    }
}

/// `Failure::No` if something is missing or could not be read.
pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let settings = settings()?;
    let digest = arguments.digest()?;
    let setup = arguments.scope.begin().await?;
    let surveyor = Surveyor::new(setup, settings)?;
    let security_hub = if arguments.without_security_hub {
        SecurityHubUse::Unused
    } else {
        SecurityHubUse::Wanted
    };
    let question = surveyor.question(digest, security_hub);
    let except: BTreeSet<AccountId> = arguments.except.iter().cloned().collect();
    let file = arguments.resume.as_deref();
    let mut survey = match file.map(|file| keep::load_survey(file, &question, surveyor.now())) {
        Some(kept) => kept?,
        None => None,
    }
    .unwrap_or_else(|| Survey::new(question, surveyor.now()));
    let mut keep = |survey: &Survey| match file {
        Some(file) => keep::save_survey(file, survey),
        None => Ok(()),
    };
    surveyor.read(&mut survey, &except, &report, &mut keep).await?;
    let policy = surveyor.policy().await.map_err(|error| error.to_string());
    let context = SurveyContext {
        policy: policy.as_deref().map_err(String::as_str),
        last: surveyor.last_findings(arguments.days).await.map_err(|error| error.to_string()),
        except,
        skipped: surveyor.skipped().clone(),
    };
    report(&format!("policy: deciding for {} account(s)", survey.accounts.len()));
    let matrix = coverage::matrix(&survey, &context);
    if let Some(html) = &arguments.html {
        keep::replace(html, coverage::page(&matrix).into_string().as_bytes())?;
    }
    let mut out = std::io::stdout().lock();
    match arguments.format(output) {
        Format::Text => text(&mut out, &matrix, arguments)?,
        Format::Json => {
            let value = serde_json::to_string_pretty(&matrix).map_err(std::io::Error::from)?;
            writeln!(out, "{value}")?;
        }
        Format::Csv => {
            let csv = coverage::csv(&matrix).map_err(std::io::Error::other)?;
            out.write_all(&csv)?;
        }
    }
    if let Some(file) = file {
        if survey.is_read() {
            keep::forget(file)?;
        } else {
            let file = file.display();
            report(&format!("not everything could be read: `--resume {file}` reads the rest"));
        }
    }
    if matrix.complete { Ok(()) } else { Err(Failure::No) }
}

fn text(out: &mut impl Write, matrix: &Matrix, arguments: &Arguments) -> Result<(), Failure> {
    let Matrix { question, summary, problems, notes, skipped, regions, accounts, .. } = matrix;
    writeln!(
        out,
        "organization of {}, administrator {}, spoke role {} with permissions {}",
        question.management, question.administrator, question.spoke_role, question.digest
    )?;
    writeln!(
        out,
        "{} account(s): {} covered, {} with gaps, {} suspended or closed, {} left out",
        summary.accounts, summary.covered, summary.gaps, summary.inactive, summary.excepted
    )?;
    for (count, what) in [
        (summary.without_guardduty, "without GuardDuty in some Region"),
        (summary.without_security_hub, "without Security Hub in some Region"),
        (summary.without_spoke, "without a spoke role that is current and can be assumed"),
        (summary.without_policy, "without a policy"),
    ] {
        if count > 0 {
            writeln!(out, "{count} account(s) {what}")?;
        }
    }
    for problem in problems {
        writeln!(out, "problem: {problem}")?;
    }
    for note in notes {
        writeln!(out, "{note}")?;
    }
    let mut by_region = table(["Region", "GuardDuty", "Security Hub", "forwarding"]);
    for row in regions {
        by_region.add_row([
            row.region.to_string(),
            row.guardduty.to_string(),
            row.security_hub.to_string(),
            row.forwarding.detail.clone(),
        ]);
    }
    writeln!(out, "{by_region}")?;
    for (region, why) in skipped {
        writeln!(out, "{region} skipped: {why}")?;
    }
    if !summary.modes.is_empty() {
        let mut table = table(["findings", "what policy does (accounts)"]);
        for (family, spans) in &summary.modes {
            let spans: Vec<String> =
                spans.iter().map(|(span, count)| format!("{span} ({count})")).collect();
            table.add_row([(*family).to_owned(), spans.join(", ")]);
        }
        writeln!(out, "{table}")?;
    }
    let shown: Vec<&AccountRow> = accounts
        .iter()
        .filter(|row| arguments.all || row.status != AccountStatus::Covered)
        .collect();
    if !shown.is_empty() {
        let mut table =
            table(["account", "name", "state", "last finding", "modes", "what is missing"]);
        for row in shown.iter().take(MAX_LISTED) {
            table.add_row(account(row));
        }
        writeln!(out, "{table}")?;
    }
    if shown.len() > MAX_LISTED {
        writeln!(out, "{} more: see --format csv or --html", shown.len() - MAX_LISTED)?;
    }
    if matrix.complete {
        writeln!(out, "nothing is missing")?;
    }
    Ok(())
}

fn account(row: &AccountRow) -> [String; 6] {
    let missing = match row.status {
        AccountStatus::Covered => String::new(),
        AccountStatus::Gaps => row.gaps.join("\n"),
        AccountStatus::Inactive | AccountStatus::Excepted => row.spoke.detail.clone(),
    };
    let modes: Vec<String> = match row.policy.status {
        CoverageStatus::Covered => {
            row.modes.iter().map(|(family, span)| format!("{family} {span}")).collect()
        }
        CoverageStatus::NotNeeded | CoverageStatus::Unknown | CoverageStatus::Gap => Vec::new(),
    };
    [
        row.account.to_string(),
        row.name.clone(),
        row.state.clone(),
        row.last_finding.clone().unwrap_or_default(),
        modes.join(", "),
        missing,
    ]
}
