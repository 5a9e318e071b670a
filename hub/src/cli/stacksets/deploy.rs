//! `firebreak stacksets deploy`: the StackSets `firebreak-spoke`, and with
//! `--forward` `firebreak-region`, made or brought up to date.
//!
//! The templates are those that this program was built and tested with; another
//! text, rendered for a subset of the actions say, is read from `--templates`.
//!
//! It never takes a stack away. Cut off, it goes on where it was: what is under
//! way at AWS is waited for, and what is as it should be is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_config::SdkConfig;
use clap::Args;
use firebreak_spoke::resource::{AccountId, Region};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::super::{Failure, Output, attach_point, aws_config, environment, policy, responses};
use crate::aws::error::HubError;
use crate::aws::organization::Organization;
use crate::aws::policies::Policies;
use crate::aws::stacksets::{Asked, Caller, Progress, StackSets, caller};
use crate::policy::Policy;
use crate::rollout::{Change, Desired, Health, Instance, Observed, declares, outermost};
use crate::settings::Settings;

const SPOKE: &str = include_str!("../../../../stacksets/spoke.yaml");
const REGION: &str = include_str!("../../../../stacksets/region.yaml");

/// How often an operation is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// How often one look may fail in a row before the wait is given up. The
/// operation goes on all the same.
const FAILED_LOOKS: u32 = 6;

/// How many changes one StackSet may take: 2,000 OUs, 50 at a time, and some more.
const CHANGES: usize = 64;

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

/// What is to be deployed.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// OUs and roots; without any, what the policy covers.
    pub units: Vec<String>,
    /// The policy that says what is covered, if not the one in force.
    pub policy: Option<Policy>,
    /// The hub's account; the caller's without one.
    pub hub_account: Option<String>,
    /// The hub's Region; the configuration's without one.
    pub region: Option<String>,
    /// Regions whose findings are forwarded.
    pub forward: BTreeSet<String>,
    /// Parameters of the spoke's template beside those that are known here.
    pub parameters: BTreeMap<String, String>,
    /// The texts of the spoke's and the Regions' template, if not the built-in ones.
    pub templates: Option<(String, String)>,
}

/// A StackSet and the changes that it needs.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What it should be.
    pub desired: Desired,
    /// The changes.
    pub changes: Vec<Change>,
    /// Targets that it has and that are not asked for: they stay.
    pub beyond: Vec<String>,
}

