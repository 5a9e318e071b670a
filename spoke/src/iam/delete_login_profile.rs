//! Deletes an IAM user's password, so that nobody signs in to the console with
//! it. This cannot be undone: AWS does not return a password, so the user needs a new
//! one (IAM API reference, DeleteLoginProfile). Sessions and access keys of the user
//! stay valid. `disable-console-access` can be undone.

use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Reversal,
    Undone, Verification,
};
use crate::grant::Grant;
use crate::support::iam::grants::CHANGE_USERS;
use crate::support::iam::login_profile::{self, get};
use crate::support::iam::principals::{self, Subject};
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct DeleteLoginProfile;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    subject: Subject,
    had_password: bool,
}

impl Action for DeleteLoginProfile {
    const SPEC: ActionSpec = ActionSpec {
        name: "delete-login-profile",
        sentence: "Deletes the IAM user's console password; this cannot be undone.",
        resource_types: &["AccessKey", "User"],
        reads: &["iam:GetLoginProfile", "iam:GetUser"],
        writes: &["iam:DeleteLoginProfile"],
        reversal: Reversal::Impossible,
        phase: Phase::Contain,
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
        let password = get(context, login_profile::user(&subject)?).await?;
        let change = Change {
            what: format!("password of {}", subject.holder.describe()),
            before: "set".to_owned(),
            after: "deleted; this cannot be undone".to_owned(),
        };
        let changes = password.map(|_| change).into_iter().collect();
        Ok(CapturedState { prior: Prior { subject, had_password: password.is_some() }, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        principals::find_same(context, &prior.subject).await?;
        let iam = context.account.iam(Class::IamWrite).await;
        let call = iam.delete_login_profile().user_name(login_profile::user(&prior.subject)?);
        let result = call.send().await.map(|_| ());
        match result.map_err(|error| from_sdk("iam:DeleteLoginProfile", &error)) {
            // The user exists, so the password is gone already.
            Err(error) if error.kind == ErrorKind::Gone => Ok(()),
            result => result,
        }
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let described = prior.subject.holder.describe();
        Ok(match get(context, login_profile::user(&prior.subject)?).await? {
            None => Verification::InEffect(format!("{described} has no password for the console")),
            Some(_) => {
                Verification::NotInEffect(format!("{described} has a password for the console"))
            }
        })
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let mut undone = Undone::default();
        let described = prior.subject.holder.describe();
        let present = get(context, login_profile::user(&prior.subject)?).await?;
        if prior.had_password && present.is_none() {
            undone.drift.push(format!(
                "the password of {described} was deleted and cannot be restored: set a new one"
            ));
        }
        Ok(undone)
    }
}
