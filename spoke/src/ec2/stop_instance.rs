//! Stops an instance, in the last phase. Undo starts it again if it was running.
//!
//! Stopping keeps the EBS volumes. Memory, instance store volumes and a public address
//! that is no Elastic IP address are lost (EC2 user guide, "Stop and start"): collect
//! evidence first. An Auto Scaling group replaces a stopped instance and terminates it:
//! take it out first (`protect-instance`).

use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Reversal,
    Undone, Verification,
};
use crate::grant::Grant;
use crate::support::ec2::grants::{CHANGE_INSTANCES, LET_EC2_USE_KEYS, USE_KEYS_THROUGH_EC2};
use crate::support::ec2::instance_state as state;
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct StopInstance;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    instance_id: String,
    state: String,
}

impl Prior {
    fn was_running(&self) -> bool {
        matches!(self.state.as_str(), "running" | "pending")
    }
}

impl Action for StopInstance {
    const SPEC: ActionSpec = ActionSpec {
        name: "stop-instance",
        sentence: "Stops the instance; its EBS volumes stay, its memory does not.",
        resource_types: &["Instance"],
        reads: &["ec2:DescribeInstances"],
        // For the undo of an instance with volumes under a customer managed key (EBS user
        // guide, "Required permissions for EBS encryption").
        writes: &[
            "ec2:StartInstances",
            "ec2:StopInstances",
            "kms:CreateGrant",
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:GenerateDataKeyWithoutPlaintext",
        ],
        reversal: Reversal::Restored,
        phase: Phase::End,
    };
    const GRANTS: &'static [Grant] = &[
        CHANGE_INSTANCES.allows(&["ec2:StartInstances", "ec2:StopInstances"]),
        USE_KEYS_THROUGH_EC2.allows(&[
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:GenerateDataKeyWithoutPlaintext",
        ]),
        LET_EC2_USE_KEYS.allows(&["kms:CreateGrant"]),
    ];
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let instance_id = state::id(context.resource)?;
        let instance = context.cache.instance(context.account, instance_id).await?;
        let prior =
            Prior { instance_id: instance_id.to_owned(), state: state::state(instance).to_owned() };
        let change = prior.was_running().then(|| Change {
            what: format!("state of {instance_id}"),
            before: prior.state.clone(),
            after: "stopped".to_owned(),
        });
        Ok(CapturedState { prior, changes: change.into_iter().collect() })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        match state::now(context, &prior.instance_id).await?.as_str() {
            "stopping" | "stopped" => Ok(()),
            _ => state::stop(context, &prior.instance_id).await,
        }
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let id = &prior.instance_id;
        match state::now(context, id).await {
            Ok(state) => Ok(judge(id, &state)),
            Err(error) if error.kind == ErrorKind::Gone => {
                Ok(Verification::InEffect(error.message))
            }
            Err(error) => Err(error),
        }
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let id = &prior.instance_id;
        if !prior.was_running() {
            return Ok(Undone::default());
        }
        match state::now(context, id).await {
            Ok(state) if state == "running" => return Ok(Undone::default()),
            Ok(state) if state == "pending" => return started(context, id).await,
            Ok(_) => {}
            Err(error) if error.kind == ErrorKind::Gone => {
                return Ok(Undone { drift: vec![error.message], ..Undone::default() });
            }
            Err(error) => return Err(error),
        }
        // While it is still stopping EC2 returns IncorrectInstanceState, which is
        // retried.
        state::start(context, id).await?;
        started(context, id).await
    }
}

/// What undo restored, once the instance runs.
async fn started(context: ActionContext<'_>, id: &str) -> Result<Undone, ActionError> {
    if !state::has_started(context, id).await? {
        let why = format!("`{id}` is started and does not run yet");
        return Err(ActionError::new(ErrorKind::Transient, why));
    }
    let restored = vec![format!(
        "{id} runs again; the contents of its memory and instance store volumes are lost, and a public address that is not an Elastic IP address has changed"
    )];
    Ok(Undone { restored, ..Undone::default() })
}

fn judge(id: &str, state: &str) -> Verification {
    match state {
        "stopped" => Verification::InEffect(format!("{id} is stopped")),
        "stopping" => Verification::InProgress(format!("{id} is stopping")),
        other => Verification::NotInEffect(format!("{id} is {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_state_stopped_is_in_effect() {
        assert!(matches!(judge("i-1", "stopped"), Verification::InEffect(_)));
        assert!(matches!(judge("i-1", "stopping"), Verification::InProgress(_)));
        assert!(matches!(judge("i-1", "running"), Verification::NotInEffect(_)));
    }
}
