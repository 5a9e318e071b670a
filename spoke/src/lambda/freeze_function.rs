//! Keeps a Lambda function from being invoked: its reserved concurrency becomes 0,
//! which throttles every version and alias of it (Lambda developer guide,
//! "Configuring reserved concurrency": "to throttle a function, set the reserved
//! concurrency to zero"). Undo restores the value, or its absence, unless
//! others changed it since.
//!
//! Running invocations continue until they end or time out. Asynchronous events and
//! messages wait or are dropped, as the function's retry settings say.

use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Reversal,
    Undone, Verification,
};
use crate::grant::{Grant, GrantScope};
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::ResourceKind;

pub(crate) struct FreezeFunction;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    function: String,
    /// `None` when nothing was reserved, which undo restores as such.
    reserved: Option<i32>,
}

const FREEZE_FUNCTIONS: GrantScope = GrantScope {
    sid: "FreezeFunctions",
    why: "Their reserved concurrency.",
    resources: &["arn:${AWS::Partition}:lambda:*:${AWS::AccountId}:function:*"],
    conditions: &[],
    within: None,
};

impl Action for FreezeFunction {
    const SPEC: ActionSpec = ActionSpec {
        name: "freeze-function",
        sentence: "Sets reserved concurrency to 0, so that no new invocation starts.",
        resource_types: &["Lambda"],
        reads: &["lambda:GetFunctionConcurrency"],
        writes: &["lambda:DeleteFunctionConcurrency", "lambda:PutFunctionConcurrency"],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[FREEZE_FUNCTIONS
        .allows(&["lambda:DeleteFunctionConcurrency", "lambda:PutFunctionConcurrency"])];
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
        let reserved = get(context, name).await?;
        let change = Change {
            what: format!("reserved concurrency of function {name}"),
            before: describe(reserved),
            after: describe(FROZEN),
        };
        let changes = if reserved == FROZEN { Vec::new() } else { vec![change] };
        Ok(CapturedState { prior: Prior { function: name.clone(), reserved }, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        put(context, &prior.function, 0).await
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

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let Prior { function, reserved: before } = prior;
        let mut undone = Undone::default();
        match (get(context, function).await, *before) {
            (Err(error), _) if error.kind == ErrorKind::Gone => {
                undone.drift.push(format!("function `{function}` was deleted since"));
                return Ok(undone);
            }
            (Err(error), _) => return Err(error),
            (Ok(present), before) if present == before => return Ok(undone),
            (Ok(FROZEN), Some(before)) => put(context, function, before).await?,
            (Ok(FROZEN), None) => delete(context, function).await?,
            (Ok(present), _) => {
                undone.drift.push(format!(
                    "the reserved concurrency of function `{function}` was changed to {} since",
                    describe(present)
                ));
                return Ok(undone);
            }
        }
        let before = describe(*before);
        undone
            .restored
            .push(format!("the reserved concurrency of function `{function}` is {before} again"));
        Ok(undone)
    }
}

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
        let help = error.has_code("InvalidParameterValueException").then(|| {
            format!(
                "see whether `{name}` has provisioned concurrency, which has to be deleted first, and whether the account has {reserved} of its concurrency left to reserve"
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
            let prior = Prior { function: "f".to_owned(), reserved };
            let json = serde_json::to_value(&prior).unwrap();
            assert_eq!(serde_json::from_value::<Prior>(json).unwrap(), prior);
        }
        assert_ne!(describe(None), describe(Some(0)));
    }
}
