//! `firebreak stacksets deploy`: creates or updates the StackSet `firebreak-spoke`, and
//! with `--forward` also `firebreak-region`.
//!
//! The templates are built into this program. `--templates` replaces them, for example
//! by one that was rendered for a subset of the actions.
//!
//! It never deletes a stack. Interrupted, it continues with the next run: it waits for
//! operations in progress and changes only what differs.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use firebreak_model::resource::{AccountId, Region};
use serde_json::json;

use crate::environment::{aws_config, own_settings};
use crate::terminal::{confirm_interactively, report, write_json};
use crate::values::{key_value, unit_id};
use crate::{Failure, Output, policy};
use firebreak_onboarding::aws::deploy::{DeployRequest, Deployed, Planned, REGION, plan, roll_out};
use firebreak_onboarding::aws::stacksets::{StackSets, caller};
use firebreak_onboarding::stackset_diff::StackInstance;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  firebreak stacksets deploy --ou ou-ab12-11111111 --forward us-east-1 --plan"
)]
pub struct Arguments {
    /// An OU or the root to deploy to; may be repeated [default: all that policies cover].
    #[arg(long = "ou", value_name = "ID", value_parser = unit_id)]
    units: Vec<String>,
    /// Use these policy files and folders instead of the policy in force.
    #[arg(long, value_name = "PATH", conflicts_with = "units")]
    policies: Vec<PathBuf>,
    /// The hub's account [default: the caller's, unless that is the management account].
    #[arg(long, value_name = "ACCOUNT")]
    hub_account: Option<AccountId>,
    /// The hub's Region, which also gets the spoke stacks [default: the configured Region].
    #[arg(long, value_name = "REGION")]
    region: Option<Region>,
    /// Forward the findings of this Region to the hub; may be repeated.
    #[arg(long, value_name = "REGION")]
    forward: Vec<Region>,
    /// A further parameter of the spoke's template; may be repeated.
    #[arg(long = "parameter", value_name = "KEY=VALUE", value_parser = key_value)]
    parameters: Vec<(String, String)>,
    /// A folder with spoke.yaml and region.yaml, instead of the built-in templates.
    #[arg(long, value_name = "FOLDER")]
    templates: Option<PathBuf>,
    /// Only show what would change.
    #[arg(long)]
    plan: bool,
    /// Do not ask for confirmation.
    #[arg(long, conflicts_with = "plan")]
    yes: bool,
}

pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let settings = own_settings()?;
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
        let question = "This changes the accounts of the organization. Continue?";
        confirm_interactively(question, "nothing was changed")?;
    }
    let mut deployed = Vec::new();
    for planned in &planned {
        deployed.push(roll_out(&sets, &planned.desired, &mut report).await?);
    }
    write_deployed(&deployed, output)?;
    let failed: usize = deployed.iter().map(|it| it.failed.len()).sum();
    if failed > 0 {
        return Err(Failure::Check(format!(
            "{failed} stack(s) failed\nhelp: fix the reasons and run this again: it retries these only"
        )));
    }
    Ok(())
}

impl Arguments {
    fn request(&self) -> Result<DeployRequest, Failure> {
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
            // region.yaml is needed for --forward only.
            Some(folder) if self.forward.is_empty() => {
                Some((read(folder, "spoke.yaml")?, REGION.to_owned()))
            }
            Some(folder) => Some((read(folder, "spoke.yaml")?, read(folder, "region.yaml")?)),
        };
        Ok(DeployRequest {
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
        // One JSON document: the plan alone, or the result.
        if only {
            let all = planned.iter().map(
                |it| json!({ "name": it.desired.name, "changes": it.changes, "beyond": it.beyond }),
            );
            let all: Vec<_> = all.collect();
            write_json(&mut out, &json!({ "stack_sets": all }))?;
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
            writeln!(out, "{}: kept, although not requested: {left}", desired.name)?;
        }
    }
    Ok(())
}

fn write_deployed(deployed: &[Deployed], output: Output) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        return write_json(&mut out, &json!({ "stack_sets": deployed }));
    }
    for Deployed { name, current, skipped, failed, .. } in deployed {
        let (left_out, behind) = (skipped.len(), failed.len());
        writeln!(out, "{name}: {current} current, {left_out} skipped, {behind} failed")?;
        for (what, instances) in [("skipped", skipped), ("failed", failed)] {
            for StackInstance { account, region, reason, .. } in instances {
                let why = reason.as_deref().unwrap_or("AWS gives no reason");
                writeln!(out, "  {what} {account} {region}: {why}")?;
            }
        }
    }
    Ok(())
}
