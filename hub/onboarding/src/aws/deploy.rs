//! Deploys the StackSets `firebreak-spoke` and `firebreak-region`: plans the changes,
//! makes them, and waits for AWS. Never deletes a stack.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_config::SdkConfig;
use firebreak_aws::error::HubError;
use firebreak_aws::organization::Organization;
use firebreak_aws::policies::Policies;
use firebreak_aws::settings::Settings;
use firebreak_client::rate_limit::RateLimits;
use firebreak_model::resource::AccountId;
use firebreak_policy::Policy;
use firebreak_spoke::registry;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::stacksets::{ChangeOutcome, OperationStatus, StackSetCaller, StackSets};
use crate::stackset_diff::{
    DesiredStackSet, PresentStackSet, StackHealth, StackInstance, StackSetChange, declares,
    outermost,
};

/// The spoke's template that this program was built with.
pub const SPOKE: &str = include_str!("../../../../stacksets/spoke.yaml");
/// The Regions' template that this program was built with.
pub const REGION: &str = include_str!("../../../../stacksets/region.yaml");

/// How often the status of an operation is read.
const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// How many polls in a row may fail before this process stops waiting. The operation
/// continues in AWS.
const MAX_FAILED_POLLS: u32 = 6;

/// The limit of changes to one StackSet in one run: 2,000 OUs, 50 in each, and a reserve.
const MAX_CHANGES: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The request is invalid; the message says what to change.
    #[error("{0}")]
    Usage(String),
    /// A call to AWS failed.
    #[error("{0}")]
    Aws(HubError),
}

impl From<HubError> for DeployError {
    fn from(error: HubError) -> Self {
        if error.is_refused() { Self::Usage(error.to_string()) } else { Self::Aws(error) }
    }
}

/// What to deploy, and where.
#[derive(Clone, Debug, Default)]
pub struct DeployRequest {
    /// OUs and roots; if empty, those that the policy covers.
    pub units: Vec<String>,
    /// Used instead of the policy in force.
    pub policy: Option<Policy>,
    /// The hub's account; by default the caller's.
    pub hub_account: Option<String>,
    /// The hub's Region; by default the configured one.
    pub region: Option<String>,
    /// Regions whose findings are forwarded to the hub.
    pub forward: BTreeSet<String>,
    /// Further parameters of the templates.
    pub parameters: BTreeMap<String, String>,
    /// The texts of spoke.yaml and region.yaml; by default the built-in ones.
    pub templates: Option<(String, String)>,
}

/// A StackSet and the changes that it needs.
#[derive(Clone, Debug)]
pub struct Planned {
    pub desired: DesiredStackSet,
    pub changes: Vec<StackSetChange>,
    /// Targets that it has but that were not requested; they stay.
    pub beyond: Vec<String>,
}

/// The result for one StackSet.
#[derive(Clone, Debug, Serialize)]
pub struct Deployed {
    pub name: String,
    pub changes: Vec<StackSetChange>,
    /// The number of stacks that are up to date.
    pub current: usize,
    /// Skipped, because the account is suspended.
    pub skipped: Vec<StackInstance>,
    pub failed: Vec<StackInstance>,
}

