//! StackSets' calls, as CloudFormation's API reference has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::form::{flag, invalid, list, parameters, preferences, refused, required, targeted};
use super::targets::ask;
use super::{Action, DELEGATED, Operation, Preferences, StackSet, Status, TRUSTED};
use crate::cloudformation::template::{TEMPLATE_BYTES, Template};
use crate::ec2::form::Form;
use crate::ec2::xml;
use crate::organizations::Organizations;
use crate::state::State;
use crate::wire::ServiceError;

type Answer = Result<String, ServiceError>;

/// Answers a call; `None` for one that is not modelled.
pub fn answer(
    state: &mut State,
    (account, region): (&str, &str),
    now: Timestamp,
    operation: &str,
    form: &Form,
) -> Option<Answer> {
    let known = [
        "CreateStackInstances",
        "CreateStackSet",
        "DescribeStackSet",
        "DescribeStackSetOperation",
        "ListStackInstances",
        "ListStackSetOperationResults",
        "ListStackSetOperations",
        "UpdateStackSet",
    ];
    if !known.contains(&operation) {
        return None;
    }
    if let Err(refused) = may_call(&state.organizations, account, form) {
        return Some(Err(refused));
    }
    Some(match operation {
        "CreateStackSet" => create(state, region, form),
        "UpdateStackSet" => update(state, region, now, form),
        "CreateStackInstances" => create_instances(state, region, now, form),
        "DescribeStackSet" => found(state, region, form).map(describe),
        "ListStackInstances" => {
            found(state, region, form).and_then(|set| list_instances(set, form))
        }
        "ListStackSetOperations" => {
            found(state, region, form).and_then(|set| list_operations(set, form))
        }
        "DescribeStackSetOperation" => found(state, region, form).and_then(|set| {
            let mut out = String::new();
            let operation = operation_of(set, form)?;
            xml::element(&mut out, "StackSetOperation", |out| {
                write_operation(out, operation);
                xml::text(out, "StackSetId", &set.id);
            });
            Ok(out)
        }),
        _ => found(state, region, form).and_then(|set| results(operation_of(set, form)?, form)),
    })
}

/// The management account as itself, a delegated administrator as such. The
/// StackSets are the management account's either way.
fn may_call(organizations: &Organizations, account: &str, form: &Form) -> Result<(), ServiceError> {
    if !organizations.trusted.contains(TRUSTED) {
        let message = "You must enable organizations access to operate a service managed stack set";
        return Err(invalid(message));
    }
    let delegated = organizations.delegations.get(DELEGATED);
    let delegated = delegated.is_some_and(|accounts| accounts.contains(account));
    match form.get("CallAs") {
        None | Some("SELF") if account == organizations.management => Ok(()),
        Some("DELEGATED_ADMIN") if delegated => Ok(()),
        None | Some("SELF") => Err(invalid(
            "The account must be the management account, or call as a delegated administrator",
        )),
        Some(_) => Err(invalid("You must be a delegated administrator to call as one")),
    }
}

fn not_found(name: &str) -> ServiceError {
    ServiceError::new(404, "StackSetNotFoundException", format!("StackSet {name} not found"))
}

fn name_of(form: &Form) -> Result<String, ServiceError> {
    Ok(required(form, "StackSetName")?.split(':').next().unwrap_or_default().to_owned())
}

fn found<'a>(state: &'a State, region: &str, form: &Form) -> Result<&'a StackSet, ServiceError> {
    let name = name_of(form)?;
    let set = state.cloudformation.stack_sets.get(&name).filter(|set| set.home == region);
    set.ok_or_else(|| not_found(&name))
}

fn operation_of<'a>(set: &'a StackSet, form: &Form) -> Result<&'a Operation, ServiceError> {
    let id = required(form, "OperationId")?;
    let found = set.operations.iter().find(|operation| operation.id == id);
    let message = format!("Operation {id} not found");
    found.ok_or_else(|| ServiceError::new(404, "OperationNotFoundException", message))
}

/// The template that a call brings.
fn template(form: &Form) -> Result<Option<Arc<Template>>, ServiceError> {
    if form.get("TemplateURL").is_some() {
        return Err(refused("NotModelled", "the simulation does not model TemplateURL"));
    }
    let Some(text) = form.get("TemplateBody") else { return Ok(None) };
    if text.len() > TEMPLATE_BYTES {
        let message = "Member must have length less than or equal to 51200";
        return Err(invalid(format!("Value at 'templateBody' failed: {message}")));
    }
    let read = Template::read("Template error", text).map_err(|it| invalid(it.to_string()))?;
    Ok(Some(Arc::new(read)))
}

