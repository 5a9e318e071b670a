//! Ends the sessions of a user or role, as of now, by an inline deny. Undo takes
//! the deny off again.
//!
//! It hits every session of the role that began before now plus 30 seconds, of
//! whoever uses the role: they sign in again. `only-this-session` hits just the
//! session that the finding names. Where the inline policies are full, the
//! managed `AWSDenyAll` is attached instead: it denies new sessions and
//! long-term keys as well, and reading back says so.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::deny_policy::Attached;
use super::deny_sessions::{self, Force, Which};
use super::principals::{self, Holder, Subject, holder};
use super::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Reversal, Undone, Verification,
};
use firebreak_model::error::{ActionError, ErrorKind};

pub(super) struct RevokeSessions;

/// Which sessions end.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Parameters {
    /// End only the session that the finding names, by its `aws:userid`.
    only_this_session: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Prior {
    holder: Holder,
    /// The session's `aws:userid`, when only this session ends.
    user_id: Option<String>,
    observed: Timestamp,
    #[serde(default)]
    managed: Attached,
}

impl Prior {
    fn which(&self, now: Timestamp) -> Which<'_> {
        match &self.user_id {
            Some(id) => Which::UserId(id),
            None => Which::Before(deny_sessions::cutoff(now)),
        }
    }
}

impl Action for RevokeSessions {
    const SPEC: ActionSpec = ActionSpec {
        name: "revoke-sessions",
        sentence: "Ends the sessions of the user or role, as of now, by an inline deny policy or AWSDenyAll where that does not fit.",
        resource_types: &["AccessKey", "User", "Role"],
        reads: &[
            "iam:GetRole",
            "iam:GetRolePolicy",
            "iam:GetUser",
            "iam:GetUserPolicy",
            "iam:ListAttachedRolePolicies",
            "iam:ListAttachedUserPolicies",
        ],
        writes: &[
            "iam:AttachRolePolicy",
            "iam:AttachUserPolicy",
            "iam:DeleteRolePolicy",
            "iam:DeleteUserPolicy",
            "iam:DetachRolePolicy",
            "iam:DetachUserPolicy",
            "iam:PutRolePolicy",
            "iam:PutUserPolicy",
        ],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    type Parameters = Parameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        parameters: &Parameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let (holder, id) = holder(&context.resource.kind)?;
        let user_id = if parameters.only_this_session {
            Some(id.clone().filter(|id| id.contains(':')).ok_or_else(|| {
                ActionError::new(
                    ErrorKind::NotApplicable,
                    "the finding names no session: revoke all sessions instead",
                )
            })?)
        } else {
            None
        };
        let (Subject { holder, .. }, _) = principals::find(context, (holder, id)).await?;
        let managed = Attached::now(context, &holder).await?;
        // Said in every plan: whether the deny fits is IAM's word when it is put.
        let full = "where its inline policies are full, AWSDenyAll stands in, which denies new sessions and long-term keys too";
        let change = Change {
            what: format!("sessions of {}", holder.describe()),
            before: "valid".to_owned(),
            after: match &user_id {
                Some(id) => format!("{id} is denied everything; {full}"),
                None => format!("all that began before now are denied everything; {full}"),
            },
        };
        let prior = Prior { holder, user_id, observed: context.now, managed };
        Ok(CapturedState { prior, changes: vec![change] })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        deny_sessions::put(context, &prior.holder, &prior.which(context.now), prior.managed).await
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let described = prior.holder.describe();
        // Apply came after observe, so its moment is no earlier.
        let which = prior.which(prior.observed);
        Ok(match deny_sessions::force(context, &prior.holder, &which).await? {
            Force::Sessions => {
                Verification::InEffect(format!("the sessions of {described} are denied everything"))
            }
            Force::Everything => Verification::InEffect(format!(
                "AWSDenyAll is attached to {described}: not only its sessions are denied everything, but new ones and long-term keys too"
            )),
            Force::Nothing => {
                Verification::NotInEffect(format!("the deny policy is not on {described}"))
            }
        })
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        deny_sessions::take_off(context, &prior.holder, prior.managed).await
    }
}
