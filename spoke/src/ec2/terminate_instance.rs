//! Terminates an instance, in the last phase. It cannot be undone: a rule has to say
//! `irreversible: allow`.
//!
//! Volumes with DeleteOnTermination are deleted with it (EC2 user guide, "Terminate
//! instances"); `protect-instance` keeps them. A protection against termination
//! is not lifted: the step fails.

use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Reversal,
    Undone, Verification,
};
use crate::grant::Grant;
use crate::support::ec2::grants::CHANGE_INSTANCES;
use crate::support::ec2::instance_state as state;
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct TerminateInstance;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    instance_id: String,
    state: String,
}

impl Action for TerminateInstance {
    const SPEC: ActionSpec = ActionSpec {
        name: "terminate-instance",
        sentence: "Terminates the instance; nothing brings it back.",
        resource_types: &["Instance"],
        reads: &["ec2:DescribeInstances"],
        writes: &["ec2:TerminateInstances"],
        reversal: Reversal::Impossible,
        phase: Phase::End,
    };
    const GRANTS: &'static [Grant] = &[CHANGE_INSTANCES.allows(Self::SPEC.writes)];
    const EXCLUDES: &'static [&'static str] = &["stop-instance"];
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let instance_id = state::id(context.resource)?;
        let instance = context.cache.instance(context.account, instance_id).await?;
        let lost = instance
            .block_device_mappings()
            .iter()
            .filter_map(|mapping| mapping.ebs())
            .filter(|ebs| ebs.delete_on_termination() == Some(true))
            .filter_map(|ebs| ebs.volume_id())
            .collect::<Vec<_>>()
            .join(", ");
        let before = state::state(instance).to_owned();
        let after = match lost.as_str() {
            "" => "terminated; this cannot be undone".to_owned(),
            lost => format!("terminated, and with it the volumes {lost}; this cannot be undone"),
        };
        let what = format!("state of {instance_id}");
        let prior = Prior { instance_id: instance_id.to_owned(), state: before.clone() };
        Ok(CapturedState { prior, changes: vec![Change { what, before, after }] })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        match state::now(context, &prior.instance_id).await {
            Ok(_) => state::terminate(context, &prior.instance_id).await,
            // An earlier run did it, or another caller: verification decides.
            Err(error) if is_terminated(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        match state::now(context, &prior.instance_id).await {
            Err(error) if error.kind == ErrorKind::Gone => {
                Ok(Verification::InEffect(error.message))
            }
            Err(error) => Err(error),
            Ok(state) => Ok(Verification::NotInEffect(format!("{} is {state}", prior.instance_id))),
        }
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        match state::now(context, &prior.instance_id).await {
            Ok(_) => Ok(Undone::default()),
            Err(error) if error.kind == ErrorKind::Gone => {
                let drift = vec![format!("{}: nothing brings it back", error.message)];
                Ok(Undone { drift, ..Undone::default() })
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether the instance is there and terminated, not merely unknown.
fn is_terminated(error: &ActionError) -> bool {
    error.kind == ErrorKind::Gone
        && error.code.is_none()
        && !error.message.contains("does not exist")
}
