//! Looks up, attaches and detaches managed policies of users and roles.

use crate::contract::ActionContext;
use crate::support::iam::principals::Holder;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

/// The ARN that names a policy: itself, or one of AWS's own by its name.
pub(crate) fn arn(context: ActionContext<'_>, named: &str) -> String {
    if named.starts_with("arn:") {
        return named.to_owned();
    }
    format!("arn:{}:iam::aws:policy/{named}", context.account.partition)
}

/// The managed policy of AWS that denies everything.
pub(crate) fn deny_all(context: ActionContext<'_>) -> String {
    arn(context, "AWSDenyAll")
}

/// Asserts that a policy exists, so that a plan with a wrong name fails before
/// anything is changed, and is not taken for a missing user or role.
pub(crate) async fn assert_exists(
    context: ActionContext<'_>,
    arn: &str,
) -> Result<(), ActionError> {
    let iam = context.account.iam(Class::IamRead).await;
    match iam.get_policy().policy_arn(arn).send().await {
        Ok(_) => Ok(()),
        Err(error) => {
            let error = from_sdk("iam:GetPolicy", &error);
            if error.kind != ErrorKind::Gone {
                return Err(error);
            }
            let message = format!("the managed policy `{arn}` does not exist: {}", error.message);
            let help = "name a policy of AWS, or one that is in every account, by its ARN there";
            Err(ActionError {
                kind: ErrorKind::Failed,
                message,
                help: Some(help.to_owned()),
                ..error
            })
        }
    }
}

/// Whether a policy is attached.
pub(crate) async fn is_attached(
    context: ActionContext<'_>,
    holder: &Holder,
    arn: &str,
) -> Result<bool, ActionError> {
    let mut marker: Option<String> = None;
    loop {
        let iam = context.account.iam(Class::IamRead).await;
        let (policies, truncated, next) = match holder {
            Holder::User(user) => {
                let call = iam.list_attached_user_policies().user_name(user).set_marker(marker);
                let page = call
                    .send()
                    .await
                    .map_err(|error| from_sdk("iam:ListAttachedUserPolicies", &error))?;
                (page.attached_policies.unwrap_or_default(), page.is_truncated, page.marker)
            }
            Holder::Role(role) => {
                let call = iam.list_attached_role_policies().role_name(role).set_marker(marker);
                let page = call
                    .send()
                    .await
                    .map_err(|error| from_sdk("iam:ListAttachedRolePolicies", &error))?;
                (page.attached_policies.unwrap_or_default(), page.is_truncated, page.marker)
            }
        };
        if policies.iter().any(|policy| policy.policy_arn() == Some(arn)) {
            return Ok(true);
        }
        marker = next;
        if !truncated || marker.is_none() {
            return Ok(false);
        }
    }
}

/// Attaches a policy; one that is attached already is no error.
pub(crate) async fn attach(
    context: ActionContext<'_>,
    holder: &Holder,
    arn: &str,
) -> Result<(), ActionError> {
    let iam = context.account.iam(Class::IamWrite).await;
    let result = match holder {
        Holder::User(user) => {
            let call = iam.attach_user_policy().user_name(user).policy_arn(arn);
            let result = call.send().await.map(|_| ());
            result.map_err(|error| from_sdk("iam:AttachUserPolicy", &error))
        }
        Holder::Role(role) => {
            let call = iam.attach_role_policy().role_name(role).policy_arn(arn);
            let result = call.send().await.map(|_| ());
            result.map_err(|error| from_sdk("iam:AttachRolePolicy", &error))
        }
    };
    result.map_err(|error| {
        if error.has_code("LimitExceeded") {
            let help = "detach a managed policy that is not needed, or have the quota raised: IAM allows 10 on a user or role unless it was raised".to_owned();
            ActionError { help: Some(help), ..error }
        } else {
            error
        }
    })
}

/// Detaches a policy; one that is not attached is no error.
pub(crate) async fn detach(
    context: ActionContext<'_>,
    holder: &Holder,
    arn: &str,
) -> Result<(), ActionError> {
    let iam = context.account.iam(Class::IamWrite).await;
    let result = match holder {
        Holder::User(user) => {
            let call = iam.detach_user_policy().user_name(user).policy_arn(arn);
            let result = call.send().await.map(|_| ());
            result.map_err(|error| from_sdk("iam:DetachUserPolicy", &error))
        }
        Holder::Role(role) => {
            let call = iam.detach_role_policy().role_name(role).policy_arn(arn);
            let result = call.send().await.map(|_| ());
            result.map_err(|error| from_sdk("iam:DetachRolePolicy", &error))
        }
    };
    match result {
        Err(error) if error.kind == ErrorKind::Gone => Ok(()),
        result => result,
    }
}
