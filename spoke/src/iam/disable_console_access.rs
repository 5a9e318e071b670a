//! Disables an IAM user's console access without changing its password: an inline
//! policy denies everything to temporary credentials. Undo deletes the policy.
//!
//! IAM has no condition key for the console. Its requests are recognized because a user
//! in the console uses temporary credentials without noticing (IAM user guide,
//! "AWS global condition context keys", `aws:MultiFactorAuthPresent`), which
//! carry `aws:TokenIssueTime`, while the user's access keys do not. So the deny
//! ends what the user does in the console and in sessions that it asked STS
//! for, now and later, and not what its access keys do. Signing in still succeeds;
//! everything after it is denied. `delete-login-profile` prevents signing in,
//! and cannot be undone.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Reversal,
    Undone, Verification,
};
use crate::grant::Grant;
use crate::support::iam::deny_policy;
use crate::support::iam::grants::CHANGE_USERS;
use crate::support::iam::inline_policy;
use crate::support::iam::login_profile;
use crate::support::iam::principals::{self, Subject};
use firebreak_model::error::ActionError;

pub(crate) struct DisableConsoleAccess;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    subject: Subject,
}

fn policy_name(response: &str) -> String {
    format!("FirebreakDisableConsoleAccess-{response}")
}

fn document() -> Value {
    let temporary = json!({ "Null": { "aws:TokenIssueTime": "false" } });
    deny_policy::document("FirebreakDisableConsoleAccess", Some(temporary))
}

impl Action for DisableConsoleAccess {
    const SPEC: ActionSpec = ActionSpec {
        name: "disable-console-access",
        sentence: "Denies all permissions to the IAM user in the console and in other temporary sessions, not with its access keys.",
        resource_types: &["AccessKey", "User"],
        reads: &["iam:GetLoginProfile", "iam:GetUser", "iam:GetUserPolicy"],
        writes: &["iam:DeleteUserPolicy", "iam:PutUserPolicy"],
        reversal: Reversal::Restored,
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
        let password = login_profile::get(context, login_profile::user(&subject)?).await?;
        let change = Change {
            what: format!("console access of {}", subject.holder.describe()),
            before: match password {
                Some(_) => "by password".to_owned(),
                None => "no password; temporary sessions may exist".to_owned(),
            },
            after: "none: all temporary sessions of the user are denied everything, its access keys are not".to_owned(),
        };
        Ok(CapturedState { prior: Prior { subject }, changes: vec![change] })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        principals::find_same(context, &prior.subject).await?;
        let name = policy_name(context.response);
        let result = inline_policy::put(context, &prior.subject.holder, &name, &document()).await;
        result.map_err(|error| {
            if error.has_code("LimitExceeded") {
                let help = "use deny-all, which attaches AWSDenyAll where the inline policies are full, or remove an inline policy that is not needed".to_owned();
                ActionError { help: Some(help), ..error }
            } else {
                error
            }
        })
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let described = prior.subject.holder.describe();
        let name = policy_name(context.response);
        let present = inline_policy::get(context, &prior.subject.holder, &name).await?;
        Ok(if present == Some(document()) {
            Verification::InEffect(format!(
                "the console and other temporary sessions of {described} are denied everything"
            ))
        } else {
            Verification::NotInEffect(format!("the deny policy is not on {described}"))
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
        let (holder, name) = (&prior.subject.holder, policy_name(context.response));
        let described = holder.describe();
        match inline_policy::get(context, holder, &name).await? {
            Some(present) if present == document() => {
                let deleted = inline_policy::delete(context, holder, &name).await?;
                let restored = format!("the inline policy {name} of {described} is removed");
                undone.restored.extend(deleted.then_some(restored));
            }
            Some(_) => undone
                .drift
                .push(format!("the inline policy `{name}` of {described} was changed since")),
            None => {}
        }
        Ok(undone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deny_requires_temporary_credentials() {
        assert_eq!(
            document().pointer("/Statement/0/Condition"),
            Some(&json!({ "Null": { "aws:TokenIssueTime": "false" } }))
        );
        assert_ne!(policy_name("r-1"), policy_name("r-2"));
    }
}
