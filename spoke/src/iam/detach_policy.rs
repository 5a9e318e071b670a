//! Detaches a managed policy from a user or role, `AdministratorAccess` unless
//! another is named. Undo attaches it again, if it was attached before and still
//! exists. A policy of a group is not detached: `deny-all` overrides it
//! (IAM API reference, DetachUserPolicy).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::support::iam::attachment::{AttachmentChange, ChangeAttachment, Presence, Prior};
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) type DetachPolicy = ChangeAttachment<Detach>;

pub(crate) struct Detach;

/// Which policy.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Parameters {
    /// The managed policy, by ARN, or by name where it is one of AWS's own.
    policy: String,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { policy: "AdministratorAccess".to_owned() }
    }
}

impl AsRef<str> for Parameters {
    fn as_ref(&self) -> &str {
        &self.policy
    }
}

impl AttachmentChange for Detach {
    const NAME: &'static str = "detach-policy";
    const SENTENCE: &'static str = "Detaches a managed policy from the user or role.";
    const WANTED: Presence = Presence::Detached;
    type Parameters = Parameters;

    /// Nothing is taken from anybody, so nothing is contained by it.
    fn as_wanted(prior: &Prior) -> Result<(), ActionError> {
        let message =
            format!("`{}` is not attached to {}", prior.arn, prior.subject.holder.describe());
        Err(ActionError::new(ErrorKind::NotApplicable, message))
    }
}