fn acknowledged(set: &StackSet) -> Result<(), ServiceError> {
    if set.template.names_iam() && !set.capabilities.contains("CAPABILITY_NAMED_IAM") {
        let message = "Requires capabilities : [CAPABILITY_NAMED_IAM]";
        return Err(refused("InsufficientCapabilitiesException", message));
    }
    set.template.check(&set.parameters).map_err(|refusal| invalid(refusal.to_string()))
}

fn create(state: &mut State, region: &str, form: &Form) -> Answer {
    let name = name_of(form)?;
    if form.get("PermissionModel") != Some("SERVICE_MANAGED") {
        let message = "the simulation models service-managed permissions only";
        return Err(refused("NotModelled", message));
    }
    let legal = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.len() <= 128
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !legal {
        return Err(invalid(format!("Value '{name}' at 'stackSetName' failed its pattern")));
    }
    let held = state.cloudformation.stack_sets.get(&name);
    if held.is_some_and(|held| held.home != region) {
        let message = "the simulation does not model StackSets of one name in several Regions";
        return Err(refused("NotModelled", message));
    }
    if held.is_some() {
        let message = format!("StackSet {name} already exists");
        return Err(ServiceError::new(409, "NameAlreadyExistsException", message));
    }
    let template = template(form)?.ok_or_else(|| invalid("TemplateBody is required"))?;
    let Some(deploys_automatically) = flag(form, "AutoDeployment.Enabled") else {
        return Err(invalid("AutoDeployment is required for service-managed permissions"));
    };
    let retains = flag(form, "AutoDeployment.RetainStacksOnAccountRemoval");
    if deploys_automatically && retains.is_none() {
        return Err(invalid("RetainStacksOnAccountRemoval is required with auto-deployment"));
    }
    let set = StackSet {
        id: format!("{name}:{:032x}", state.unique()),
        description: form.get("Description").unwrap_or_default().to_owned(),
        template,
        parameters: parameters(form, None)?,
        capabilities: list(form, "Capabilities").into_iter().collect(),
        deploys_automatically,
        retains: retains.unwrap_or_default(),
        queues: form.flag("ManagedExecution.Active"),
        home: region.to_owned(),
        units: std::collections::BTreeSet::new(),
        regions: std::collections::BTreeSet::new(),
        instances: BTreeMap::new(),
        operations: Vec::new(),
    };
    acknowledged(&set)?;
    let mut out = String::new();
    xml::text(&mut out, "StackSetId", &set.id);
    state.cloudformation.stack_sets.insert(name, set);
    Ok(out)
}

/// An operation's id: the caller's, which makes it happen once, or a new one.
fn operation_id(state: &mut State, form: &Form, set: &str) -> Result<String, ServiceError> {
    let given = form.get("OperationId").map(str::to_owned);
    let id = given.unwrap_or_else(|| format!("op-{:032x}", state.unique()));
    let held = state.cloudformation.stack_sets.get(set).ok_or_else(|| not_found(set))?;
    if held.operations.iter().any(|operation| operation.id == id) {
        let message = format!("Operation {id} already exists");
        return Err(ServiceError::new(409, "OperationIdAlreadyExistsException", message));
    }
    // "When active, StackSets queues conflicting operations" (CloudFormation API
    // reference, ManagedExecution).
    if held.is_busy() && !held.queues {
        let message = "Another Operation on StackSet is in progress";
        return Err(ServiceError::new(409, "OperationInProgressException", message));
    }
    Ok(id)
}

fn rendered(id: &str) -> String {
    let mut out = String::new();
    xml::text(&mut out, "OperationId", id);
    out
}

fn create_instances(state: &mut State, region: &str, now: Timestamp, form: &Form) -> Answer {
    let name = name_of(form)?;
    found(state, region, form)?;
    let regions = list(form, "Regions");
    if regions.is_empty() {
        return Err(invalid("Regions are required"));
    }
    if !form.structures("ParameterOverrides.member").is_empty() {
        return Err(refused("NotModelled", "the simulation does not model ParameterOverrides"));
    }
    let (units, accounts) = targeted(&state.organizations, form)?;
    let preferences = preferences(form)?;
    let id = operation_id(state, form, &name)?;
    let set = state.cloudformation.stack_sets.get_mut(&name).ok_or_else(|| not_found(&name))?;
    set.units.extend(units);
    set.regions.extend(regions.iter().cloned());
    // "Retries all stack instances whose status is OUTDATED": what is current is left.
    let current: Vec<(String, String)> =
        set.instances.iter().filter(|(_, it)| it.is_current).map(|(key, _)| key.clone()).collect();
    pending(set, (&accounts, &regions), &id, &current);
    ask(set, id.clone(), Action::Create, (&accounts, &regions), preferences, now);
    if let Some(asked) = set.operations.last_mut() {
        asked.steps.retain(|it| !current.contains(&(it.account.clone(), it.region.clone())));
    }
    Ok(rendered(&id))
}

