//! Counters of budgets: one item for each, over sliding windows.
//!
//! A counter only grows. Its marks are its values at the beginning of each part of the
//! window; a window has 60 parts. The amount spent in the window is the counter minus
//! the mark of the oldest part that overlaps the window. So it is never too low, and
//! too high by at most a sixtieth of the window.
//!
//! A draw is part of the transaction that claims a target, on condition that the
//! counter has not grown past what the budget allows. Draws that all fit do not
//! conflict, so a storm does not repeat its reads.
//!
//! DynamoDB deletes a counter on which nothing was drawn for its window and one more
//! day; a new counter has the same meaning. A draw on a counter that was deleted after
//! it was read is rejected, because its marks would hide what was spent.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::Update;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use firebreak_model::digest::sha256_hex;
use jiff::{SignedDuration, Timestamp};

use super::{EXPIRES_AT, Item, Store, count, expires_after, number, sortable, text, unreadable};
use crate::error::HubError;
use firebreak_policy::Draw;

const MARK_PREFIX: &str = "mark#";
const PARTS: i64 = 60;

/// One counter as it was read, and the draw to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// The draw to make.
    pub draw: Draw,
    total: u64,
    /// The counter's value before the first draw of each part, by the part's beginning
    /// in seconds of the epoch.
    marks: BTreeMap<i64, u64>,
    tripped_until: Option<Timestamp>,
}

impl Counter {
    fn new(draw: Draw) -> Self {
        Self { draw, total: 0, marks: BTreeMap::new(), tripped_until: None }
    }

    fn window(&self) -> SignedDuration {
        self.draw.budget.budget.per.duration()
    }

    fn part(&self) -> i64 {
        (self.window().as_secs() / PARTS).max(1)
    }

    /// The oldest part that overlaps the window that ends at `now`.
    fn oldest(&self, now: Timestamp) -> Option<(i64, u64)> {
        let start = now.as_second().saturating_sub(self.window().as_secs());
        let reaches = |begin: &i64| begin.saturating_add(self.part()) > start;
        self.marks.iter().find(|(begin, _)| reaches(begin)).map(|(begin, mark)| (*begin, *mark))
    }

    /// How many more actions the budget allows at `now`.
    pub fn left(&self, now: Timestamp) -> u64 {
        let before = self.oldest(now).map_or(self.total, |(_, mark)| mark);
        let spent = self.total.saturating_sub(before);
        u64::from(self.draw.budget.budget.actions).saturating_sub(spent)
    }

    /// Whether the draw exceeds what is left.
    pub fn is_spent(&self, now: Timestamp) -> bool {
        u64::from(self.draw.actions) > self.left(now)
    }

    /// When the oldest draws leave the window.
    pub fn frees_at(&self, now: Timestamp) -> Timestamp {
        let begin = self.oldest(now).map_or(now.as_second(), |(begin, _)| begin);
        let end = begin.saturating_add(self.part()).saturating_add(self.window().as_secs());
        Timestamp::from_second(end).unwrap_or(now)
    }

    /// Whether a notice about this spent budget was sent already.
    pub fn is_announced(&self, now: Timestamp) -> bool {
        self.tripped_until.is_some_and(|until| until > now)
    }

    /// The condition under which the draw may be made.
    fn allows_a_draw(&self) -> &'static str {
        if self.total == 0 {
            return "attribute_not_exists(#total) OR #total <= :most";
        }
        "#total >= :seen AND #total <= :most"
    }

    fn read(&mut self, item: &Item) -> Result<(), HubError> {
        let wrong = |name: &str| unreadable(&self.draw.key, format!("`{name}` is not a number"));
        for (name, value) in item {
            if name == "total" {
                self.total = number(value).ok_or_else(|| wrong(name))?;
            } else if let Some(begin) = name.strip_prefix(MARK_PREFIX) {
                let begin = begin.parse().map_err(|_| wrong(name))?;
                self.marks.insert(begin, number(value).ok_or_else(|| wrong(name))?);
            } else if name == "tripped_until" {
                let until = value.as_s().ok().and_then(|text| text.parse().ok());
                self.tripped_until = Some(until.ok_or_else(|| wrong(name))?);
            }
        }
        Ok(())
    }
}

