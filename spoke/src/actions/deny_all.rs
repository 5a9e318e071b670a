//! Denies a user or role everything, whatever else allows it, by an inline
//! policy that names the response. Undo takes exactly that off again.
//!
//! An explicit deny overrides every allow (IAM user guide, "Policy evaluation
//! logic"), for long-term keys and for sessions alike, those that began before
//! included. It hits everybody who uses the role. Where the inline policies
//! are full, the managed `AWSDenyAll` is attached, which does the same.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::deny_policy::{self, Attached, Standing};
use super::principals::{self, Subject, holder};
use super::{About, Action, Change, Observation, Phase, Reversal, Scope, Undone, Verdict};
use firebreak_model::error::{ActionError, Kind};

pub(super) struct DenyAll;

/// It takes none.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Prior {
    subject: Subject,
    managed: Attached,
}

fn policy_name(response: &str) -> String {
    format!("FirebreakDenyAll-{response}")
}

fn document() -> Value {
    deny_policy::document("FirebreakDenyAll", None)
}

impl Action for DenyAll {
    const ABOUT: About = About {
        name: "deny-all",
        sentence: "Denies the user or role everything, by an inline policy or AWSDenyAll where that does not fit.",
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

    async fn observe(scope: Scope<'_>, _: &Parameters) -> Result<Observation<Prior>, ActionError> {
        let (subject, _) = principals::find(scope, holder(&scope.resource.kind)?).await?;
        let managed = Attached::now(scope, &subject.holder).await?;
        let change = Change {
            what: format!("permissions of {}", subject.holder.describe()),
            before: "as its policies say".to_owned(),
            after: "none: denied everything".to_owned(),
        };
        let changes = match managed {
            Attached::Before => Vec::new(),
            Attached::NotBefore => vec![change],
        };
        Ok(Observation { prior: Prior { subject, managed }, changes })
    }

    async fn apply(scope: Scope<'_>, _: &Parameters, prior: &Prior) -> Result<(), ActionError> {
        principals::same(scope, &prior.subject).await?;
        let (holder, name) = (&prior.subject.holder, policy_name(scope.response));
        match deny_policy::standing(scope, holder, &name).await? {
            // Our own of an earlier run.
            Standing::Managed => Ok(()),
            Standing::Inline(present) if present == document() => Ok(()),
            Standing::Inline(_) | Standing::Nothing => {
                deny_policy::put(scope, holder, &name, &document()).await
            }
        }
    }

    async fn verify(
        scope: Scope<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Verdict, ActionError> {
        let described = prior.subject.holder.describe();
        let name = policy_name(scope.response);
        Ok(match deny_policy::standing(scope, &prior.subject.holder, &name).await? {
            Standing::Inline(present) if present == document() => {
                Verdict::Holds(format!("{described} is denied everything"))
            }
            Standing::Inline(_) => {
                Verdict::Broken(format!("the inline policy `{name}` of {described} was changed"))
            }
            Standing::Managed => {
                Verdict::Holds(format!("{described} is denied everything by AWSDenyAll"))
            }
            Standing::Nothing => Verdict::Broken(format!("{described} has no deny policy")),
        })
    }

    async fn undo(scope: Scope<'_>, _: &Parameters, prior: &Prior) -> Result<Undone, ActionError> {
        match principals::same(scope, &prior.subject).await {
            Err(error) if error.kind == Kind::Gone => {
                return Ok(Undone { drift: vec![error.message], ..Undone::default() });
            }
            present => present?,
        };
        let (holder, name) = (&prior.subject.holder, policy_name(scope.response));
        let is_ours = |present: &Value| *present == document();
        deny_policy::take_off(scope, holder, &name, is_ours, prior.managed).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::principals::Holder;

    #[test]
    fn the_prior_state_survives_its_record() {
        let holder = Holder::Role("web".to_owned());
        for managed in [Attached::Before, Attached::NotBefore] {
            let subject = Subject { holder: holder.clone(), id: "AROAEXAMPLE".to_owned() };
            let prior = Prior { subject, managed };
            let json = serde_json::to_value(&prior).unwrap();
            assert_eq!(serde_json::from_value::<Prior>(json).unwrap(), prior);
        }
    }

    #[test]
    fn the_deny_has_no_condition_and_two_responses_have_policies_of_their_own() {
        assert!(document().pointer("/Statement/0/Condition").is_none());
        assert_ne!(policy_name("r-1"), policy_name("r-2"));
    }
}
