//! Policy: what to do about a finding's target, decided by documents that are
//! attached to the organization's tree. Pure: no clock, no network, no globals.
//!
//! ```text
//! files / stored JSON → Document (checked) → Policy → decide → Decision
//! ```
//!
//! # Guarantees
//!
//! - The nearest matching rule decides: the account's own document, then each
//!   OU's on the way up, then the root's; within a document the first.
//! - Ceilings and protections of *every* document on that way apply and only
//!   tighten. A document below cannot weaken one above.
//! - What cannot be known refuses: a broken document, tags that cannot be read
//!   though policy depends on them, a principal without a name.
//! - The decision does not depend on the order in which documents were loaded.

mod context;
mod decision;
mod diagnostics;
mod document;
mod explain;
mod pattern;
mod tree;

pub use context::Tags;
pub use decision::{Decision, Guardrail, Outcome, RuleRef};
pub use diagnostics::{Diagnostic, read_files};
pub use document::{ActionCall, ActionFacts, Document, Mode, StoredDocument, schema};
pub use explain::{Explanation, Walked};
pub use pattern::{Pattern, PatternError};
pub use tree::Policy;
