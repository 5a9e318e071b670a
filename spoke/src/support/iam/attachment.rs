//! Common to the actions that attach and detach a managed policy.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Reversal, Undone, Verification,
};
use crate::grant::Grant;
use crate::support::iam::grants::ATTACH_ANY_POLICY;
use crate::support::iam::managed_policy;
use crate::support::iam::principals::{self, Subject};
use firebreak_model::error::{ActionError, ErrorKind};

/// Whether a policy is on a user or role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Presence {
    Attached,
    Detached,
}

impl Presence {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Detached => "not attached",
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    pub(crate) subject: Subject,
    /// The policy, as its name was read when the plan was made.
    pub(crate) arn: String,
    pub(crate) presence: Presence,
}

/// The differences between attaching and detaching.
pub(crate) trait AttachmentChange {
    /// The action's name in policies.
    const NAME: &'static str;
    /// One sentence, for runbooks.
    const SENTENCE: &'static str;
    /// Whether the policy is attached afterwards.
    const WANTED: Presence;
    /// The action's parameters.
    type Parameters: AsRef<str> + DeserializeOwned + Serialize + JsonSchema + Default + Send + Sync;

    /// What a plan reports if the policy is as wanted already.
    fn as_wanted(prior: &Prior) -> Result<(), ActionError>;
}

/// The action that attaches or detaches a managed policy.
pub(crate) struct ChangeAttachment<C>(PhantomData<C>);

impl<C: AttachmentChange> Action for ChangeAttachment<C> {
    const SPEC: ActionSpec = ActionSpec {
        name: C::NAME,
        sentence: C::SENTENCE,
        resource_types: &["AccessKey", "User", "Role"],
        reads: &[
            "iam:GetPolicy",
            "iam:GetRole",
            "iam:GetUser",
            "iam:ListAttachedRolePolicies",
            "iam:ListAttachedUserPolicies",
        ],
        writes: ATTACH_ANY_POLICY.permissions,
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[ATTACH_ANY_POLICY];
    type Parameters = C::Parameters;
    type Prior = Prior;

    fn check(parameters: &C::Parameters) -> Result<(), String> {
        let policy: &str = parameters.as_ref();
        if policy.is_empty() { Err("it needs a `policy`".to_owned()) } else { Ok(()) }
    }

    async fn capture(
        context: ActionContext<'_>,
        parameters: &C::Parameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let prior = read(context, parameters.as_ref()).await?;
        if prior.presence == C::WANTED {
            C::as_wanted(&prior)?;
            return Ok(CapturedState { prior, changes: Vec::new() });
        }
        let change = Change {
            what: format!("policy {} on {}", prior.arn, prior.subject.holder.describe()),
            before: prior.presence.describe().to_owned(),
            after: C::WANTED.describe().to_owned(),
        };
        Ok(CapturedState { prior, changes: vec![change] })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &C::Parameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        principals::find_same(context, &prior.subject).await?;
        set(context, prior, C::WANTED).await
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &C::Parameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let Prior { subject, arn, .. } = prior;
        let present = presence(context, subject, arn).await?;
        let described = subject.holder.describe();
        let message = format!("the policy `{arn}` is {} to {described}", present.describe());
        Ok(if present == C::WANTED {
            Verification::InEffect(message)
        } else {
            Verification::NotInEffect(message)
        })
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &C::Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        undo(context, prior, C::WANTED).await
    }
}

/// Reads the target and whether the policy is on it.
async fn read(context: ActionContext<'_>, named: &str) -> Result<Prior, ActionError> {
    let holder = principals::holder(context.resource)?;
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

/// Restores the prior attachment, if the present one is `made`, which the action made.
async fn undo(
    context: ActionContext<'_>,
    prior: &Prior,
    made: Presence,
) -> Result<Undone, ActionError> {
    if let Some(undone) = principals::undo_if_gone(context, &prior.subject).await? {
        return Ok(undone);
    }
    let mut undone = Undone::default();
    let Prior { subject, arn, presence: before } = prior;
    let (described, present) = (subject.holder.describe(), presence(context, subject, arn).await?);
    if present == *before {
        return Ok(undone);
    }
    if present != made {
        let now = present.describe();
        undone.drift.push(format!("the policy `{arn}` is now {now} to {described}"));
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
