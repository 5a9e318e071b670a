//! `firebreak org enable`: shows the changes, asks, makes them and shows each outcome.

use std::collections::BTreeSet;
use std::io::Write;

use clap::Args;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use serde_json::json;

use super::{OrgScope, heading, outcome, plan_json, refused};
use crate::terminal::{confirm, report, table, write_json};
use crate::{Failure, Output};
use firebreak_onboarding::setup::{
    self, DesiredSetup, PlanStatus, Protection, SetupPlan, SetupSnapshot, StepOutcome,
};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    scope: OrgScope,
    /// Only this feature of GuardDuty; may be repeated [default: all].
    #[arg(
        long = "feature",
        value_name = "FEATURE",
        value_parser = PossibleValuesParser::new(Protection::names()).try_map(|name| name.parse::<Protection>()),
    )]
    features: Vec<Protection>,
    /// Only show what would change.
    #[arg(long)]
    plan: bool,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
}

impl Arguments {
    /// An additional configuration needs its feature.
    fn wanted(&self) -> DesiredSetup {
        let features = self.features.iter();
        let whole = features.clone().map(|it| Protection::feature(&it.feature));
        let named: BTreeSet<Protection> = features.cloned().chain(whole).collect();
        DesiredSetup { protections: if named.is_empty() { Protection::all() } else { named } }
    }
}

pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let setup = arguments.scope.begin().await?;
    let wanted = arguments.wanted();
    let observed = setup.read_state(&report).await?;
    let plan = setup::plan(&observed, &wanted).map_err(|why| refused(&why))?;
    let count = plan.changes().count();
    if arguments.plan || count == 0 {
        let mut out = std::io::stdout().lock();
        write(&mut out, &observed, &plan, output)?;
        return if plan.failed() { Err(Failure::No) } else { Ok(()) };
    }
    if !arguments.yes {
        write(&mut std::io::stderr().lock(), &observed, &plan, Output::Text)?;
        confirm(&format!("{count} change(s) to the organization. Continue?"))?;
    }
    let done = setup.execute(&observed, &wanted, plan, &report).await;
    let mut out = std::io::stdout().lock();
    write(&mut out, &observed, &done, output)?;
    if output == Output::Text && setup.manages() && !setup.administers() {
        writeln!(
            out,
            "next, with credentials of {}: firebreak org enable --home-region {}",
            setup.administrator, setup.home
        )?;
    }
    if done.failed() { Err(Failure::No) } else { Ok(()) }
}

fn write(
    out: &mut impl Write,
    observed: &SetupSnapshot,
    plan: &SetupPlan,
    output: Output,
) -> Result<(), Failure> {
    match output {
        Output::Json => {
            let mut value = plan_json(plan);
            if let Some(object) = value.as_object_mut() {
                object.insert("management".to_owned(), json!(observed.management));
                object.insert("administrator".to_owned(), json!(observed.administrator));
                object.insert("home".to_owned(), json!(observed.home));
                object.insert("failed".to_owned(), json!(plan.failed()));
            }
            write_json(out, &value)?;
        }
        Output::Text => write_text(out, observed, plan)?,
    }
    Ok(())
}

fn write_text(
    out: &mut impl Write,
    observed: &SetupSnapshot,
    plan: &SetupPlan,
) -> Result<(), Failure> {
    writeln!(out, "{}", heading(observed))?;
    let mut table = table(["Region", "account", "service", "change", "outcome"]);
    let (mut done, mut failed) = (0_usize, 0_usize);
    for work in &plan.works {
        let row = |change: String, outcome: String| {
            let (region, part) = (work.region.to_string(), work.part.to_string());
            let region = if work.region.is_global() { "all".to_owned() } else { region };
            [region, part, work.service.to_string(), change, outcome]
        };
        match &work.status {
            PlanStatus::Known => {}
            PlanStatus::Absent(why) => {
                table.add_row(row(String::new(), format!("skipped: {why}")));
            }
            PlanStatus::Unread(why) => {
                failed += 1;
                table.add_row(row(String::new(), format!("cannot be read: {why}")));
            }
        }
        for step in &work.steps {
            match step.outcome {
                StepOutcome::Planned => {}
                StepOutcome::Done => done += 1,
                StepOutcome::Failed(_) | StepOutcome::NotTried(_) => failed += 1,
            }
            let (word, why) = outcome(&step.outcome);
            let result = why.map_or_else(|| word.to_owned(), |why| format!("{word}: {why}"));
            table.add_row(row(step.change.to_string(), result));
        }
    }
    if table.row_count() > 0 {
        writeln!(out, "{table}")?;
    }
    for work in &plan.works {
        for note in &work.notes {
            writeln!(out, "{} {}: {note}", work.region, work.service)?;
        }
    }
    for (region, why) in &plan.skipped {
        writeln!(out, "{region} skipped: {why}")?;
    }
    let count = plan.changes().count();
    match (count, done + failed) {
        (0, 0) => writeln!(out, "nothing to change: everything is set up")?,
        (0, _) => writeln!(out, "nothing to change where it could be read; {failed} failure(s)")?,
        (_, 0) => writeln!(out, "{count} change(s) would be made")?,
        (_, _) => writeln!(out, "{done} of {count} change(s) made, {failed} failure(s)")?,
    }
    Ok(())
}