/// Plans the changes of each StackSet. Changes nothing.
pub async fn plan(
    config: &SdkConfig,
    settings: &Settings,
    caller: &StackSetCaller,
    request: &DeployRequest,
) -> Result<Vec<Planned>, DeployError> {
    let organization = Organization::new(config, settings, &RateLimits::local(settings.rate_share));
    let is_management = caller.account == caller.management;
    let hub = match &request.hub_account {
        Some(account) => account.clone(),
        None if is_management => {
            return Err(DeployError::Usage(
                "these are credentials of the management account, where the hub does not run\nhelp: give the hub's account with --hub-account".to_owned(),
            ));
        }
        None => caller.account.clone(),
    };
    let region = request.region.clone().or_else(|| config.region().map(ToString::to_string));
    let region = region.ok_or_else(|| {
        DeployError::Usage("no Region is set\nhelp: set AWS_REGION, or give --region".to_owned())
    })?;
    let (spoke, forwarding) =
        request.templates.clone().unwrap_or_else(|| (SPOKE.to_owned(), REGION.to_owned()));
    let units = units(config, settings, &organization, request).await?;
    // Each parameter belongs to the template that declares it.
    let is_of_region = |key: &String| declares(&forwarding, key) && !declares(&spoke, key);
    let (for_region, mut parameters): (BTreeMap<_, _>, BTreeMap<_, _>) =
        request.parameters.clone().into_iter().partition(|(key, _)| is_of_region(key));
    if let Some(key) = for_region.keys().next().filter(|_| request.forward.is_empty()) {
        return Err(DeployError::Usage(format!(
            "`{key}` is a parameter of region.yaml, which is not deployed\nhelp: give the Regions with --forward"
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
    let mut wanted = vec![
        DesiredStackSet::new("firebreak-spoke", purpose, spoke, &parameters, targets)
            .map_err(usage)?,
    ];
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
            DesiredStackSet::new("firebreak-region", purpose, forwarding, &parameters, targets)
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

/// The OUs and roots to deploy to; none of them is below another.
async fn units(
    config: &SdkConfig,
    settings: &Settings,
    organization: &Organization,
    request: &DeployRequest,
) -> Result<BTreeSet<String>, DeployError> {
    let mut points: BTreeSet<String> = request.units.iter().cloned().collect();
    if points.is_empty() {
        let policy = match &request.policy {
            Some(policy) => policy.clone(),
            None => in_force(config, settings).await?,
        };
        let needing = policy.documents().iter().filter(|document| document.needs_spoke_role());
        points = needing.map(|document| document.attach.clone()).collect();
    }
    if points.is_empty() {
        return Err(DeployError::Usage(
            "no policy covers an OU\nhelp: give OUs with --ou, or push a policy first".to_owned(),
        ));
    }
    let (mut above, mut accounts) = (BTreeMap::new(), Vec::new());
    for point in points {
        let path = organization
            .path_of(&point)
            .await?
            .ok_or_else(|| DeployError::Usage(format!("`{point}` is not in AWS Organizations")))?;
        let ids: Vec<String> = path.ids().map(str::to_owned).collect();
        if point.parse::<AccountId>().is_ok() {
            accounts.push((point, ids));
        } else {
            let parents = ids.into_iter().filter(|id| *id != point).collect();
            above.insert(point, parents);
        }
    }
    let units = outermost(&above);
    // Service-managed StackSets target OUs: a single account would lose its stack when it
    // is moved.
    for (account, ids) in accounts {
        if !ids.iter().any(|id| units.contains(id)) {
            return Err(DeployError::Usage(format!(
                "account {account} has its own policy, but no OU above it is a target\nhelp: give one with --ou: {}",
                ids.join(", ")
            )));
        }
    }
    Ok(units)
}

async fn in_force(config: &SdkConfig, settings: &Settings) -> Result<Policy, DeployError> {
    let (_, policy) = Policies::new(config, settings, registry::catalog()).in_force().await.map_err(|error| {
        let described = format!(
            "cannot read the policy in force, which has the OUs to deploy to: {error}\nhelp: run this in the hub account, or give OUs with --ou, or files with --policies"
        );
        if error.is_refused() { DeployError::Usage(described) } else { DeployError::Aws(HubError::failed(described)) }
    })?;
    Ok((*policy).clone())
}

async fn unit_of(organization: &Organization, account: &str) -> Result<String, DeployError> {
    let path = organization.path_of(account).await?;
    let path = path.ok_or_else(|| {
        DeployError::Usage(format!("account {account} is not in AWS Organizations"))
    })?;
    Ok(path.unit().to_owned())
}

/// Makes all changes to a StackSet, and waits for each. `report` gets lines of progress.
pub async fn roll_out(
    sets: &StackSets,
    desired: &DesiredStackSet,
    report: &mut dyn FnMut(&str),
) -> Result<Deployed, DeployError> {
    let mut done: Vec<StackSetChange> = Vec::new();
    for _ in 0..MAX_CHANGES {
        for operation in sets.operations_in_progress(desired.name).await? {
            report(&format!("{}: an operation is in progress: {operation}", desired.name));
            wait(sets, desired.name, &operation, report).await?;
        }
        let observed = sets.describe(desired.name).await?;
        let changes = desired.changes(observed.as_ref()).map_err(usage)?;
        // A retry right after other changes would repeat what they have just tried.
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
            return Err(DeployError::Aws(HubError::failed(format!(
                "{} is being changed by another caller\nhelp: run this again when that change has ended",
                desired.name
            ))));
        }
        report(&format!("{}: {change}", desired.name));
        match sets.change(desired, &change).await? {
            ChangeOutcome::Done => {}
            ChangeOutcome::Started(operation) => {
                wait(sets, desired.name, &operation, report).await?;
            }
            ChangeOutcome::Busy => {
                sleep(POLL_INTERVAL).await;
                continue;
            }
        }
        done.push(change);
    }
    Err(DeployError::Aws(HubError::failed(format!(
        "{} needs more than {MAX_CHANGES} changes\nhelp: run this again",
        desired.name
    ))))
}

/// Waits until an operation has ended. Its stacks show the result.
async fn wait(
    sets: &StackSets,
    name: &str,
    operation: &str,
    report: &mut dyn FnMut(&str),
) -> Result<(), DeployError> {
    let (began, mut failed_polls, mut described) = (Instant::now(), 0, None);
    loop {
        match sets.operation_status(name, operation).await {
            Ok(OperationStatus::Ended) => {
                report(&format!("{name}: done after {} s", began.elapsed().as_secs()));
                return Ok(());
            }
            Ok(OperationStatus::InProgress { failed }) => {
                failed_polls = 0;
                let minute = began.elapsed().as_secs() / 60;
                if described != Some((failed, minute)) {
                    described = Some((failed, minute));
                    let seconds = began.elapsed().as_secs();
                    report(&format!(
                        "{name}: in progress for {seconds} s, {failed} stack(s) failed"
                    ));
                }
            }
            Err(error) if error.is_transient() && failed_polls < MAX_FAILED_POLLS => {
                failed_polls += 1;
            }
            Err(error) => return Err(error.into()),
        }
        sleep(POLL_INTERVAL).await;
    }
}

fn deployed(
    desired: &DesiredStackSet,
    changes: Vec<StackSetChange>,
    observed: PresentStackSet,
) -> Deployed {
    let (mut current, mut skipped, mut failed) = (0, Vec::new(), Vec::new());
    for instance in observed.instances {
        match instance.health {
            StackHealth::Current => current += 1,
            StackHealth::Suspended => skipped.push(instance),
            StackHealth::Behind => failed.push(instance),
        }
    }
    Deployed { name: desired.name.to_owned(), changes, current, skipped, failed }
}
