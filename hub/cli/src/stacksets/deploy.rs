//! `firebreak stacksets deploy`: the StackSets `firebreak-spoke`, and with
//! `--forward` `firebreak-region`, made or brought up to date.
//!
//! The templates are those that this program was built and tested with; another
//! text, rendered for a subset of the actions say, is read from `--templates`.
//!
//! It never takes a stack away. Cut off, it goes on where it was: what is under
//! way at AWS is waited for, and what is as it should be is left alone.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use firebreak_model::resource::{AccountId, Region};
use serde_json::json;

use super::super::{Failure, Output, attach_point, aws_config, environment, policy, responses};
use firebreak_aws::settings::Settings;
use firebreak_onboarding::aws::deploy::{Deployed, Planned, REGION, Request, plan, roll_out};
use firebreak_onboarding::aws::stacksets::{StackSets, caller};
use firebreak_onboarding::stackset_diff::Instance;

/// What to deploy, and where.
#[derive(Debug, Args)]
pub struct Arguments {
    /// An OU or the root to deploy to; all that policies cover if none is named.
    #[arg(long = "ou", value_name = "ID", value_parser = attach_point)]
    units: Vec<String>,
    /// Policy files and folders that say what is covered, instead of the policy in force.
    #[arg(long, value_name = "PATH", conflicts_with = "units")]
    policies: Vec<PathBuf>,
    /// The account in which the hub runs; this one, unless it is the management account.
    #[arg(long, value_name = "ACCOUNT")]
    hub_account: Option<AccountId>,
    /// The hub's Region, in which the spoke stacks stand too; the one of the environment.
    #[arg(long, value_name = "REGION")]
    region: Option<Region>,
    /// A Region of the hub account whose findings are forwarded to the hub; may be repeated.
    #[arg(long, value_name = "REGION")]
    forward: Vec<Region>,
    /// Another parameter of the spoke's template; may be repeated.
    #[arg(long = "parameter", value_name = "KEY=VALUE", value_parser = pair)]
    parameters: Vec<(String, String)>,
    /// A folder with spoke.yaml and region.yaml to deploy instead of the built-in ones.
    #[arg(long, value_name = "FOLDER")]
    templates: Option<PathBuf>,
    /// Only say what would change.
    #[arg(long)]
    plan: bool,
    /// Do not ask.
    #[arg(long, conflicts_with = "plan")]
    yes: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is not of the form KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let settings =
        Settings::read(environment).map_err(|error| Failure::Usage(error.to_string()))?;
    let settings = Settings { share_places: false, ..settings };
    let request = arguments.request()?;
    let config = aws_config(arguments.region.as_ref()).await?;
    let caller = caller(&config).await?;
    let sets = StackSets::new(&config, &caller);
    let planned = plan(&config, &settings, &caller, &request).await?;
    write_plan(&planned, output, arguments.plan)?;
    if arguments.plan {
        return Ok(());
    }
    let changes = planned.iter().any(|planned| !planned.changes.is_empty());
    if changes && !arguments.yes {
        if !std::io::stdin().is_terminal() {
            return Err(Failure::Usage("nothing was changed: confirm with --yes".to_owned()));
        }
        responses::confirm("This changes the accounts of the organization. Continue?")?;
    }
    let mut deployed = Vec::new();
    for planned in &planned {
        let mut report = |line: &str| drop(writeln!(std::io::stderr(), "{line}"));
        deployed.push(roll_out(&sets, &planned.desired, &mut report).await?);
    }
    write_deployed(&deployed, output)?;
    let failed: usize = deployed.iter().map(|it| it.failed.len()).sum();
    if failed > 0 {
        return Err(Failure::Check(format!(
            "{failed} stack(s) are not as they should be\nhelp: mend what the reasons name and run this again: it tries these only"
        )));
    }
    Ok(())
}

impl Arguments {
    fn request(&self) -> Result<Request, Failure> {
        let policy = match self.policies.as_slice() {
            [] => None,
            paths => Some(policy::files::load(paths)?),
        };
        let read = |folder: &Path, name: &str| {
            let path = folder.join(name);
            let wrong = |error| Failure::Usage(format!("cannot read {}: {error}", path.display()));
            std::fs::read_to_string(&path).map_err(wrong)
        };
        let templates = match &self.templates {
            None => None,
            // The second one is looked at only where it is needed.
            Some(folder) if self.forward.is_empty() => {
                Some((read(folder, "spoke.yaml")?, REGION.to_owned()))
            }
            Some(folder) => Some((read(folder, "spoke.yaml")?, read(folder, "region.yaml")?)),
        };
        Ok(Request {
            units: self.units.clone(),
            policy,
            hub_account: self.hub_account.as_ref().map(ToString::to_string),
            region: self.region.as_ref().map(ToString::to_string),
            forward: self.forward.iter().map(ToString::to_string).collect(),
            parameters: self.parameters.iter().cloned().collect(),
            templates,
        })
    }
}

fn write_plan(planned: &[Planned], output: Output, only: bool) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        // One document: the plan alone, or what was done.
        if only {
            let all = planned.iter().map(
                |it| json!({ "name": it.desired.name, "changes": it.changes, "beyond": it.beyond }),
            );
            let all: Vec<_> = all.collect();
            writeln!(out, "{:#}", json!({ "stack_sets": all }))?;
        }
        return Ok(());
    }
    for Planned { desired, changes, beyond } in planned {
        if changes.is_empty() {
            writeln!(out, "{}: nothing to change", desired.name)?;
        }
        for change in changes {
            writeln!(out, "{}: {change}", desired.name)?;
        }
        if !beyond.is_empty() {
            let left = beyond.join(", ");
            writeln!(out, "{}: left as it is, though not asked for: {left}", desired.name)?;
        }
    }
    Ok(())
}

fn write_deployed(deployed: &[Deployed], output: Output) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        writeln!(out, "{:#}", json!({ "stack_sets": deployed }))?;
        return Ok(());
    }
    for Deployed { name, current, skipped, failed, .. } in deployed {
        let (left_out, behind) = (skipped.len(), failed.len());
        writeln!(out, "{name}: {current} current, {left_out} skipped, {behind} failed")?;
        for (what, instances) in [("skipped", skipped), ("failed", failed)] {
            for Instance { account, region, reason, .. } in instances {
                let why = reason.as_deref().unwrap_or("AWS gives no reason");
                writeln!(out, "  {what} {account} {region}: {why}")?;
            }
        }
    }
    Ok(())
}
