//! Tools for policies: they are read from files, tested, explained, compared, replayed
//! and imported.

mod backtest;
mod budget_counters;
mod change;
mod effect;
mod explain;
mod families;
mod import;
mod load;
mod suite;
mod synthetic;

pub use backtest::{
    Backtest, ChangedOutcome, OutcomeCount, PolicyTotals, Replayed, SpentBudget, replay,
};
pub use budget_counters::BudgetCounters;
pub use change::{ComparedPoint, EffectiveChange, effective_changes};
pub use effect::Effect;
pub use explain::{Explanation, RuleOutcome, RuleResult, WalkStep};
pub use families::{Stance, StanceRange};
pub use import::{PolicyImport, import_gd_actions};
pub use load::{read_files, read_files_within};
#[cfg(test)]
pub(crate) use suite::TestFile;
pub use suite::{
    FindingSource, PolicyTest, PolicyTestResult, TestDifference, read_tests, test_schema,
};
