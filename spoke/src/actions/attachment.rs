//! What attaching and detaching a managed policy have in common.

use serde::{Deserialize, Serialize};

use super::principals::{self, Subject};
use super::{Scope, Undone, Verdict, managed_policy};
use firebreak_model::error::{ActionError, Kind};

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
pub(super) async fn observe(scope: Scope<'_>, named: &str) -> Result<Prior, ActionError> {
    let holder = principals::holder(&scope.resource.kind)?;
    let (subject, _) = principals::find(scope, holder).await?;
    let arn = managed_policy::arn(scope, named);
    managed_policy::assert_exists(scope, &arn).await?;
    let presence = presence(scope, &subject, &arn).await?;
    Ok(Prior { subject, arn, presence })
}

async fn presence(scope: Scope<'_>, subject: &Subject, arn: &str) -> Result<Presence, ActionError> {
    let attached = managed_policy::is_attached(scope, &subject.holder, arn).await?;
    Ok(if attached { Presence::Attached } else { Presence::Detached })
}

/// Makes it so.
pub(super) async fn reach(
    scope: Scope<'_>,
    prior: &Prior,
    wanted: Presence,
) -> Result<(), ActionError> {
    principals::same(scope, &prior.subject).await?;
    set(scope, prior, wanted).await
}

async fn set(scope: Scope<'_>, prior: &Prior, wanted: Presence) -> Result<(), ActionError> {
    let Prior { subject, arn, .. } = prior;
    match wanted {
        Presence::Attached => managed_policy::attach(scope, &subject.holder, arn).await,
        Presence::Detached => managed_policy::detach(scope, &subject.holder, arn).await,
    }
}

/// Reads back whether it is so.
pub(super) async fn verify(
    scope: Scope<'_>,
    prior: &Prior,
    wanted: Presence,
) -> Result<Verdict, ActionError> {
    let Prior { subject, arn, .. } = prior;
    let present = presence(scope, subject, arn).await?;
    let told =
        format!("the policy `{arn}` is {} to {}", present.describe(), subject.holder.describe());
    Ok(if present == wanted { Verdict::Holds(told) } else { Verdict::Broken(told) })
}

/// Puts back what was before, where `made` is what the action made of it.
pub(super) async fn undo(
    scope: Scope<'_>,
    prior: &Prior,
    made: Presence,
) -> Result<Undone, ActionError> {
    let mut undone = Undone::default();
    match principals::same(scope, &prior.subject).await {
        Err(error) if error.kind == Kind::Gone => {
            undone.drift.push(error.message);
            return Ok(undone);
        }
        present => present?,
    };
    let Prior { subject, arn, presence: before } = prior;
    let (described, present) = (subject.holder.describe(), presence(scope, subject, arn).await?);
    if present == *before {
        return Ok(undone);
    }
    if present != made {
        let now = present.describe();
        undone.drift.push(format!("the policy `{arn}` is {now} to {described} since"));
        return Ok(undone);
    }
    match set(scope, prior, *before).await {
        // The user or role is there, so it is the policy that was deleted.
        Err(error) if error.kind == Kind::Gone => {
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
