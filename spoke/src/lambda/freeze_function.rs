//! Keeps a Lambda function from being invoked: its reserved concurrency becomes 0,
//! which throttles every version and alias of it (Lambda developer guide,
//! "Configuring reserved concurrency": "to throttle a function, set the reserved
//! concurrency to zero"). Undo restores the value, or its absence, unless
//! others changed it since.
//!
//! Lambda refuses that while a version or alias has provisioned concurrency, which may not
//! exceed what is reserved (Lambda developer guide, "Configuring provisioned concurrency"):
//! its configurations are recorded and deleted first, and undo creates them again.
//!
//! Running invocations continue until they end or time out. Asynchronous events and
//! messages wait or are dropped, as the function's retry settings say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Residual,
    Reversal, Undone, Verification,
};
use crate::grant::{Grant, GrantScope};
use crate::lambda::provisioned;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::ResourceKind;

pub(crate) struct FreezeFunction;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    function: String,
    /// `None` when nothing was reserved, which undo restores as such.
    reserved: Option<i32>,
    /// The provisioned concurrency of its versions and aliases.
    provisioned: BTreeMap<String, i32>,
}

const FREEZE_FUNCTIONS: GrantScope = GrantScope {
    sid: "FreezeFunctions",
    why: "Their reserved and provisioned concurrency.",
    resources: &["arn:${AWS::Partition}:lambda:*:${AWS::AccountId}:function:*"],
    conditions: &[],
    within: None,
};

const WRITES: &[&str] = &[
    "lambda:DeleteFunctionConcurrency",
    "lambda:DeleteProvisionedConcurrencyConfig",
    "lambda:PutFunctionConcurrency",
    "lambda:PutProvisionedConcurrencyConfig",
];

