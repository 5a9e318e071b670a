//! `firebreak org enable | status | coverage | threat-list`: sets up GuardDuty, Security
//! Hub and StackSets for the organization, with credentials of the management account or
//! of the delegated administrator.

use clap::{Args, Subcommand};
use firebreak_model::resource::{AccountId, Region};
use serde_json::{Value, json};

use super::environment::aws_config;
use super::{Failure, Output};
use firebreak_onboarding::aws::setup::{Setup, SetupError, SetupRequest};
use firebreak_onboarding::setup::{PlanStatus, SetupPlan, SetupSnapshot, StepOutcome};

mod coverage;
mod enable;
mod keep;
mod status;
mod threat_list;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Turn on GuardDuty and Security Hub for every account, and delegate StackSets.
    ///
    /// It needs credentials of the management account, then of the administrator, or
    /// --administrator-role for both at once. It keeps what is set up already, and can be
    /// run again after a failure.
    #[command(after_help = "Example:\n  firebreak org enable --administrator 111122223333 --plan")]
    Enable(enable::Arguments),
    /// Show what is set up and what is missing; exit code 1 if something is missing.
    Status(status::Arguments),
    /// Survey every account and Region for what a response needs; exit code 1 if something is
    /// missing.
    ///
    /// Membership in GuardDuty and Security Hub, forwarding of findings to the hub, the spoke
    /// role (present, current, assumable), and what policy does for each kind of finding.
    #[command(
        after_help = "Example:\n  firebreak org coverage --html coverage.html --resume survey.json"
    )]
    Coverage(coverage::Arguments),
    /// Manage GuardDuty's lists of malicious or trusted addresses and domains.
    #[command(subcommand)]
    ThreatList(threat_list::Command),
}

#[derive(Debug, Args)]
pub struct OrgScope {
    /// The hub's account, which administers GuardDuty and Security Hub; required when the
    /// management account delegates it.
    #[arg(long, value_name = "ACCOUNT")]
    administrator: Option<AccountId>,
    /// A role in that account that the management account may assume, such as
    /// `OrganizationAccountAccessRole`, to set up both accounts in one run.
    #[arg(long, value_name = "NAME")]
    administrator_role: Option<String>,
    /// Only this Region; may be repeated [default: all enabled Regions].
    #[arg(long = "region", value_name = "REGION")]
    regions: Vec<Region>,
    /// The Region that aggregates Security Hub's findings [default: the configured Region].
    #[arg(long, value_name = "REGION")]
    home_region: Option<Region>,
}

impl OrgScope {
    async fn begin(&self) -> Result<Setup, Failure> {
        let request = SetupRequest {
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

pub async fn run(command: &Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Enable(arguments) => enable::run(arguments, output).await,
        Command::Status(arguments) => status::run(arguments, output).await,
        Command::Coverage(arguments) => coverage::run(arguments, output).await,
        Command::ThreatList(command) => threat_list::run(command, output).await,
    }
}

/// Why nothing may be changed, as one failure.
fn refused(why: &[String]) -> Failure {
    Failure::Check(format!(
        "{}\nnothing was changed\nhelp: Firebreak does not replace another administrator or Region: give that account or Region, or remove it first",
        why.join("\n")
    ))
}

fn heading(observed: &SetupSnapshot) -> String {
    format!(
        "organization of {}, administrator {}, findings aggregated in {}",
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

fn plan_json(plan: &SetupPlan) -> Value {
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
            let (status, why) = match &work.status {
                PlanStatus::Known => ("known", None),
                PlanStatus::Absent(why) => ("absent", Some(why)),
                PlanStatus::Unread(why) => ("unread", Some(why)),
            };
            json!({
                "part": work.part,
                "region": work.region,
                "service": work.service,
                "status": status,
                "why": why,
                "changes": steps,
                "notes": work.notes,
            })
        })
        .collect();
    json!({ "works": works, "skipped": plan.skipped })
}