/// From the call on the instances are there, waiting for their operation.
fn pending(
    set: &mut StackSet,
    (accounts, regions): (&[(String, String)], &[String]),
    id: &str,
    but: &[(String, String)],
) {
    for (account, unit) in accounts {
        for region in regions {
            if but.contains(&(account.clone(), region.clone())) {
                continue;
            }
            let new = super::Instance {
                unit: unit.clone(),
                is_current: false,
                detail: "PENDING",
                reason: None,
                operation: id.to_owned(),
            };
            let key = (account.clone(), region.clone());
            let held = set.instances.entry(key).or_insert_with(|| new.clone());
            *held = new;
        }
    }
}

fn update(state: &mut State, region: &str, now: Timestamp, form: &Form) -> Answer {
    let name = name_of(form)?;
    let mut changed = found(state, region, form)?.clone();
    match (template(form)?, form.flag("UsePreviousTemplate")) {
        (Some(template), false) => changed.template = template,
        (None, true) => {}
        _ => return Err(invalid("either TemplateBody or UsePreviousTemplate is required")),
    }
    changed.parameters = parameters(form, Some(&changed.parameters))?;
    changed.capabilities = list(form, "Capabilities").into_iter().collect();
    if let Some(description) = form.get("Description") {
        description.clone_into(&mut changed.description);
    }
    if let Some(enabled) = flag(form, "AutoDeployment.Enabled") {
        changed.deploys_automatically = enabled;
    }
    if let Some(retains) = flag(form, "AutoDeployment.RetainStacksOnAccountRemoval") {
        changed.retains = retains;
    }
    let queues = flag(form, "ManagedExecution.Active").unwrap_or(changed.queues);
    // "You cannot modify your StackSet's execution configuration while there are
    // running or queued operations" (API reference, ManagedExecution).
    if queues != changed.queues && changed.is_busy() {
        return Err(invalid("the execution configuration cannot change while operations run"));
    }
    changed.queues = queues;
    acknowledged(&changed)?;
    let preferences = preferences(form)?;
    let id = operation_id(state, form, &name)?;
    let (mut accounts, mut regions): (Vec<(String, String)>, Vec<String>) = (
        changed.instances.iter().map(|((id, _), it)| (id.clone(), it.unit.clone())).collect(),
        changed.instances.keys().map(|(_, region)| region.clone()).collect(),
    );
    accounts.dedup();
    regions.sort_unstable();
    regions.dedup();
    let is_narrowed = form.get("DeploymentTargets.OrganizationalUnitIds.member.1").is_some();
    let narrowed = list(form, "Regions");
    if is_narrowed {
        let (_, chosen) = targeted(&state.organizations, form)?;
        accounts.retain(|(id, _)| chosen.iter().any(|(chosen, _)| chosen == id));
    }
    if !narrowed.is_empty() {
        regions.retain(|region| narrowed.contains(region));
    }
    // A change of template or parameters makes all instances outdated first.
    if form.get("TemplateBody").is_some() || !changed.parameters.is_empty() {
        pending(&mut changed, (&accounts, &regions), &id, &[]);
    }
    ask(&mut changed, id.clone(), Action::Update, (&accounts, &regions), preferences, now);
    state.cloudformation.stack_sets.insert(name, changed);
    Ok(rendered(&id))
}

fn describe(set: &StackSet) -> String {
    let mut out = String::new();
    xml::element(&mut out, "StackSet", |out| {
        xml::text(out, "StackSetName", set.name());
        xml::text(out, "StackSetId", &set.id);
        xml::text(out, "Description", &set.description);
        xml::text(out, "Status", "ACTIVE");
        xml::text(out, "TemplateBody", &set.template.text);
        xml::element(out, "Parameters", |out| {
            for (key, value) in &set.parameters {
                let hidden = set.template.parameters.get(key).is_some_and(|it| it.is_hidden);
                xml::element(out, "member", |out| {
                    xml::text(out, "ParameterKey", key);
                    xml::text(out, "ParameterValue", if hidden { "****" } else { value });
                });
            }
        });
        members(out, "Capabilities", &set.capabilities);
        xml::text(out, "PermissionModel", "SERVICE_MANAGED");
        xml::element(out, "AutoDeployment", |out| {
            let text = |flag: bool| if flag { "true" } else { "false" };
            xml::text(out, "Enabled", text(set.deploys_automatically));
            xml::text(out, "RetainStacksOnAccountRemoval", text(set.retains));
        });
        xml::element(out, "ManagedExecution", |out| {
            xml::text(out, "Active", if set.queues { "true" } else { "false" });
        });
        members(out, "OrganizationalUnitIds", &set.units);
        members(out, "Regions", &set.regions);
    });
    out
}

