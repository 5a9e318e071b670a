//! Policy: what to do about a finding's target, decided by documents that are
//! attached to the organization's tree. Pure: no clock, no network, no globals.
//!
//! ```text
//! files ─────────┐
//!                ├→ Node → Document (checked) → Policy → decide → Decision
//! stored texts ──┘
//! ```
//!
//! # Guarantees
//!
//! - The nearest matching rule decides: the account's own document, then each
//!   OU's on the way up, then the root's; within a document the first.
//! - Ceilings, protections and budgets of *every* document on that way apply
//!   and only tighten. A document below cannot weaken one above.
//! - What cannot be known refuses: a broken document, tags that cannot be read
//!   though policy depends on them, a principal without a name.
//! - What a document says and this version does not know is refused, never
//!   skipped: a guardrail that is ignored would be one that is not there.
//! - The decision does not depend on the order in which documents were loaded.

mod actions;
mod ancestry;
mod arn;
mod backtest;
mod budget;
mod change;
mod context;
mod decide;
mod decision;
mod diagnostics;
mod document;
mod effect;
mod explain;
mod families;
mod fields;
mod import;
mod keys;
mod lints;
mod node;
mod reader;
mod suite;
mod synthetic;
mod tree;
mod variables;
mod window;

#[cfg(test)]
mod decide_properties;
#[cfg(test)]
mod diagnostics_tests;
#[cfg(test)]
mod testing;

pub use actions::ActionCall;
pub use backtest::{Backtest, Changed, Replayed, Row, Side, Tripped, replay};
pub use budget::{Budget, BudgetRef, CountedBy, Draw, Spent};
pub use change::{EffectiveChange, Point, effective_changes};
pub use context::Tags;
pub use decision::{Decision, Guardrail, LeftOut, PolicyOutcome, RuleRef};
pub use diagnostics::{Diagnostic, read_files, read_files_within, read_tests};
pub use document::{Approve, Document, Extends, Mode, Otherwise, StoredDocument};
pub use effect::Effect;
pub use explain::{Explanation, RuleOutcome, RuleResult, WalkStep};
pub use families::{Span, Stance};
pub use firebreak_event_pattern::{Pattern, PatternError};
pub use import::{Imported, import_gd_actions};
pub use keys::{schema, test_schema};
pub use lints::lints;
pub use reader::is_attach_point;
pub use suite::{Case, CaseResult, Difference, Given};
pub use tree::Policy;
pub use variables::with_response;
pub use window::Window;