impl Action for FreezeFunction {
    const SPEC: ActionSpec = ActionSpec {
        name: "freeze-function",
        sentence: "Sets reserved concurrency to 0, so that no new invocation starts.",
        resource_types: &["Lambda"],
        reads: &[
            "lambda:GetFunctionConcurrency",
            "lambda:GetFunctionConfiguration",
            "lambda:ListProvisionedConcurrencyConfigs",
        ],
        writes: WRITES,
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[FREEZE_FUNCTIONS.allows(WRITES)];
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let ResourceKind::Function { name } = &context.resource.kind else {
            return Err(ActionError::new(
                ErrorKind::NotApplicable,
                "the target is not a Lambda function",
            ));
        };
        let (reserved, provisioned) =
            futures::try_join!(get(context, name), provisioned::list(context, name))?;
        let change = Change {
            what: format!("reserved concurrency of function {name}"),
            before: describe(reserved),
            after: describe(FROZEN),
        };
        let mut changes = if reserved == FROZEN { Vec::new() } else { vec![change] };
        changes.extend(provisioned.iter().map(|(qualifier, count)| Change {
            what: format!("provisioned concurrency of function {name}, {qualifier}"),
            before: count.to_string(),
            after: "none".to_owned(),
        }));
        let function = name.clone();
        Ok(CapturedState { prior: Prior { function, reserved, provisioned }, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        let name = &prior.function;
        let deleted = provisioned::delete_all(context, name).await?;
        put(context, name, 0).await.map_err(|error| {
            // Lambda may still count what was provisioned a moment ago.
            let provisioned = deleted || !prior.provisioned.is_empty();
            let counted = provisioned && error.has_code(INVALID);
            let kind = if counted { ErrorKind::Transient } else { error.kind };
            ActionError { kind, ..error }
        })
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let name = &prior.function;
        Ok(match get(context, name).await {
            Ok(FROZEN) => Verification::InEffect(format!("function `{name}` has no concurrency")),
            Ok(reserved) => Verification::NotInEffect(format!(
                "function `{name}` can be invoked: its reserved concurrency is {}",
                describe(reserved)
            )),
            Err(error) if error.kind == ErrorKind::Gone => {
                Verification::InEffect(format!("function `{name}` does not exist any more"))
            }
            Err(error) => return Err(error),
        })
    }

    async fn residual(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Vec<Residual>, ActionError> {
        let name = &prior.function;
        let lambda = context.account.lambda().await;
        let call = lambda.get_function_configuration().function_name(name);
        let output = call.send().await;
        let output =
            match output.map_err(|error| from_sdk("lambda:GetFunctionConfiguration", &error)) {
                Ok(output) => output,
                Err(error) if error.kind == ErrorKind::Gone => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
        let role = output.role().unwrap_or("its role");
        let what = format!("credentials of the role {role} that left the function {name}");
        Ok(vec![Residual::new("execution-role", what, &[])])
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let mut undone = Undone::default();
        // What is provisioned may not exceed what is reserved.
        let function = &prior.function;
        if restore_reserved(context, prior, &mut undone).await? {
            provisioned::restore(context, function, &prior.provisioned, &mut undone).await?;
        } else {
            undone.drift.extend(prior.provisioned.iter().map(|(qualifier, count)| {
                format!("the provisioned concurrency of `{function}`, {qualifier}, of {count} is not restored")
            }));
        }
        Ok(undone)
    }
}

/// Whether the reserved concurrency is as it was, or was restored.
async fn restore_reserved(
    context: ActionContext<'_>,
    prior: &Prior,
    undone: &mut Undone,
) -> Result<bool, ActionError> {
    let Prior { function, reserved: before, .. } = prior;
    match (get(context, function).await, *before) {
        (Err(error), _) if error.kind == ErrorKind::Gone => {
            undone.drift.push(format!("function `{function}` was deleted since"));
            return Ok(false);
        }
        (Err(error), _) => return Err(error),
        (Ok(present), before) if present == before => return Ok(true),
        (Ok(FROZEN), Some(before)) => put(context, function, before).await?,
        (Ok(FROZEN), None) => delete(context, function).await?,
        (Ok(present), _) => {
            undone.drift.push(format!(
                "the reserved concurrency of function `{function}` was changed to {} since",
                describe(present)
            ));
            return Ok(false);
        }
    }
    let before = describe(*before);
    undone
        .restored
        .push(format!("the reserved concurrency of function `{function}` is {before} again"));
    Ok(true)
}

/// Lambda's code for a concurrency that it does not accept.
const INVALID: &str = "InvalidParameterValueException";

/// The reserved concurrency that the action sets.
const FROZEN: Option<i32> = Some(0);

fn describe(reserved: Option<i32>) -> String {
    reserved.map_or_else(|| "none".to_owned(), |reserved| reserved.to_string())
}

async fn get(context: ActionContext<'_>, name: &str) -> Result<Option<i32>, ActionError> {
    let lambda = context.account.lambda().await;
    let output = lambda.get_function_concurrency().function_name(name).send().await;
    output
        .map(|output| output.reserved_concurrent_executions())
        .map_err(|error| from_sdk("lambda:GetFunctionConcurrency", &error))
}

async fn put(context: ActionContext<'_>, name: &str, reserved: i32) -> Result<(), ActionError> {
    let lambda = context.account.lambda().await;
    let call = lambda.put_function_concurrency().function_name(name);
    let result = call.reserved_concurrent_executions(reserved).send().await;
    result.map(|_| ()).map_err(|error| {
        let error = from_sdk("lambda:PutFunctionConcurrency", &error);
        // Lambda has one code for two reasons: provisioned concurrency above
        // what is to be reserved, and too little left for all other functions.
        let help = error.has_code(INVALID).then(|| {
            format!(
                "see whether `{name}` has provisioned concurrency, and whether the account has {reserved} of its concurrency left to reserve"
            )
        });
        ActionError { help: help.or_else(|| error.help.clone()), ..error }
    })
}

async fn delete(context: ActionContext<'_>, name: &str) -> Result<(), ActionError> {
    let lambda = context.account.lambda().await;
    let result = lambda.delete_function_concurrency().function_name(name).send().await;
    result.map(|_| ()).map_err(|error| from_sdk("lambda:DeleteFunctionConcurrency", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absence_is_not_the_same_as_zero() {
        for reserved in [None, Some(0), Some(5)] {
            let provisioned = BTreeMap::from([("live".to_owned(), 5)]);
            let prior = Prior { function: "f".to_owned(), reserved, provisioned };
            let json = serde_json::to_value(&prior).unwrap();
            assert_eq!(serde_json::from_value::<Prior>(json).unwrap(), prior);
        }
        assert_ne!(describe(None), describe(Some(0)));
    }
}
