//! Tools for policies: they are read from files, tested, explained, compared, replayed
//! and imported.

mod backtest;
mod change;
mod effect;
mod explain;
mod families;
mod import;
mod load;
mod spent;
mod suite;
mod synthetic;

pub use backtest::{Backtest, Changed, Replayed, Row, Side, Tripped, replay};
pub use change::{EffectiveChange, Point, effective_changes};
pub use effect::Effect;
pub use explain::{Explanation, RuleOutcome, RuleResult, WalkStep};
pub use families::{Span, Stance};
pub use import::{Imported, import_gd_actions};
pub use load::{read_files, read_files_within};
pub use spent::Spent;
#[cfg(test)]
pub(crate) use suite::TestFile;
pub use suite::{Case, CaseResult, Difference, Given, read_tests, test_schema};
