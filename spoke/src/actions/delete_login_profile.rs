//! Deletes an IAM user's password, so that nobody signs in to the console with
//! it. It cannot be undone: AWS gives no password back, so the user needs a new
//! one (IAM API reference, DeleteLoginProfile). Sessions and access keys of the
//! user live on. `disable-console-access` is the way that can be undone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::login_profile::{self, get};
use super::principals::{self, Subject};
use super::{About, Action, Change, Observation, Phase, Reversal, Scope, Undone, Verdict};
use firebreak_client::pace::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, Kind};

pub(super) struct DeleteLoginProfile;

/// It takes none.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Prior {
    subject: Subject,
    had_password: bool,
}

impl Action for DeleteLoginProfile {
    const ABOUT: About = About {
        name: "delete-login-profile",
        sentence: "Deletes the IAM user's password for the console, for good.",
        resource_types: &["AccessKey", "User"],
        reads: &["iam:GetLoginProfile", "iam:GetUser"],
        writes: &["iam:DeleteLoginProfile"],
        reversal: Reversal::Impossible,
        phase: Phase::Contain,
    };
    type Parameters = Parameters;
    type Prior = Prior;

    async fn observe(scope: Scope<'_>, _: &Parameters) -> Result<Observation<Prior>, ActionError> {
        let user = principals::user(&scope.resource.kind)?;
        let (subject, _) = principals::find(scope, user).await?;
        let password = get(scope, login_profile::user(&subject)?).await?;
        let change = Change {
            what: format!("password of {}", subject.holder.describe()),
            before: "set".to_owned(),
            after: "deleted for good".to_owned(),
        };
        let changes = password.map(|_| change).into_iter().collect();
        Ok(Observation { prior: Prior { subject, had_password: password.is_some() }, changes })
    }

    async fn apply(scope: Scope<'_>, _: &Parameters, prior: &Prior) -> Result<(), ActionError> {
        principals::same(scope, &prior.subject).await?;
        let iam = scope.account.iam(Class::IamWrite).await;
        let call = iam.delete_login_profile().user_name(login_profile::user(&prior.subject)?);
        let result = call.send().await.map(|_| ());
        match result.map_err(|error| from_sdk("iam:DeleteLoginProfile", &error)) {
            // The user is there, so it is the password that is gone already.
            Err(error) if error.kind == Kind::Gone => Ok(()),
            result => result,
        }
    }

    async fn verify(
        scope: Scope<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Verdict, ActionError> {
        let described = prior.subject.holder.describe();
        Ok(match get(scope, login_profile::user(&prior.subject)?).await? {
            None => Verdict::Holds(format!("{described} has no password for the console")),
            Some(_) => Verdict::Broken(format!("{described} has a password for the console")),
        })
    }

    async fn undo(scope: Scope<'_>, _: &Parameters, prior: &Prior) -> Result<Undone, ActionError> {
        let mut undone = Undone::default();
        let described = prior.subject.holder.describe();
        let present = get(scope, login_profile::user(&prior.subject)?).await?;
        if prior.had_password && present.is_none() {
            undone.drift.push(format!(
                "the password of {described} is deleted and cannot be given back: set a new one"
            ));
        }
        Ok(undone)
    }
}
