//! Denies a user or role everything, even what other policies allow, by an inline
//! policy that names the response. Undo deletes exactly that policy.
//!
//! An explicit deny overrides every allow (IAM user guide, "Policy evaluation logic"),
//! for long-term keys and for sessions, including those that began before. It affects
//! everybody who uses the role. If the inline policies are full, the managed
//! `AWSDenyAll` is attached, which does the same.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Residual,
    Reversal, Undone, Verification,
};
use crate::grant::Grant;
use crate::support::eks::known_principals;
use crate::support::iam::deny_policy::{self, Attached, DenyPresence};
use crate::support::iam::principals::{self, Subject, holder};
use firebreak_model::error::ActionError;

pub(crate) struct DenyAll;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
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
    const SPEC: ActionSpec = ActionSpec {
        name: "deny-all",
        sentence: "Denies all permissions to the user or role, by an inline policy or AWSDenyAll where that does not fit.",
        resource_types: &["AccessKey", "User", "Role"],
        reads: deny_policy::READS,
        writes: deny_policy::WRITES,
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = deny_policy::GRANTS;
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let (subject, _) = principals::find(context, holder(context.resource)?).await?;
        let managed = Attached::now(context, &subject.holder).await?;
        let change = Change {
            what: format!("permissions of {}", subject.holder.describe()),
            before: "as its policies say".to_owned(),
            after: "none: denied everything".to_owned(),
        };
        let changes = match managed {
            Attached::Before => Vec::new(),
            Attached::NotBefore => vec![change],
        };
        Ok(CapturedState { prior: Prior { subject, managed }, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        principals::find_same(context, &prior.subject).await?;
        let (holder, name) = (&prior.subject.holder, policy_name(context.response));
        match deny_policy::standing(context, holder, &name).await? {
            // An earlier run put it.
            DenyPresence::Managed => Ok(()),
            DenyPresence::Inline(present) if present == document() => Ok(()),
            DenyPresence::Inline(_) | DenyPresence::Nothing => {
                deny_policy::put(context, holder, &name, &document()).await
            }
        }
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let described = prior.subject.holder.describe();
        let name = policy_name(context.response);
        Ok(match deny_policy::standing(context, &prior.subject.holder, &name).await? {
            DenyPresence::Inline(present) if present == document() => {
                Verification::InEffect(format!("{described} is denied everything"))
            }
            DenyPresence::Inline(_) => Verification::NotInEffect(format!(
                "the inline policy `{name}` of {described} was changed"
            )),
            DenyPresence::Managed => {
                Verification::InEffect(format!("{described} is denied everything by AWSDenyAll"))
            }
            DenyPresence::Nothing => {
                Verification::NotInEffect(format!("{described} has no deny policy"))
            }
        })
    }

    async fn residual(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Vec<Residual>, ActionError> {
        known_principals::residual(context, &prior.subject.holder).await
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        if let Some(undone) = principals::undo_if_gone(context, &prior.subject).await? {
            return Ok(undone);
        }
        let (holder, name) = (&prior.subject.holder, policy_name(context.response));
        let is_ours = |present: &Value| *present == document();
        deny_policy::take_off(context, holder, &name, is_ours, prior.managed).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::iam::principals::Holder;

    #[test]
    fn the_prior_state_reads_back_as_it_was_recorded() {
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
