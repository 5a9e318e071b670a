//! EC2 Auto Scaling's calls, as its API reference has them.

use serde::Serialize;
use serde_json::Value;

use super::{Answer, Place};
use crate::state::State;

/// What one account holds in one Region.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AutoScaling {}

/// Answers a call; `None` for one that is not modelled.
pub fn answer(_: &mut State, _: &Place, _: &str, _: &Value) -> Option<Answer> {
    None
}
