//! A suppression: findings of one type are ignored on one target for some time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ResponseId;

/// A suppression of one finding type on a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// Until when.
    pub until: Timestamp,
    /// Who asked for it.
    pub by: String,
    /// The response that it is about.
    pub response: ResponseId,
    /// Why, as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
