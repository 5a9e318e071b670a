//! Stops a Lambda function from being invoked: its reserved concurrency becomes
//! 0, which throttles every version and alias of it (Lambda developer guide,
//! "Configuring reserved concurrency": "to throttle a function, set the reserved
//! concurrency to zero"). Undo restores the value, or its absence, unless
//! somebody changed it since.
//!
//! Invocations that run already go on until they end or time out. Asynchronous
//! events and messages wait or are dropped as the function's own retry settings
//! say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{About, Action, Change, Observation, Phase, Reversal, Scope, Undone, Verdict};
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, Kind};
use firebreak_model::resource::ResourceKind;

pub(super) struct FreezeFunction;

/// It takes none.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Prior {
    function: String,
    /// `None` when nothing was reserved, which undo restores as such.
    reserved: Option<i32>,
}

impl Action for FreezeFunction {
    const ABOUT: About = About {
        name: "freeze-function",
        sentence: "Reserves no concurrency for the function, so that nothing can invoke it.",
        resource_types: &["Lambda"],
        reads: &["lambda:GetFunctionConcurrency"],
        writes: &["lambda:DeleteFunctionConcurrency", "lambda:PutFunctionConcurrency"],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    type Parameters = Parameters;
    type Prior = Prior;

    async fn observe(scope: Scope<'_>, _: &Parameters) -> Result<Observation<Prior>, ActionError> {
        let ResourceKind::Function { name } = &scope.resource.kind else {
            return Err(ActionError::new(Kind::NotApplicable, "the target is no Lambda function"));
        };
        let reserved = get(scope, name).await?;
        let change = Change {
            what: format!("reserved concurrency of function {name}"),
            before: told(reserved),
            after: told(FROZEN),
        };
        let changes = if reserved == FROZEN { Vec::new() } else { vec![change] };
        Ok(Observation { prior: Prior { function: name.clone(), reserved }, changes })
    }

    async fn apply(scope: Scope<'_>, _: &Parameters, prior: &Prior) -> Result<(), ActionError> {
        put(scope, &prior.function, 0).await
    }

    async fn verify(
        scope: Scope<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Verdict, ActionError> {
        let name = &prior.function;
        Ok(match get(scope, name).await {
            Ok(FROZEN) => Verdict::Holds(format!("function `{name}` has no concurrency")),
            Ok(reserved) => Verdict::Broken(format!(
                "function `{name}` can be invoked: its reserved concurrency is {}",
                told(reserved)
            )),
            Err(error) if error.kind == Kind::Gone => {
                Verdict::Holds(format!("function `{name}` does not exist any more"))
            }
            Err(error) => return Err(error),
        })
    }

    async fn undo(scope: Scope<'_>, _: &Parameters, prior: &Prior) -> Result<Undone, ActionError> {
        let Prior { function, reserved: before } = prior;
        let mut undone = Undone::default();
        match (get(scope, function).await, *before) {
            (Err(error), _) if error.kind == Kind::Gone => {
                undone.drift.push(format!("function `{function}` was deleted since"));
                return Ok(undone);
            }
            (Err(error), _) => return Err(error),
            (Ok(present), before) if present == before => return Ok(undone),
            (Ok(FROZEN), Some(before)) => put(scope, function, before).await?,
            (Ok(FROZEN), None) => delete(scope, function).await?,
            (Ok(present), _) => {
                undone.drift.push(format!(
                    "the reserved concurrency of function `{function}` was changed to {} since",
                    told(present)
                ));
                return Ok(undone);
            }
        }
        let before = told(*before);
        undone
            .restored
            .push(format!("the reserved concurrency of function `{function}` is {before} again"));
        Ok(undone)
    }
}

/// What the action leaves.
const FROZEN: Option<i32> = Some(0);

fn told(reserved: Option<i32>) -> String {
    reserved.map_or_else(|| "none".to_owned(), |reserved| reserved.to_string())
}

async fn get(scope: Scope<'_>, name: &str) -> Result<Option<i32>, ActionError> {
    let lambda = scope.account.lambda().await;
    let answer = lambda.get_function_concurrency().function_name(name).send().await;
    answer
        .map(|answer| answer.reserved_concurrent_executions())
        .map_err(|error| from_sdk("lambda:GetFunctionConcurrency", &error))
}

async fn put(scope: Scope<'_>, name: &str, reserved: i32) -> Result<(), ActionError> {
    let lambda = scope.account.lambda().await;
    let call = lambda.put_function_concurrency().function_name(name);
    let result = call.reserved_concurrent_executions(reserved).send().await;
    result.map(|_| ()).map_err(|error| {
        let error = from_sdk("lambda:PutFunctionConcurrency", &error);
        // Lambda tells two reasons by one code: provisioned concurrency above
        // what is to be reserved, and too little left for all other functions.
        let help = error.has_code("InvalidParameterValueException").then(|| {
            format!(
                "see whether `{name}` has provisioned concurrency, which has to be deleted first, and whether the account has {reserved} of its concurrency left to reserve"
            )
        });
        ActionError { help: help.or_else(|| error.help.clone()), ..error }
    })
}

async fn delete(scope: Scope<'_>, name: &str) -> Result<(), ActionError> {
    let lambda = scope.account.lambda().await;
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
        assert_ne!(told(None), told(Some(0)));
    }
}
