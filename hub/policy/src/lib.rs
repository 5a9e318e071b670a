//! Policy: what to do about a finding's target, decided by documents that are
//! attached to the organization's tree. Pure: no clock, no network, no globals.
//!
//! ```text
//! files ─────────┐
//!                ├→ Node → Document (checked) → Policy → decide → Decision
//! stored texts ──┘
//! ```
//!
//! | folder | what is in it | may use |
//! |---|---|---|
//! | `model` | documents, rules, budgets, decisions | |
//! | `syntax` | YAML to documents: keys, errors, lints, JSON Schema | `model` |
//! | `eval` | the tree of documents, and the decision | `model` |
//! | `tools` | tests of policies, explain, diff, backtest, import | all |
//!
//! # Guarantees
//!
//! - The nearest matching rule decides: the account's own document, then each
//!   OU's on the way up, then the root's; within a document the first. The search ends
//!   at a document with `extends: none`.
//! - Ceilings, protections and budgets of *every* document from the account up to the
//!   root apply, also above `extends: none`, and only tighten. A document below cannot
//!   weaken one above.
//! - What cannot be known is refused: a target below a broken document, tags that are
//!   unknown where the decision depends on them, an unknown principal where principals
//!   are protected.
//! - A key that this version does not know is refused, never skipped: it may be a
//!   guardrail.
//! - The decision does not depend on the order in which documents were loaded.

mod eval;
mod model;
mod syntax;
mod tools;

#[cfg(test)]
mod tests;

pub use eval::{Policy, RuleMismatch};
pub use firebreak_event_pattern::{Pattern, PatternError, PatternErrors};
pub use model::{
    ActionCall, Approve, Budget, BudgetRef, CountedBy, Decision, Document, Draw, Extends,
    Guardrail, LeftOut, Mode, Otherwise, PolicyOutcome, RuleRef, StoredDocument, Tags, Window,
    is_attach_point, with_response,
};
pub use syntax::{Diagnostic, lints, schema};
pub use tools::{
    Backtest, BudgetCounters, ChangedOutcome, ComparedPoint, Effect, EffectiveChange, Explanation,
    FindingSource, OutcomeCount, PolicyImport, PolicyTest, PolicyTestResult, PolicyTotals,
    Replayed, RuleOutcome, RuleResult, SpentBudget, Stance, StanceRange, TestDifference, WalkStep,
    effective_changes, import_gd_actions, read_files, read_files_within, read_tests, replay,
    test_schema,
};
