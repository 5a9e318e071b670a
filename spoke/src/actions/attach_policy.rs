//! Attaches a managed policy to a user or role, `AWSDenyAll` unless another is
//! named. Undo detaches it, unless it was attached before. IAM attaches a policy
//! that is attached already without an error (IAM API reference, AttachUserPolicy).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attachment::{self, Presence, Prior};
use super::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Reversal, Undone, Verification,
};
use firebreak_model::error::ActionError;

pub(super) struct AttachPolicy;

/// Which policy.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Parameters {
    /// The managed policy, by ARN, or by name where it is one of AWS's own.
    policy: String,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { policy: "AWSDenyAll".to_owned() }
    }
}

impl Action for AttachPolicy {
    const SPEC: ActionSpec = ActionSpec {
        name: "attach-policy",
        sentence: "Attaches a managed policy to the user or role.",
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
            after: Presence::Attached.describe().to_owned(),
        };
        let changes = if prior.presence == Presence::Attached { Vec::new() } else { vec![change] };
        Ok(CapturedState { prior, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        attachment::reach(context, prior, Presence::Attached).await
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        attachment::verify(context, prior, Presence::Attached).await
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        attachment::undo(context, prior, Presence::Attached).await
    }
}
