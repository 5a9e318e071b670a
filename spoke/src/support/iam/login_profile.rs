//! A user's password for the console, for the actions that change it.

use serde::{Deserialize, Serialize};

use crate::contract::ActionContext;
use crate::support::iam::principals::{Holder, Subject};
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

/// Whether the next sign-in with a password requires a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Password {
    /// It does not.
    Valid,
    /// It does.
    ToBeChanged,
}

/// The name of the user that a record is about.
pub(crate) fn user(subject: &Subject) -> Result<&str, ActionError> {
    match &subject.holder {
        Holder::User(name) => Ok(name),
        Holder::Role(name) => Err(ActionError::new(
            ErrorKind::NotApplicable,
            format!("the role `{name}` has no password"),
        )),
    }
}

/// The user's password; `None` if it has none. IAM returns the same error for a missing
/// user.
pub(crate) async fn get(
    context: ActionContext<'_>,
    user: &str,
) -> Result<Option<Password>, ActionError> {
    let iam = context.account.iam(Class::IamRead).await;
    let output = iam.get_login_profile().user_name(user).send().await;
    match output.map_err(|error| from_sdk("iam:GetLoginProfile", &error)) {
        Ok(output) => Ok(output.login_profile.map(|profile| {
            if profile.password_reset_required { Password::ToBeChanged } else { Password::Valid }
        })),
        Err(error) if error.kind == ErrorKind::Gone => Ok(None),
        Err(error) => Err(error),
    }
}
