//! Ends the present sessions of a user or role by an inline deny. Undo deletes the
//! deny.
//!
//! It ends every session of the role that began before now plus 30 seconds, also those
//! of other users of the role: they have to sign in again. `only-this-session` ends
//! only the session that the finding names. If the inline policies are full, the
//! managed `AWSDenyAll` is attached instead: it denies new sessions and long-term keys
//! as well, and the verification says so.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Residual, Reversal, Undone,
    Verification,
};
use crate::grant::Grant;
use crate::support::eks::known_principals;
use crate::support::iam::deny_policy::{self, Attached};
use crate::support::iam::deny_sessions::{self, Force, Which};
use crate::support::iam::principals::{self, Holder, Subject, holder};
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct RevokeSessions;

/// Which sessions end.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Parameters {
    /// End only the session that the finding names, by its `aws:userid`.
    only_this_session: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Prior {
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
        reads: deny_policy::READS,
        writes: deny_policy::WRITES,
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = deny_policy::GRANTS;
    type Parameters = Parameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        parameters: &Parameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let (holder, id) = holder(context.resource)?;
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
        // Every plan says so: only IAM knows whether the deny fits, and only when it is
        // put.
        let full = "if its inline policies are full, AWSDenyAll is attached instead, which denies new sessions and long-term keys too";
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
        // Apply ran after capture, so its cut-off is no earlier.
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

    async fn residual(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Vec<Residual>, ActionError> {
        known_principals::residual(context, &prior.holder).await
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        deny_sessions::take_off(context, &prior.holder, prior.managed).await
    }
}
