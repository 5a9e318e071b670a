//! Sets the authentication of a public Lambda function URL to IAM. Undo makes the URL public
//! again whenever it was public before and requires IAM now, even if another caller set IAM
//! meanwhile: Firebreak cannot tell.
//!
//! With `AuthType` `NONE` nobody has to sign a request; with `AWS_IAM` Lambda rejects
//! an unsigned request with 403 (Lambda developer guide, "Control access to Lambda
//! function URLs"). The address of the URL stays the same. URLs of aliases are not
//! changed: `freeze-function` stops requests to them too.

use aws_sdk_lambda::types::FunctionUrlAuthType;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Reversal,
    Undone, Verification,
};
use crate::grant::{Grant, GrantScope};
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::ResourceKind;

pub(crate) struct CloseFunctionUrl;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    function: String,
    /// Whether its URL could be called without a signature.
    open: bool,
}

const CLOSE_FUNCTION_URLS: GrantScope = GrantScope {
    sid: "CloseFunctionUrls",
    why: "Whether a function's URL asks for IAM's authentication.",
    resources: &["arn:${AWS::Partition}:lambda:*:${AWS::AccountId}:function:*"],
    conditions: &[],
    within: None,
};

impl Action for CloseFunctionUrl {
    const SPEC: ActionSpec = ActionSpec {
        name: "close-function-url",
        sentence: "Requires IAM authentication at the function's URL, so that it is not public.",
        resource_types: &["Lambda"],
        reads: &["lambda:GetFunctionConcurrency", "lambda:GetFunctionUrlConfig"],
        writes: &["lambda:UpdateFunctionUrlConfig"],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[CLOSE_FUNCTION_URLS.allows(Self::SPEC.writes)];
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let ResourceKind::Function { name } = &context.resource.kind else {
            let why = "the target is not a Lambda function";
            return Err(ActionError::new(ErrorKind::NotApplicable, why));
        };
        let Some(open) = is_open(context, name).await? else {
            assert_function_exists(context, name).await?;
            let why = format!("function `{name}` has no URL");
            return Err(ActionError::new(ErrorKind::NotApplicable, why));
        };
        let change = Change {
            what: format!("authentication at the URL of function {name}"),
            before: "NONE".to_owned(),
            after: "AWS_IAM".to_owned(),
        };
        let changes = if open { vec![change] } else { Vec::new() };
        Ok(CapturedState { prior: Prior { function: name.clone(), open }, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        set_auth_type(context, &prior.function, FunctionUrlAuthType::AwsIam).await
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let name = &prior.function;
        Ok(match is_open(context, name).await? {
            Some(true) => Verification::NotInEffect(format!(
                "the URL of function `{name}` can be called without a signature"
            )),
            Some(false) => Verification::InEffect(format!(
                "the URL of function `{name}` requires IAM authentication; URLs of its aliases were not checked"
            )),
            None => Verification::InEffect(format!("function `{name}` has no URL any more")),
        })
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let Prior { function, open } = prior;
        let mut undone = Undone::default();
        match (is_open(context, function).await?, *open) {
            (Some(false), true) => {
                set_auth_type(context, function, FunctionUrlAuthType::None).await?;
                let restored = format!("the URL of function `{function}` is public again");
                undone.restored.push(restored);
            }
            (Some(true), false) => {
                undone
                    .drift
                    .push(format!("the URL of function `{function}` was made public since"));
            }
            (Some(true), true) | (Some(false), false) => {}
            (None, _) => {
                undone.drift.push(format!("the URL of function `{function}` was deleted since"));
            }
        }
        Ok(undone)
    }
}

/// Whether the function's URL can be called without a signature; `None` if there is no
/// URL or no function: Lambda returns the same error for both.
async fn is_open(context: ActionContext<'_>, name: &str) -> Result<Option<bool>, ActionError> {
    let lambda = context.account.lambda().await;
    let output = lambda.get_function_url_config().function_name(name).send().await;
    match output.map_err(|error| from_sdk("lambda:GetFunctionUrlConfig", &error)) {
        Ok(output) => Ok(Some(output.auth_type == FunctionUrlAuthType::None)),
        Err(error) if error.kind == ErrorKind::Gone => Ok(None),
        Err(error) => Err(error),
    }
}

/// `Gone` if there is no function.
async fn assert_function_exists(context: ActionContext<'_>, name: &str) -> Result<(), ActionError> {
    let lambda = context.account.lambda().await;
    let output = lambda.get_function_concurrency().function_name(name).send().await;
    output.map(|_| ()).map_err(|error| from_sdk("lambda:GetFunctionConcurrency", &error))
}

async fn set_auth_type(
    context: ActionContext<'_>,
    name: &str,
    auth_type: FunctionUrlAuthType,
) -> Result<(), ActionError> {
    let lambda = context.account.lambda().await;
    let call = lambda.update_function_url_config().function_name(name).auth_type(auth_type);
    let result = call.send().await.map(|_| ());
    result.map_err(|error| from_sdk("lambda:UpdateFunctionUrlConfig", &error))
}
