//! What attaching and detaching a managed policy have in common.

use serde::{Deserialize, Serialize};

use super::principals::{self, Subject};
use super::{ActionContext, Undone, Verification, managed_policy};
use firebreak_model::error::{ActionError, ErrorKind};

/// Whether a policy is on a user or role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Presence {
    /// It is attached.
    Attached,
    /// It is not.
    Detached,
}

impl Presence {
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Detached => "not attached",
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Prior {
    pub(super) subject: Subject,
    /// The policy, as its name was read when the plan was made.
    pub(super) arn: String,
    pub(super) presence: Presence,
}

/// Reads the target and whether the policy is on it.
pub(super) async fn capture(context: ActionContext<'_>, named: &str) -> Result<Prior, ActionError> {
    let holder = principals::holder(&context.resource.kind)?;
    let (subject, _) = principals::find(context, holder).await?;
    let arn = managed_policy::arn(context, named);
    managed_policy::assert_exists(context, &arn).await?;
    let presence = presence(context, &subject, &arn).await?;
    Ok(Prior { subject, arn, presence })
}

async fn presence(
    context: ActionContext<'_>,
    subject: &Subject,
    arn: &str,
) -> Result<Presence, ActionError> {
    let attached = managed_policy::is_attached(context, &subject.holder, arn).await?;
    Ok(if attached { Presence::Attached } else { Presence::Detached })
}

/// Makes it so.
pub(super) async fn reach(
    context: ActionContext<'_>,
    prior: &Prior,
    wanted: Presence,
) -> Result<(), ActionError> {
    principals::same(context, &prior.subject).await?;
    set(context, prior, wanted).await
}

async fn set(
    context: ActionContext<'_>,
    prior: &Prior,
    wanted: Presence,
) -> Result<(), ActionError> {
    let Prior { subject, arn, .. } = prior;
    match wanted {
        Presence::Attached => managed_policy::attach(context, &subject.holder, arn).await,
        Presence::Detached => managed_policy::detach(context, &subject.holder, arn).await,
    }
}

/// Reads back whether it is so.
pub(super) async fn verify(
    context: ActionContext<'_>,
    prior: &Prior,
    wanted: Presence,
) -> Result<Verification, ActionError> {
    let Prior { subject, arn, .. } = prior;
    let present = presence(context, subject, arn).await?;
    let message =
        format!("the policy `{arn}` is {} to {}", present.describe(), subject.holder.describe());
    Ok(if present == wanted {
        Verification::InEffect(message)
    } else {
        Verification::NotInEffect(message)
    })
}

/// Puts back what was before, where `made` is what the action made of it.
pub(super) async fn undo(
    context: ActionContext<'_>,
    prior: &Prior,
    made: Presence,
) -> Result<Undone, ActionError> {
    let mut undone = Undone::default();
    match principals::same(context, &prior.subject).await {
        Err(error) if error.kind == ErrorKind::Gone => {
            undone.drift.push(error.message);
            return Ok(undone);
        }
        present => present?,
    };
    let Prior { subject, arn, presence: before } = prior;
    let (described, present) = (subject.holder.describe(), presence(context, subject, arn).await?);
    if present == *before {
        return Ok(undone);
    }
    if present != made {
        let now = present.describe();
        undone.drift.push(format!("the policy `{arn}` is {now} to {described} since"));
        return Ok(undone);
    }
    match set(context, prior, *before).await {
        // The user or role is there, so it is the policy that was deleted.
        Err(error) if error.kind == ErrorKind::Gone => {
            undone.drift.push(format!("the policy `{arn}` does not exist any more"));
        }
        result => {
            result?;
            let now = before.describe();
            undone.restored.push(format!("the policy {arn} is {now} to {described}, as before"));
        }
    }
    Ok(undone)
}
