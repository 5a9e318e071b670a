//! A suppression: findings of one type are ignored on one target for some time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ResponseId;

/// What happens to the suppression of a response's finding type on its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SuppressionChange {
    /// It begins, or takes the place of an earlier one.
    Set(Suppression),
    /// It ends, if there is one.
    End,
}

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
