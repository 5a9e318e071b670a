//! `firebreak org coverage`: every account in every Region, and what is missing
//! for a finding there to be answered. Reads only.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use firebreak_model::resource::AccountId;
use firebreak_spoke::registry::{self, RegisteredAction};

use super::{OrgScope, keep, progress};
use crate::{Failure, Output, environment};
use firebreak_aws::settings::Settings;
use firebreak_onboarding::aws::coverage::{SurveyError, Surveyor};
use firebreak_onboarding::coverage::{
    self, AccountRow, AccountStatus, CoverageStatus, Matrix, SecurityHub, Survey, SurveyContext,
};
use firebreak_onboarding::stacksets::{self, SPOKE};

/// How the matrix is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A summary and a table of what is missing.
    Text,
    /// All of it, for programs.
    Json,
    /// A line for each account and Region.
    Csv,
}

/// What to survey, and how to print it.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    scope: OrgScope,
    /// How it is written on standard output. Default: as --output says.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write a heat map into this file besides: a page that needs no other.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Keep what is read in this file, and go on from it where a run before was interrupted or
    /// could not read everything. It is removed once everything was read.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Leave this account out on purpose; can be given several times.
    #[arg(long, value_name = "ACCOUNT")]
    except: Vec<AccountId>,
    /// The actions that stacksets/spoke.yaml was rendered for, where it was rendered for some.
    #[arg(long, value_delimiter = ',', value_name = "ACTION")]
    actions: Vec<String>,
    /// Security Hub is not used: neither its members nor its rules count.
    #[arg(long)]
    without_security_hub: bool,
    /// How many days back the last finding of an account is looked for.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(..=365))]
    days: u16,
    /// Show accounts without gaps in the table too.
    #[arg(long)]
    all: bool,
}

/// How many accounts the table shows.
const SHOWN: usize = 200;

impl Arguments {
    fn format(&self, output: Output) -> Format {
        self.format.unwrap_or(match output {
            Output::Text => Format::Text,
            Output::Json => Format::Json,
        })
    }

    /// What the tag of a current spoke role says.
    fn digest(&self) -> Result<String, Failure> {
        let entries: Vec<&RegisteredAction> = if self.actions.is_empty() {
            registry::all().iter().collect()
        } else {
            let find = |name: &String| {
                registry::find(name).ok_or_else(|| {
                    Failure::Usage(format!(
                        "there is no action `{name}`\nhelp: firebreak actions list names them"
                    ))
                })
            };
            self.actions.iter().map(find).collect::<Result<_, _>>()?
        };
        let rendered = stacksets::render(SPOKE, &entries);
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

/// Surveys and prints: `No` where something is missing or could not be read.
pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let settings =
        Settings::read(environment).map_err(|error| Failure::Usage(error.to_string()))?;
    let digest = arguments.digest()?;
    let setup = arguments.scope.begin().await?;
    let surveyor = Surveyor::new(setup, settings)?;
    let security_hub =
        if arguments.without_security_hub { SecurityHub::Unused } else { SecurityHub::Wanted };
    let question = surveyor.question(digest, security_hub);
    let except: BTreeSet<AccountId> = arguments.except.iter().cloned().collect();
    let file = arguments.resume.as_deref();
    let mut survey = match file.map(|file| keep::load(file, &question, surveyor.now())) {
        Some(kept) => kept?,
        None => None,
    }
    .unwrap_or_else(|| Survey::new(question, surveyor.now()));
    let mut keep = |survey: &Survey| match file {
        Some(file) => keep::save(file, survey),
        None => Ok(()),
    };
    surveyor.read(&mut survey, &except, &progress, &mut keep).await?;
    let policy = surveyor.policy().await.map_err(|error| error.to_string());
    let context = SurveyContext {
        policy: policy.as_deref().map_err(String::as_str),
        last: surveyor.last_findings(arguments.days).await.map_err(|error| error.to_string()),
        except,
        skipped: surveyor.skipped().clone(),
    };
    progress(&format!("policy: deciding for {} account(s)", survey.accounts.len()));
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
        Format::Csv => out.write_all(coverage::csv(&matrix).as_bytes())?,
    }
    if let Some(file) = file {
        if survey.is_read() {
            keep::forget(file)?;
        } else {
            let file = file.display();
            progress(&format!("not everything was read: `--resume {file}` asks for the rest"));
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
        writeln!(out, "wrong: {problem}")?;
    }
    for note in notes {
        writeln!(out, "{note}")?;
    }
    let mut table = new_table(&["Region", "GuardDuty", "Security Hub", "forwarding"]);
    for row in regions {
        table.add_row([
            row.region.to_string(),
            row.guardduty.to_string(),
            row.security_hub.to_string(),
            row.forwarding.detail.clone(),
        ]);
    }
    writeln!(out, "{table}")?;
    for (region, why) in skipped {
        writeln!(out, "{region} skipped: {why}")?;
    }
    if !summary.modes.is_empty() {
        let mut table = new_table(&["findings", "what policy does (accounts)"]);
        for (family, spans) in &summary.modes {
            let spans: Vec<String> =
                spans.iter().map(|(span, count)| format!("{span} ({count})")).collect();
            table.add_row([(*family).to_owned(), spans.join(", ")]);
        }
        writeln!(out, "{table}")?;
    }
    let shown: Vec<&AccountRow> = accounts
        .iter()
        .filter(|row| arguments.all || row.standing != AccountStatus::Covered)
        .collect();
    if !shown.is_empty() {
        let mut table =
            new_table(&["account", "name", "state", "last finding", "modes", "what is missing"]);
        for row in shown.iter().take(SHOWN) {
            table.add_row(account(row));
        }
        writeln!(out, "{table}")?;
    }
    if shown.len() > SHOWN {
        writeln!(out, "{} more: --format csv or --html has all", shown.len() - SHOWN)?;
    }
    if matrix.complete {
        writeln!(out, "nothing is missing")?;
    }
    Ok(())
}

fn account(row: &AccountRow) -> [String; 6] {
    let missing = match row.standing {
        AccountStatus::Covered => String::new(),
        AccountStatus::Gaps => row.gaps.join("\n"),
        AccountStatus::Inactive | AccountStatus::Excepted => row.spoke.detail.clone(),
    };
    let modes: Vec<String> = match row.policy.verdict {
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

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.iter().copied());
    table
}