impl Store {
    /// The present counters of these draws; no call without draws.
    pub async fn counters(&self, draws: &[Draw]) -> Result<Vec<Counter>, HubError> {
        let mut counters: Vec<Counter> = draws.iter().cloned().map(Counter::new).collect();
        let keys = counters.iter().map(|it| (pk(&it.draw.key), "budget".to_owned()));
        for item in self.read_items(keys).await? {
            let found = item.get("pk").and_then(|pk| pk.as_s().ok());
            for counter in &mut counters {
                if found == Some(&pk(&counter.draw.key)) {
                    counter.read(&item)?;
                }
            }
        }
        Ok(counters)
    }

    /// The draw on a counter, on condition that the budget still allows it.
    pub(super) fn draw(&self, counter: &Counter, now: Timestamp) -> UpdateBuilder {
        let begin = now.as_second() - now.as_second().rem_euclid(counter.part());
        let before = counter.oldest(now).map_or(counter.total, |(_, mark)| mark);
        let allowed = u64::from(counter.draw.budget.budget.actions);
        let most = (allowed + before).saturating_sub(u64::from(counter.draw.actions));
        let over: Vec<i64> = counter
            .marks
            .keys()
            .copied()
            .filter(|it| counter.oldest(now).is_none_or(|(oldest, _)| *it < oldest) && *it != begin)
            .collect();
        let mut expression =
            "SET #mark = if_not_exists(#mark, :seen), #key = :key, #expires = :expires ADD #total :actions"
                .to_owned();
        let names: Vec<String> = (0..over.len()).map(|at| format!("#over{at}")).collect();
        if !names.is_empty() {
            expression.push_str(" REMOVE ");
            expression.push_str(&names.join(", "));
        }
        let mut update = self
            .budget(counter)
            .update_expression(expression)
            .condition_expression(counter.allows_a_draw())
            .expression_attribute_names("#expires", EXPIRES_AT)
            .expression_attribute_values(":expires", expires_after(now + counter.window()))
            .expression_attribute_names("#mark", format!("{MARK_PREFIX}{begin}"))
            .expression_attribute_names("#key", "key")
            .expression_attribute_names("#total", "total")
            .expression_attribute_values(":seen", count(counter.total))
            .expression_attribute_values(":key", text(&counter.draw.key))
            .expression_attribute_values(":actions", count(counter.draw.actions.into()))
            .expression_attribute_values(":most", count(most));
        for (name, begin) in names.into_iter().zip(over) {
            update = update.expression_attribute_names(name, format!("{MARK_PREFIX}{begin}"));
        }
        update
    }

    /// Marks a spent budget as reported, on condition that it is not marked yet.
    pub(super) fn trip(&self, counter: &Counter, now: Timestamp) -> UpdateBuilder {
        self.budget(counter)
            .update_expression("SET #until = :until")
            .condition_expression("attribute_not_exists(#until) OR #until <= :now")
            .expression_attribute_names("#until", "tripped_until")
            .expression_attribute_values(":until", text(sortable(counter.frees_at(now))))
            .expression_attribute_values(":now", text(sortable(now)))
    }

    fn budget(&self, counter: &Counter) -> UpdateBuilder {
        Update::builder()
            .table_name(&self.table)
            .key("pk", text(pk(&counter.draw.key)))
            .key("sk", text("budget"))
    }
}

/// A key contains names of rules and actions, so it is hashed; the item has it as text.
fn pk(key: &str) -> String {
    let mut digits = sha256_hex(key);
    digits.truncate(24);
    format!("budget#{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_policy::{Budget, BudgetRef, Window};

    fn counter(total: u64, marks: &[(i64, u64)]) -> Counter {
        let per: Window = Window::parse("1h").unwrap();
        let budget = BudgetRef {
            document: "r-fb01".to_owned(),
            budget: Budget { actions: 10, per, by: None },
        };
        let draw = Draw { budget, key: "k".to_owned(), actions: 4 };
        Counter { draw, total, marks: marks.iter().copied().collect(), tripped_until: None }
    }

    #[test]
    fn what_left_the_window_is_not_counted_and_what_may_be_in_it_is() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let hour = 3_600;
        // 20 in all: 12 before the part that begins at 6000, 8 since.
        let drawn = counter(20, &[(0, 0), (6_000, 12)]);
        let check = |now: i64, left: u64| assert_eq!(drawn.left(at(now)), left, "{now}");
        check(6_100, 2);
        // A part counts until its end has left the window.
        check(6_000 + hour + 59, 2);
        check(6_000 + hour + 60, 10);
        check(100, 0);
        assert_eq!(counter(0, &[]).left(at(0)), 10);
        assert!(drawn.is_spent(at(6_100)), "4 are more than 2");
        assert_eq!(drawn.frees_at(at(6_100)), at(6_000 + hour + 60));
    }
}
