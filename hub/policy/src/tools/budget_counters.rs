//! Counts draws on budgets when stored findings are replayed.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use crate::model::{Budget, BudgetRef, Draw};

/// What was drawn on each counter, in the order of time.
#[derive(Clone, Debug, Default)]
pub struct BudgetCounters {
    counters: BTreeMap<String, VecDeque<(Timestamp, u32)>>,
}

impl BudgetCounters {
    /// Draws on every budget. `Err` is the first one that would be exceeded; then nothing
    /// is drawn. `now` must not be earlier than in the call before.
    pub fn draw<'a>(&mut self, draws: &'a [Draw], now: Timestamp) -> Result<(), &'a BudgetRef> {
        for Draw { budget: reference, key, actions } in draws {
            let Budget { actions: allowed, per, .. } = reference.budget;
            let counter = self.counters.entry(key.clone()).or_default();
            let is_over = |then: Timestamp| now.duration_since(then) >= per.duration();
            while counter.front().is_some_and(|(then, _)| is_over(*then)) {
                counter.pop_front();
            }
            let spent: u32 = counter.iter().map(|(_, count)| count).sum();
            if spent.saturating_add(*actions) > allowed {
                return Err(reference);
            }
        }
        for Draw { key, actions, .. } in draws {
            self.counters.entry(key.clone()).or_default().push_back((now, *actions));
        }
        Ok(())
    }
}
