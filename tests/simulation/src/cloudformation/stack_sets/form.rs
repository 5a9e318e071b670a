//! What StackSets' calls bring, read and checked.

use std::collections::BTreeMap;

use super::{Preferences, Share};
use crate::ec2::form::Form;
use crate::organizations::Organizations;
use crate::wire::ServiceError;

pub(super) fn refused(code: &str, message: impl Into<String>) -> ServiceError {
    ServiceError::new(400, code, message)
}

pub(super) fn invalid(message: impl Into<String>) -> ServiceError {
    refused("ValidationError", message)
}

pub(super) fn required<'a>(form: &'a Form, name: &str) -> Result<&'a str, ServiceError> {
    let missing = || invalid(format!("1 validation error detected: Value null at '{name}'"));
    form.get(name).filter(|text| !text.is_empty()).ok_or_else(missing)
}

pub(super) fn list(form: &Form, name: &str) -> Vec<String> {
    form.list(&format!("{name}.member")).into_iter().map(str::to_owned).collect()
}

pub(super) fn flag(form: &Form, name: &str) -> Option<bool> {
    form.get(name).map(|text| text == "true")
}

/// Parameters; of those with `UsePreviousValue` the value from before.
pub(super) fn parameters(
    form: &Form,
    before: Option<&BTreeMap<String, String>>,
) -> Result<BTreeMap<String, String>, ServiceError> {
    let mut read = BTreeMap::new();
    for parameter in form.structures("Parameters.member") {
        let key = required(&parameter, "ParameterKey")?.to_owned();
        let value = if parameter.flag("UsePreviousValue") {
            let known = before.and_then(|before| before.get(&key).cloned());
            known.ok_or_else(|| invalid(format!("there is no previous value of {key}")))?
        } else {
            parameter.get("ParameterValue").unwrap_or_default().to_owned()
        };
        read.insert(key, value);
    }
    Ok(read)
}

/// `OperationPreferences`.
pub(super) fn preferences(form: &Form) -> Result<Preferences, ServiceError> {
    let share = |name: &str, default: usize| -> Result<Share, ServiceError> {
        let number = |suffix: &str| -> Result<Option<usize>, ServiceError> {
            let text = form.get(&format!("OperationPreferences.{name}{suffix}"));
            let wrong = |text: &str| invalid(format!("{name}{suffix} `{text}` is no number"));
            text.map(|text| text.parse().map_err(|_| wrong(text))).transpose()
        };
        match (number("Count")?, number("Percentage")?) {
            (Some(_), Some(_)) => {
                Err(invalid(format!("specify {name}Count or {name}Percentage, but not both")))
            }
            (Some(count), None) => Ok(Share::Count(count)),
            (None, Some(percent)) if percent <= 100 => Ok(Share::Percent(percent)),
            (None, Some(_)) => Err(invalid(format!("{name}Percentage is over 100"))),
            (None, None) => Ok(Share::Count(default)),
        }
    };
    let one_of = |name: &str, allowed: [&str; 2]| match form.get(name) {
        None => Ok(false),
        Some(text) if text == allowed[0] => Ok(false),
        Some(text) if text == allowed[1] => Ok(true),
        Some(text) => Err(invalid(format!("{name} `{text}` is none of those allowed"))),
    };
    Ok(Preferences {
        tolerated: share("FailureTolerance", 0)?,
        at_once: share("MaxConcurrent", 1)?,
        is_soft: one_of(
            "OperationPreferences.ConcurrencyMode",
            ["STRICT_FAILURE_TOLERANCE", "SOFT_FAILURE_TOLERANCE"],
        )?,
        is_parallel: one_of(
            "OperationPreferences.RegionConcurrencyType",
            ["SEQUENTIAL", "PARALLEL"],
        )?,
    })
}

/// Accounts, each with the target that it is below.
type Targeted = Vec<(String, String)>;

/// The targets that `DeploymentTargets` name, and the accounts that it means.
pub(super) fn targeted(
    organizations: &Organizations,
    form: &Form,
) -> Result<(Vec<String>, Targeted), ServiceError> {
    let units = list(form, "DeploymentTargets.OrganizationalUnitIds");
    if units.is_empty() {
        let message = "OrganizationalUnitIds are required for a service-managed StackSet";
        return Err(invalid(message));
    }
    // "<= 50 OUs per call" (CloudFormation user guide, "Quotas").
    if units.len() > 50 {
        return Err(invalid("at most 50 OrganizationalUnitIds in one call"));
    }
    for unit in &units {
        if *unit != organizations.root && !organizations.units.contains_key(unit) {
            return Err(invalid(format!("OrganizationalUnitId {unit} does not exist")));
        }
    }
    let accounts = list(form, "DeploymentTargets.Accounts");
    let below = super::targets::below(organizations, &units.iter().cloned().collect());
    let filter = form.get("DeploymentTargets.AccountFilterType").unwrap_or("NONE");
    let chosen = match filter {
        "NONE" if accounts.is_empty() => below,
        "INTERSECTION" => below.into_iter().filter(|(id, _)| accounts.contains(id)).collect(),
        "DIFFERENCE" => below.into_iter().filter(|(id, _)| !accounts.contains(id)).collect(),
        other => {
            let message = format!("the simulation does not model the filter {other} with accounts");
            return Err(refused("NotModelled", message));
        }
    };
    Ok((units, chosen))
}
