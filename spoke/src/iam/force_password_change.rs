//! Requires an IAM user to set a new password at the next sign-in. Undo removes the
//! requirement, if it is new and the user has not met it since.
//!
//! It ends no session, and the old password still signs in once, to be changed. It
//! protects a user whose password has leaked and has not been used yet (IAM API
//! reference, UpdateLoginProfile, `PasswordResetRequired`).

use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Reversal,
    Undone, Verification,
};
use crate::grant::Grant;
use crate::support::iam::grants::CHANGE_USERS;
use crate::support::iam::login_profile::{self, Password, get};
use crate::support::iam::principals::{self, Subject};
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct ForcePasswordChange;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    subject: Subject,
    password: Password,
}

impl Action for ForcePasswordChange {
    const SPEC: ActionSpec = ActionSpec {
        name: "force-password-change",
        sentence: "Requires the IAM user to set a new password at the next console sign-in.",
        resource_types: &["AccessKey", "User"],
        reads: &["iam:GetLoginProfile", "iam:GetUser"],
        writes: &["iam:UpdateLoginProfile"],
        reversal: Reversal::Restored,
        phase: Phase::Protect,
    };
    const GRANTS: &'static [Grant] = &[CHANGE_USERS.allows(Self::SPEC.writes)];
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let user = principals::user(context.resource)?;
        let (subject, _) = principals::find(context, user).await?;
        let described = subject.holder.describe();
        let password = get(context, login_profile::user(&subject)?).await?.ok_or_else(|| {
            ActionError::new(
                ErrorKind::NotApplicable,
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
        Ok(CapturedState { prior: Prior { subject, password }, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        principals::find_same(context, &prior.subject).await?;
        set(context, &prior.subject, Password::ToBeChanged).await
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let described = prior.subject.holder.describe();
        Ok(match get(context, login_profile::user(&prior.subject)?).await? {
            Some(Password::ToBeChanged) => {
                Verification::InEffect(format!("the password of {described} has to be changed"))
            }
            None => Verification::InEffect(format!("{described} has no password any more")),
            Some(Password::Valid) => Verification::NotInEffect(format!(
                "the password of {described} need not be changed"
            )),
        })
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        if let Some(undone) = principals::undo_if_gone(context, &prior.subject).await? {
            return Ok(undone);
        }
        let mut undone = Undone::default();
        let described = prior.subject.holder.describe();
        match (get(context, login_profile::user(&prior.subject)?).await?, prior.password) {
            (None, _) => {
                undone.drift.push(format!("the password of {described} was deleted since"));
            }
            (Some(Password::ToBeChanged), Password::Valid) => {
                set(context, &prior.subject, Password::Valid).await?;
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

async fn set(
    context: ActionContext<'_>,
    subject: &Subject,
    password: Password,
) -> Result<(), ActionError> {
    let iam = context.account.iam(Class::IamWrite).await;
    let call = iam
        .update_login_profile()
        .user_name(login_profile::user(subject)?)
        .password_reset_required(password == Password::ToBeChanged);
    let result = call.send().await.map(|_| ());
    result.map_err(|error| from_sdk("iam:UpdateLoginProfile", &error))
}
