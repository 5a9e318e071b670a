//! Deploys the StackSets `firebreak-spoke` and `firebreak-region`: what they should
//! be, what that changes, and the wait until AWS has done it. Never deletes a stack.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_config::SdkConfig;
use firebreak_aws::error::HubError;
use firebreak_aws::organization::Organization;
use firebreak_aws::policies::Policies;
use firebreak_aws::settings::Settings;
use firebreak_model::resource::AccountId;
use firebreak_policy::Policy;
use firebreak_spoke::registry;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::stacksets::{Asked, Progress, StackSetCaller, StackSets};
use crate::stackset_diff::{
    Desired, Health, Instance, PresentStackSet, StackSetChange, declares, outermost,
};

/// The spoke's template that this program was built with.
pub const SPOKE: &str = include_str!("../../../../stacksets/spoke.yaml");
/// The Regions' template that this program was built with.
pub const REGION: &str = include_str!("../../../../stacksets/region.yaml");

/// How often an operation is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// How often one look may fail in a row before the wait is given up. The
/// operation goes on all the same.
const FAILED_LOOKS: u32 = 6;

/// How many changes one StackSet may take: 2,000 OUs, 50 at a time, and some more.
const CHANGES: usize = 64;

/// Why nothing was deployed, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The request cannot be carried out as it is; the message says what to change.
    #[error("{0}")]
    Usage(String),
    /// AWS, or the way to it.
    #[error("{0}")]
    Aws(HubError),
}

impl From<HubError> for DeployError {
    fn from(error: HubError) -> Self {
        match error {
            HubError::Refused(why) => Self::Usage(why),
            HubError::Transient(_) | HubError::Failed(_) => Self::Aws(error),
        }
    }
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
    pub changes: Vec<StackSetChange>,
    /// Targets that it has and that are not asked for: they stay.
    pub beyond: Vec<String>,
}

/// How a StackSet's stacks are in the end.
#[derive(Clone, Debug, Serialize)]
pub struct Deployed {
    /// The StackSet.
    pub name: String,
    /// What was done.
    pub changes: Vec<StackSetChange>,
    /// How many stacks are as they should be.
    pub current: usize,
    /// Left out, because the account is suspended.
    pub skipped: Vec<Instance>,
    /// Not as they should be.
    pub failed: Vec<Instance>,
}