fn members<'a>(out: &mut String, name: &str, texts: impl IntoIterator<Item = &'a String>) {
    xml::element(out, name, |out| {
        for text in texts {
            xml::text(out, "member", text);
        }
    });
}

/// One page of a list, as many as `MaxResults` says, 100 at most.
fn page<T>(
    out: &mut String,
    form: &Form,
    all: &[T],
    mut write: impl FnMut(&mut String, &T),
) -> Result<(), ServiceError> {
    let number = |name: &str, default: usize| match form.get(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| invalid(format!("{name} `{text}` is invalid"))),
    };
    let (from, most) = (number("NextToken", 0)?, number("MaxResults", 100)?.min(100));
    xml::element(out, "Summaries", |out| {
        for each in all.iter().skip(from).take(most) {
            xml::element(out, "member", |out| write(out, each));
        }
    });
    if from + most < all.len() {
        xml::text(out, "NextToken", &(from + most).to_string());
    }
    Ok(())
}

fn list_instances(set: &StackSet, form: &Form) -> Answer {
    let mut out = String::new();
    let only = |name: &str| form.get(name).map(str::to_owned);
    let (account, region) = (only("StackInstanceAccount"), only("StackInstanceRegion"));
    let chosen: Vec<_> = set
        .instances
        .iter()
        .filter(|((held, _), _)| account.as_ref().is_none_or(|it| it == held))
        .filter(|((_, held), _)| region.as_ref().is_none_or(|it| it == held))
        .collect();
    page(&mut out, form, &chosen, |out, ((account, region), instance)| {
        xml::text(out, "StackSetId", &set.id);
        xml::text(out, "Account", account);
        xml::text(out, "Region", region);
        xml::text(out, "Status", if instance.is_current { "CURRENT" } else { "OUTDATED" });
        xml::element(out, "StackInstanceStatus", |out| {
            xml::text(out, "DetailedStatus", instance.detail);
        });
        if let Some(reason) = &instance.reason {
            xml::text(out, "StatusReason", reason);
        }
        xml::text(out, "OrganizationalUnitId", &instance.unit);
        xml::text(out, "LastOperationId", &instance.operation);
    })?;
    Ok(out)
}

fn write_operation(out: &mut String, operation: &Operation) {
    xml::text(out, "OperationId", &operation.id);
    let action = match operation.action {
        Action::Create => "CREATE",
        Action::Update => "UPDATE",
        Action::Delete { .. } => "DELETE",
    };
    xml::text(out, "Action", action);
    let status = match operation.status {
        Status::Queued => "QUEUED",
        Status::Running => "RUNNING",
        Status::Succeeded => "SUCCEEDED",
        Status::Failed => "FAILED",
    };
    xml::text(out, "Status", status);
    xml::text(out, "CreationTimestamp", &operation.created.to_string());
    if let Some(ended) = operation.ended {
        xml::text(out, "EndTimestamp", &ended.to_string());
    }
    let failed = operation.results.values().filter(|it| it.status == "FAILED").count();
    xml::element(out, "StatusDetails", |out| {
        xml::text(out, "FailedStackInstancesCount", &failed.to_string());
    });
    if let Preferences { is_soft: true, .. } = operation.preferences {
        xml::element(out, "OperationPreferences", |out| {
            xml::text(out, "ConcurrencyMode", "SOFT_FAILURE_TOLERANCE");
        });
    }
}

fn list_operations(set: &StackSet, form: &Form) -> Answer {
    let mut out = String::new();
    // The newest come first.
    let all: Vec<&Operation> = set.operations.iter().rev().collect();
    page(&mut out, form, &all, |out, operation| write_operation(out, operation))?;
    Ok(out)
}

fn results(operation: &Operation, form: &Form) -> Answer {
    let mut out = String::new();
    let wanted = form.get("Filters.member.1.Values").map(str::to_owned);
    let all: Vec<_> = operation
        .results
        .iter()
        .filter(|(_, outcome)| wanted.as_ref().is_none_or(|it| it == outcome.status))
        .collect();
    page(&mut out, form, &all, |out, ((account, region), outcome)| {
        xml::text(out, "Account", account);
        xml::text(out, "Region", region);
        xml::text(out, "Status", outcome.status);
        if let Some(reason) = &outcome.reason {
            xml::text(out, "StatusReason", reason);
        }
        xml::text(out, "OrganizationalUnitId", &outcome.unit);
    })?;
    Ok(out)
}
