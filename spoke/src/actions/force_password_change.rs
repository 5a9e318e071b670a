//! Has an IAM user set a new password at its next sign-in. Undo takes the
//! demand back, if it was not made before and nobody has met it since.
//!
//! It ends no session, and the old password still signs in once, to be changed:
//! it protects an account whose password has leaked without being used yet (IAM
//! API reference, UpdateLoginProfile, `PasswordResetRequired`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::login_profile::{self, Password, get};
use super::principals::{self, Subject};
use super::{About, Action, Change, Observation, Phase, Reversal, Scope, Undone, Verdict};
use firebreak_client::pace::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, Kind};

pub(super) struct ForcePasswordChange;

/// It takes none.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Prior {
    subject: Subject,
    password: Password,
}

impl Action for ForcePasswordChange {
    const ABOUT: About = About {
        name: "force-password-change",
        sentence: "Has the IAM user set a new password at its next sign-in to the console.",
        resource_types: &["AccessKey", "User"],
        reads: &["iam:GetLoginProfile", "iam:GetUser"],
        writes: &["iam:UpdateLoginProfile"],
        reversal: Reversal::Restored,
        phase: Phase::Protect,
    };
    type Parameters = Parameters;
    type Prior = Prior;

    async fn observe(scope: Scope<'_>, _: &Parameters) -> Result<Observation<Prior>, ActionError> {
        let user = principals::user(&scope.resource.kind)?;
        let (subject, _) = principals::find(scope, user).await?;
        let described = subject.holder.describe();
        let password = get(scope, login_profile::user(&subject)?).await?.ok_or_else(|| {
            ActionError::new(
                Kind::NotApplicable,
                format!("{described} has no password for the console"),
            )
        })?;
        let change = Change {
            what: format!("password of {described}"),
            before: "valid".to_owned(),
            after: "to be changed at the next sign-in".to_owned(),
        };
        let changes = match password {
            Password::Valid => vec![change],
            Password::ToBeChanged => Vec::new(),
        };
        Ok(Observation { prior: Prior { subject, password }, changes })
    }

    async fn apply(scope: Scope<'_>, _: &Parameters, prior: &Prior) -> Result<(), ActionError> {
        principals::same(scope, &prior.subject).await?;
        set(scope, &prior.subject, Password::ToBeChanged).await
    }

    async fn verify(
        scope: Scope<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Verdict, ActionError> {
        let described = prior.subject.holder.describe();
        Ok(match get(scope, login_profile::user(&prior.subject)?).await? {
            Some(Password::ToBeChanged) => {
                Verdict::Holds(format!("the password of {described} has to be changed"))
            }
            None => Verdict::Holds(format!("{described} has no password any more")),
            Some(Password::Valid) => {
                Verdict::Broken(format!("the password of {described} need not be changed"))
            }
        })
    }

    async fn undo(scope: Scope<'_>, _: &Parameters, prior: &Prior) -> Result<Undone, ActionError> {
        let mut undone = Undone::default();
        match principals::same(scope, &prior.subject).await {
            Err(error) if error.kind == Kind::Gone => {
                undone.drift.push(error.message);
                return Ok(undone);
            }
            present => present?,
        };
        let described = prior.subject.holder.describe();
        match (get(scope, login_profile::user(&prior.subject)?).await?, prior.password) {
            (None, _) => {
                undone.drift.push(format!("the password of {described} was deleted since"));
            }
            (Some(Password::ToBeChanged), Password::Valid) => {
                set(scope, &prior.subject, Password::Valid).await?;
                undone.restored.push(format!("the password of {described} need not be changed"));
            }
            (Some(Password::Valid), Password::ToBeChanged) => {
                undone.drift.push(format!("the password of {described} was changed since"));
            }
            (Some(Password::Valid), Password::Valid)
            | (Some(Password::ToBeChanged), Password::ToBeChanged) => {}
        }
        Ok(undone)
    }
}

async fn set(scope: Scope<'_>, subject: &Subject, password: Password) -> Result<(), ActionError> {
    let iam = scope.account.iam(Class::IamWrite).await;
    let call = iam
        .update_login_profile()
        .user_name(login_profile::user(subject)?)
        .password_reset_required(password == Password::ToBeChanged);
    let result = call.send().await.map(|_| ());
    result.map_err(|error| from_sdk("iam:UpdateLoginProfile", &error))
}
