//! Terminates an instance, last of all that is done to it. Nothing brings it
//! back: a rule has to say `irreversible: allow`.
//!
//! Volumes with DeleteOnTermination go with it (EC2 user guide, "Terminate
//! instances"); `protect-instance` keeps them. A protection against termination
//! is respected, not lifted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::instance_state as state;
use super::{About, Action, Change, Observation, Phase, Reversal, Scope, Undone, Verdict};
use firebreak_model::error::{ActionError, Kind};

pub(super) struct TerminateInstance;

/// There is nothing to set.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Prior {
    instance_id: String,
    state: String,
}

impl Action for TerminateInstance {
    const ABOUT: About = About {
        name: "terminate-instance",
        sentence: "Terminates the instance; nothing brings it back.",
        resource_types: &["Instance"],
        reads: &["ec2:DescribeInstances"],
        writes: &["ec2:TerminateInstances"],
        reversal: Reversal::Impossible,
        phase: Phase::End,
    };
    const EXCLUDES: &'static [&'static str] = &["stop-instance"];
    type Parameters = Parameters;
    type Prior = Prior;

    async fn observe(scope: Scope<'_>, _: &Parameters) -> Result<Observation<Prior>, ActionError> {
        let instance_id = state::id(scope.resource)?;
        let instance = scope.seen.instance(scope.account, instance_id).await?;
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
            "" => "terminated, for good".to_owned(),
            lost => format!("terminated, for good, and with it the volumes {lost}"),
        };
        let what = format!("state of {instance_id}");
        let prior = Prior { instance_id: instance_id.to_owned(), state: before.clone() };
        Ok(Observation { prior, changes: vec![Change { what, before, after }] })
    }

    async fn apply(scope: Scope<'_>, _: &Parameters, prior: &Prior) -> Result<(), ActionError> {
        match state::now(scope, &prior.instance_id).await {
            Ok(_) => state::terminate(scope, &prior.instance_id).await,
            // By an earlier run, or by somebody else: reading back tells.
            Err(error) if is_terminated(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn verify(
        scope: Scope<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Verdict, ActionError> {
        match state::now(scope, &prior.instance_id).await {
            Err(error) if error.kind == Kind::Gone => Ok(Verdict::Holds(error.message)),
            Err(error) => Err(error),
            Ok(state) => Ok(Verdict::Broken(format!("{} is {state}", prior.instance_id))),
        }
    }

    async fn undo(scope: Scope<'_>, _: &Parameters, prior: &Prior) -> Result<Undone, ActionError> {
        match state::now(scope, &prior.instance_id).await {
            Ok(_) => Ok(Undone::default()),
            Err(error) if error.kind == Kind::Gone => {
                let drift = vec![format!("{}: nothing brings it back", error.message)];
                Ok(Undone { drift, ..Undone::default() })
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether the instance is there and terminated, not merely unknown.
fn is_terminated(error: &ActionError) -> bool {
    error.kind == Kind::Gone && error.code.is_none() && !error.message.contains("does not exist")
}
