//! The parts of a policy and of a decision. Values only: nothing here reads text or
//! decides.

mod action_call;
mod arn_pattern;
mod attach_point;
mod budget;
mod decision;
mod document;
mod mode;
mod rule;
mod tags;
mod variables;
mod window;

pub use action_call::ActionCall;
pub(crate) use arn_pattern::{ArnPattern, ArnPatternError};
pub use attach_point::is_attach_point;
pub use budget::{Budget, BudgetRef, CountedBy, Draw};
pub use decision::{Decision, Guardrail, LeftOut, PolicyOutcome};
pub use document::{Document, Extends, StoredDocument};
pub(crate) use document::{Protect, TagSet};
pub use mode::Mode;
pub use rule::{Approve, Otherwise, RuleRef};
pub(crate) use rule::{Rule, RuleAction};
pub use tags::Tags;
pub use variables::with_response;
pub(crate) use variables::{VARIABLES, fill, fill_with_samples, has_variables, variable_names};
pub use window::Window;