/// How a StackSet's stacks are in the end.
#[derive(Clone, Debug, Serialize)]
pub struct Deployed {
    /// The StackSet.
    pub name: String,
    /// What was done.
    pub changes: Vec<Change>,
    /// How many stacks are as they should be.
    pub current: usize,
    /// Left out, because the account is suspended.
    pub skipped: Vec<Instance>,
    /// Not as they should be.
    pub failed: Vec<Instance>,
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
        responses::confirm("This changes the accounts of the organization")?;
    }
    let mut deployed = Vec::new();
    for planned in &planned {
        let mut tell = |line: &str| drop(writeln!(std::io::stderr(), "{line}"));
        deployed.push(roll_out(&sets, &planned.desired, &mut tell).await?);
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

/// What each StackSet should be, and what that takes. Changes nothing.
pub async fn plan(
    config: &SdkConfig,
    settings: &Settings,
    caller: &Caller,
    request: &Request,
) -> Result<Vec<Planned>, Failure> {
    let organization = Organization::new(config, settings);
    let is_management = caller.account == caller.management;
    let hub = match &request.hub_account {
        Some(account) => account.clone(),
        None if is_management => {
            return Err(Failure::Usage(
                "this is the management account, and the hub runs in another\nhelp: name it with --hub-account".to_owned(),
            ));
        }
        None => caller.account.clone(),
    };
    let region = request.region.clone().or_else(|| config.region().map(ToString::to_string));
    let region = region.ok_or_else(|| {
        Failure::Usage("no Region is set\nhelp: set AWS_REGION, or say --region".to_owned())
    })?;
    let (spoke, forwarding) =
        request.templates.clone().unwrap_or_else(|| (SPOKE.to_owned(), REGION.to_owned()));
    let units = units(config, settings, &organization, request).await?;
    // Each parameter that was given goes to the template that has it.
    let is_of_region = |key: &String| declares(&forwarding, key) && !declares(&spoke, key);
    let (for_region, mut parameters): (BTreeMap<_, _>, BTreeMap<_, _>) =
        request.parameters.clone().into_iter().partition(|(key, _)| is_of_region(key));
    if let Some(key) = for_region.keys().next().filter(|_| request.forward.is_empty()) {
        return Err(Failure::Usage(format!(
            "`{key}` is a parameter of region.yaml, which is not deployed\nhelp: name the Regions with --forward"
        )));
    }
    for (key, value) in [
        ("HubAccountId", hub.clone()),
        ("OrganizationId", caller.organization.clone()),
        ("ExternalId", settings.external_id.clone()),
    ] {
        parameters.entry(key.to_owned()).or_insert(value);
    }
    let targets = (units, BTreeSet::new(), BTreeSet::from([region.clone()]));
    let purpose = "Firebreak: the role through which the hub contains threats";
    let mut wanted =
        vec![Desired::new("firebreak-spoke", purpose, spoke, &parameters, targets).map_err(usage)?];
    if !request.forward.is_empty() {
        let unit = unit_of(&organization, &hub).await?;
        let targets =
            (BTreeSet::from([unit]), BTreeSet::from([hub.clone()]), request.forward.clone());
        let bus = format!("arn:{}:events:{region}:{hub}:event-bus/firebreak", caller.partition);
        let mut parameters = for_region;
        parameters.entry("HubBusArn".to_owned()).or_insert(bus);
        if let Some(home) = &settings.aggregator_region {
            parameters.entry("AggregatorRegion".to_owned()).or_insert_with(|| home.to_string());
        }
        let purpose = "Firebreak: the rules that forward findings to the hub";
        wanted.push(
            Desired::new("firebreak-region", purpose, forwarding, &parameters, targets)
                .map_err(usage)?,
        );
    }
    let sets = StackSets::new(config, caller);
    let mut planned = Vec::new();
    for desired in wanted {
        let observed = sets.observe(desired.name).await?;
        let changes = desired.changes(observed.as_ref()).map_err(usage)?;
        let beyond = observed.as_ref().map(|observed| desired.beyond(observed)).unwrap_or_default();
        planned.push(Planned { desired, changes, beyond });
    }
    Ok(planned)
}

fn usage(error: impl std::fmt::Display) -> Failure {
    Failure::Usage(error.to_string())
}

/// The OUs and roots to deploy to, none of them below another.
async fn units(
    config: &SdkConfig,
    settings: &Settings,
    organization: &Organization,
    request: &Request,
) -> Result<BTreeSet<String>, Failure> {
    let mut points: BTreeSet<String> = request.units.iter().cloned().collect();
    if points.is_empty() {
        let policy = match &request.policy {
            Some(policy) => policy.clone(),
            None => in_force(config, settings).await?,
        };
        let covering = policy.documents().iter().filter(|document| document.covers());
        points = covering.map(|document| document.attach.clone()).collect();
    }
    if points.is_empty() {
        return Err(Failure::Usage(
            "no policy covers any OU\nhelp: name OUs with --ou, or push a policy first".to_owned(),
        ));
    }
    let (mut above, mut accounts) = (BTreeMap::new(), Vec::new());
    for point in points {
        let path = organization
            .path_of(&point)
            .await?
            .ok_or_else(|| Failure::Usage(format!("AWS Organizations knows no `{point}`")))?;
        let ids: Vec<String> = path.ids().map(str::to_owned).collect();
        if point.parse::<AccountId>().is_ok() {
            accounts.push((point, ids));
        } else {
            let parents = ids.into_iter().filter(|id| *id != point).collect();
            above.insert(point, parents);
        }
    }
    let units = outermost(&above);
    // Service-managed StackSets target OUs; one account alone would not be covered
    // when it is moved.
    for (account, ids) in accounts {
        if !ids.iter().any(|id| units.contains(id)) {
            return Err(Failure::Usage(format!(
                "account {account} has a policy of its own, and no OU above it is deployed to\nhelp: name one with --ou: {}",
                ids.join(", ")
            )));
        }
    }
    Ok(units)
}

async fn in_force(config: &SdkConfig, settings: &Settings) -> Result<Policy, Failure> {
    let (_, policy) = Policies::new(config, settings).in_force().await.map_err(|error| {
        let told = format!(
            "cannot read the policy in force, which says what is covered: {error}\nhelp: run this in the hub account, or name OUs with --ou, or files with --policies"
        );
        match error {
            HubError::Refused(_) => Failure::Usage(told),
            HubError::Transient(_) | HubError::Failed(_) => Failure::Aws(HubError::Failed(told)),
        }
    })?;
    Ok((*policy).clone())
}

async fn unit_of(organization: &Organization, account: &str) -> Result<String, Failure> {
    let path = organization.path_of(account).await?;
    let path = path
        .ok_or_else(|| Failure::Usage(format!("AWS Organizations knows no account {account}")))?;
    Ok(path.unit().to_owned())
}

/// Makes a StackSet what it should be, and waits until AWS is done. `tell` gets a
/// line of progress now and then.
pub async fn roll_out(
    sets: &StackSets,
    desired: &Desired,
    tell: &mut dyn FnMut(&str),
) -> Result<Deployed, Failure> {
    let mut done: Vec<Change> = Vec::new();
    for _ in 0..CHANGES {
        for operation in sets.going(desired.name).await? {
            tell(&format!("{}: an operation is in progress: {operation}", desired.name));
            wait(sets, desired.name, &operation, tell).await?;
        }
        let observed = sets.observe(desired.name).await?;
        let changes = desired.changes(observed.as_ref()).map_err(usage)?;
        // Once is enough in one run, and what has been tried just now is no news.
        let next = changes.into_iter().find(|change| match change {
            Change::Create | Change::Update { .. } | Change::Instances { .. } => true,
            Change::Retry { .. } => done.iter().all(|it| *it == Change::Create),
        });
        let Some(change) = next else {
            return Ok(deployed(desired, done, observed.unwrap_or_default()));
        };
        if done.contains(&change) {
            return Err(Failure::Aws(HubError::Failed(format!(
                "{} is not as it was left: somebody else changes it as well\nhelp: run this again when they are done",
                desired.name
            ))));
        }
        tell(&format!("{}: {change}", desired.name));
        match sets.change(desired, &change).await? {
            Asked::Done => {}
            Asked::Goes(operation) => wait(sets, desired.name, &operation, tell).await?,
            Asked::Busy => {
                sleep(LOOK).await;
                continue;
            }
        }
        done.push(change);
    }
    Err(Failure::Aws(HubError::Failed(format!(
        "{} needs more than {CHANGES} changes\nhelp: run this again",
        desired.name
    ))))
}

/// Waits until an operation is over. How it ended is told by its stacks.
async fn wait(
    sets: &StackSets,
    name: &str,
    operation: &str,
    tell: &mut dyn FnMut(&str),
) -> Result<(), Failure> {
    let (began, mut failed_looks, mut told) = (Instant::now(), 0, None);
    loop {
        match sets.progress(name, operation).await {
            Ok(Progress::Ended) => {
                tell(&format!("{name}: done after {} s", began.elapsed().as_secs()));
                return Ok(());
            }
            Ok(Progress::Going(failed)) => {
                failed_looks = 0;
                let minute = began.elapsed().as_secs() / 60;
                if told != Some((failed, minute)) {
                    told = Some((failed, minute));
                    let seconds = began.elapsed().as_secs();
                    tell(&format!("{name}: in progress for {seconds} s, {failed} stack(s) failed"));
                }
            }
            Err(HubError::Transient(_)) if failed_looks < FAILED_LOOKS => failed_looks += 1,
            Err(error) => return Err(error.into()),
        }
        sleep(LOOK).await;
    }
}

fn deployed(desired: &Desired, changes: Vec<Change>, observed: Observed) -> Deployed {
    let (mut current, mut skipped, mut failed) = (0, Vec::new(), Vec::new());
    for instance in observed.instances {
        match instance.health {
            Health::Current => current += 1,
            Health::Suspended => skipped.push(instance),
            Health::Behind => failed.push(instance),
        }
    }
    Deployed { name: desired.name.to_owned(), changes, current, skipped, failed }
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