/// What each StackSet should be, and what that takes. Changes nothing.
pub async fn plan(
    config: &SdkConfig,
    settings: &Settings,
    caller: &StackSetCaller,
    request: &Request,
) -> Result<Vec<Planned>, DeployError> {
    let organization = Organization::new(config, settings);
    let is_management = caller.account == caller.management;
    let hub = match &request.hub_account {
        Some(account) => account.clone(),
        None if is_management => {
            return Err(DeployError::Usage(
                "this is the management account, and the hub runs in another\nhelp: name it with --hub-account".to_owned(),
            ));
        }
        None => caller.account.clone(),
    };
    let region = request.region.clone().or_else(|| config.region().map(ToString::to_string));
    let region = region.ok_or_else(|| {
        DeployError::Usage("no Region is set\nhelp: set AWS_REGION, or say --region".to_owned())
    })?;
    let (spoke, forwarding) =
        request.templates.clone().unwrap_or_else(|| (SPOKE.to_owned(), REGION.to_owned()));
    let units = units(config, settings, &organization, request).await?;
    // Each parameter that was given goes to the template that has it.
    let is_of_region = |key: &String| declares(&forwarding, key) && !declares(&spoke, key);
    let (for_region, mut parameters): (BTreeMap<_, _>, BTreeMap<_, _>) =
        request.parameters.clone().into_iter().partition(|(key, _)| is_of_region(key));
    if let Some(key) = for_region.keys().next().filter(|_| request.forward.is_empty()) {
        return Err(DeployError::Usage(format!(
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
        let observed = sets.describe(desired.name).await?;
        let changes = desired.changes(observed.as_ref()).map_err(usage)?;
        let beyond = observed.as_ref().map(|observed| desired.beyond(observed)).unwrap_or_default();
        planned.push(Planned { desired, changes, beyond });
    }
    Ok(planned)
}

fn usage(error: impl std::fmt::Display) -> DeployError {
    DeployError::Usage(error.to_string())
}

/// The OUs and roots to deploy to, none of them below another.
async fn units(
    config: &SdkConfig,
    settings: &Settings,
    organization: &Organization,
    request: &Request,
) -> Result<BTreeSet<String>, DeployError> {
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
        return Err(DeployError::Usage(
            "no policy covers any OU\nhelp: name OUs with --ou, or push a policy first".to_owned(),
        ));
    }
    let (mut above, mut accounts) = (BTreeMap::new(), Vec::new());
    for point in points {
        let path = organization
            .path_of(&point)
            .await?
            .ok_or_else(|| DeployError::Usage(format!("AWS Organizations knows no `{point}`")))?;
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
            return Err(DeployError::Usage(format!(
                "account {account} has a policy of its own, and no OU above it is deployed to\nhelp: name one with --ou: {}",
                ids.join(", ")
            )));
        }
    }
    Ok(units)
}

async fn in_force(config: &SdkConfig, settings: &Settings) -> Result<Policy, DeployError> {
    let (_, policy) = Policies::new(config, settings, registry::catalog()).in_force().await.map_err(|error| {
        let described = format!(
            "cannot read the policy in force, which says what is covered: {error}\nhelp: run this in the hub account, or name OUs with --ou, or files with --policies"
        );
        match error {
            HubError::Refused(_) => DeployError::Usage(described),
            HubError::Transient(_) | HubError::Failed(_) => DeployError::Aws(HubError::Failed(described)),
        }
    })?;
    Ok((*policy).clone())
}

async fn unit_of(organization: &Organization, account: &str) -> Result<String, DeployError> {
    let path = organization.path_of(account).await?;
    let path = path.ok_or_else(|| {
        DeployError::Usage(format!("AWS Organizations knows no account {account}"))
    })?;
    Ok(path.unit().to_owned())
}

/// Makes a StackSet what it should be, and waits until AWS is done. `report` gets a
/// line of progress now and then.
pub async fn roll_out(
    sets: &StackSets,
    desired: &Desired,
    report: &mut dyn FnMut(&str),
) -> Result<Deployed, DeployError> {
    let mut done: Vec<StackSetChange> = Vec::new();
    for _ in 0..CHANGES {
        for operation in sets.going(desired.name).await? {
            report(&format!("{}: an operation is in progress: {operation}", desired.name));
            wait(sets, desired.name, &operation, report).await?;
        }
        let observed = sets.describe(desired.name).await?;
        let changes = desired.changes(observed.as_ref()).map_err(usage)?;
        // Once is enough in one run, and what has been tried just now is no news.
        let next = changes.into_iter().find(|change| match change {
            StackSetChange::Create
            | StackSetChange::Update { .. }
            | StackSetChange::Instances { .. } => true,
            StackSetChange::Retry { .. } => done.iter().all(|it| *it == StackSetChange::Create),
        });
        let Some(change) = next else {
            return Ok(deployed(desired, done, observed.unwrap_or_default()));
        };
        if done.contains(&change) {
            return Err(DeployError::Aws(HubError::Failed(format!(
                "{} is not as it was left: somebody else changes it as well\nhelp: run this again when they are done",
                desired.name
            ))));
        }
        report(&format!("{}: {change}", desired.name));
        match sets.change(desired, &change).await? {
            Asked::Done => {}
            Asked::Goes(operation) => wait(sets, desired.name, &operation, report).await?,
            Asked::Busy => {
                sleep(LOOK).await;
                continue;
            }
        }
        done.push(change);
    }
    Err(DeployError::Aws(HubError::Failed(format!(
        "{} needs more than {CHANGES} changes\nhelp: run this again",
        desired.name
    ))))
}

/// Waits until an operation is over. Its stacks show how it ended.
async fn wait(
    sets: &StackSets,
    name: &str,
    operation: &str,
    report: &mut dyn FnMut(&str),
) -> Result<(), DeployError> {
    let (began, mut failed_looks, mut described) = (Instant::now(), 0, None);
    loop {
        match sets.progress(name, operation).await {
            Ok(Progress::Ended) => {
                report(&format!("{name}: done after {} s", began.elapsed().as_secs()));
                return Ok(());
            }
            Ok(Progress::Going(failed)) => {
                failed_looks = 0;
                let minute = began.elapsed().as_secs() / 60;
                if described != Some((failed, minute)) {
                    described = Some((failed, minute));
                    let seconds = began.elapsed().as_secs();
                    report(&format!(
                        "{name}: in progress for {seconds} s, {failed} stack(s) failed"
                    ));
                }
            }
            Err(HubError::Transient(_)) if failed_looks < FAILED_LOOKS => failed_looks += 1,
            Err(error) => return Err(error.into()),
        }
        sleep(LOOK).await;
    }
}

fn deployed(
    desired: &Desired,
    changes: Vec<StackSetChange>,
    observed: PresentStackSet,
) -> Deployed {
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
