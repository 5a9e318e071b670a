//! `firebreak org enable | status | coverage | threat-list`: setting GuardDuty, Security Hub
//! and StackSets up for a whole organization, with credentials of the management
//! account or of the administrator, never of a member.

use std::io::Write;

use clap::{Args, Subcommand};
use firebreak_model::resource::{AccountId, Region};
use serde_json::{Value, json};

use super::{Failure, Output, aws_config};
use firebreak_onboarding::aws::setup::{Request, Setup, SetupError};
use firebreak_onboarding::setup::{Plan, PlanStatus, SetupSnapshot, StepOutcome};

mod coverage;
mod enable;
mod keep;
mod status;
mod threat_list;

/// What to do with an organization's set-up.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Turn GuardDuty and Security Hub on for every account, and let the administrator deploy
    /// StackSets: the management account's part, the administrator's part, or both. What is
    /// there is left; run it again after a failure.
    Enable(enable::Arguments),
    /// Show what is set up and what is missing: exit code 1 if something is missing.
    Status(status::Arguments),
    /// Every account in every Region: whether it is a member of GuardDuty and Security Hub,
    /// whether its findings reach the hub, whether its spoke role is there, current and can be
    /// assumed, and what policy does there: exit code 1 where something is missing.
    Coverage(coverage::Arguments),
    /// The lists of addresses and domains that GuardDuty is given.
    #[command(subcommand)]
    ThreatList(threat_list::Command),
}

/// Whose organization, and where.
#[derive(Debug, Args)]
pub struct OrgScope {
    /// The account that administers GuardDuty and Security Hub, where the hub runs. The
    /// management account has to name it once.
    #[arg(long, value_name = "ACCOUNT")]
    administrator: Option<AccountId>,
    /// A role in that account that the management account may assume, such as
    /// `OrganizationAccountAccessRole`: then both parts are done in one go.
    #[arg(long, value_name = "NAME")]
    administrator_role: Option<String>,
    /// Only this Region; can be given several times. Default: all that are enabled.
    #[arg(long = "region", value_name = "REGION")]
    regions: Vec<Region>,
    /// The Region that gathers Security Hub's findings. Default: the one that is configured.
    #[arg(long, value_name = "REGION")]
    home_region: Option<Region>,
}

impl OrgScope {
    /// Finds out who calls, by the credentials of the environment.
    async fn begin(&self) -> Result<Setup, Failure> {
        let request = Request {
            administrator: self.administrator.clone(),
            administrator_role: self.administrator_role.clone(),
            regions: self.regions.clone(),
            home: self.home_region.clone(),
        };
        let config = aws_config(self.home_region.as_ref()).await?;
        Ok(Setup::begin(&config, &request).await?)
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Refused(why) => Self::Usage(why),
            SetupError::Aws(error) => Self::Aws(error),
        }
    }
}

/// Runs one of the commands.
pub async fn run(command: &Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Enable(arguments) => enable::run(arguments, output).await,
        Command::Status(arguments) => status::run(arguments, output).await,
        Command::Coverage(arguments) => coverage::run(arguments, output).await,
        Command::ThreatList(command) => threat_list::run(command, output).await,
    }
}

/// Tells progress on standard error. Where that is closed nobody listens.
fn progress(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Why nothing may be changed, as one failure.
fn refused(why: &[String]) -> Failure {
    Failure::Check(format!(
        "{}\nnothing was changed\nhelp: Firebreak takes nobody's place: name that account or Region, or have it removed first",
        why.join("\n")
    ))
}

/// Who is set up by whom.
fn heading(observed: &SetupSnapshot) -> String {
    format!(
        "organization of {}, administrator {}, findings gathered in {}",
        observed.management, observed.administrator, observed.home
    )
}

fn outcome(outcome: &StepOutcome) -> (&'static str, Option<&str>) {
    match outcome {
        StepOutcome::Planned => ("planned", None),
        StepOutcome::Done => ("done", None),
        StepOutcome::Failed(why) => ("failed", Some(why)),
        StepOutcome::NotTried(why) => ("not tried", Some(why)),
    }
}

/// A plan for programs.
fn plan_json(plan: &Plan) -> Value {
    let works: Vec<Value> = plan
        .works
        .iter()
        .map(|work| {
            let steps: Vec<Value> = work
                .steps
                .iter()
                .map(|step| {
                    let (outcome, why) = outcome(&step.outcome);
                    json!({
                        "what": step.change.to_string(),
                        "change": step.change,
                        "calls": step.change.calls(),
                        "outcome": outcome,
                        "why": why,
                    })
                })
                .collect();
            let (standing, why) = match &work.standing {
                PlanStatus::Known => ("known", None),
                PlanStatus::Absent(why) => ("absent", Some(why)),
                PlanStatus::Unread(why) => ("unread", Some(why)),
            };
            json!({
                "part": work.part,
                "region": work.region,
                "service": work.service,
                "standing": standing,
                "why": why,
                "changes": steps,
                "notes": work.notes,
            })
        })
        .collect();
    json!({ "works": works, "skipped": plan.skipped })
}
