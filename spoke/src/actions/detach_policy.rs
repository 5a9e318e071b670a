//! Detaches a managed policy from a user or role, `AdministratorAccess` unless
//! another is named. Undo attaches it again, if it was attached before and still
//! exists. A policy by way of a group is not detached: `deny-all` overrides it
//! (IAM API reference, DetachUserPolicy).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attachment::{self, Presence, Prior};
use super::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Reversal, Undone, Verification,
};
use firebreak_model::error::{ActionError, ErrorKind};

pub(super) struct DetachPolicy;

/// Which policy.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Parameters {
    /// The managed policy, by ARN, or by name where it is one of AWS's own.
    policy: String,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { policy: "AdministratorAccess".to_owned() }
    }
}

impl Action for DetachPolicy {
    const SPEC: ActionSpec = ActionSpec {
        name: "detach-policy",
        sentence: "Detaches a managed policy from the user or role.",
        resource_types: &["AccessKey", "User", "Role"],
        reads: &[
            "iam:GetPolicy",
            "iam:GetRole",
            "iam:GetUser",
            "iam:ListAttachedRolePolicies",
            "iam:ListAttachedUserPolicies",
        ],
        writes: &[
            "iam:AttachRolePolicy",
            "iam:AttachUserPolicy",
            "iam:DetachRolePolicy",
            "iam:DetachUserPolicy",
        ],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    type Parameters = Parameters;
    type Prior = Prior;

    fn check(parameters: &Parameters) -> Result<(), String> {
        if parameters.policy.is_empty() { Err("it needs a `policy`".to_owned()) } else { Ok(()) }
    }

    async fn capture(
        context: ActionContext<'_>,
        parameters: &Parameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let prior = attachment::capture(context, &parameters.policy).await?;
        let change = Change {
            what: format!("policy {} on {}", prior.arn, prior.subject.holder.describe()),
            before: prior.presence.describe().to_owned(),
            after: Presence::Detached.describe().to_owned(),
        };
        if prior.presence == Presence::Detached {
            // Nothing is taken from anybody, so nothing is contained by it.
            let message =
                format!("`{}` is not attached to {}", prior.arn, prior.subject.holder.describe());
            return Err(ActionError::new(ErrorKind::NotApplicable, message));
        }
        Ok(CapturedState { prior, changes: vec![change] })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        attachment::reach(context, prior, Presence::Detached).await
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        attachment::verify(context, prior, Presence::Detached).await
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        attachment::undo(context, prior, Presence::Detached).await
    }
}
