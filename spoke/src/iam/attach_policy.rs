//! Attaches a managed policy to a user or role, `AWSDenyAll` unless another is
//! named. Undo detaches it, unless it was attached before. IAM attaches a policy
//! that is attached already without an error (IAM API reference, AttachUserPolicy).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::support::iam::attachment::{AttachmentChange, ChangeAttachment, Presence, Prior};
use firebreak_model::error::ActionError;

pub(crate) type AttachPolicy = ChangeAttachment<Attach>;

pub(crate) struct Attach;

/// Which policy.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Parameters {
    /// The managed policy, by ARN, or by name where it is one of AWS's own.
    policy: String,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { policy: "AWSDenyAll".to_owned() }
    }
}

impl AsRef<str> for Parameters {
    fn as_ref(&self) -> &str {
        &self.policy
    }
}

impl AttachmentChange for Attach {
    const NAME: &'static str = "attach-policy";
    const SENTENCE: &'static str = "Attaches a managed policy to the user or role.";
    const WANTED: Presence = Presence::Attached;
    type Parameters = Parameters;

    fn as_wanted(_: &Prior) -> Result<(), ActionError> {
        Ok(())
    }
}
