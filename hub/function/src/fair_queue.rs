//! Fair queue: groups (accounts) take turns, and each has a concurrency limit, so that
//! many items of one group do not delay the others. Within a group the item of the highest
//! priority comes first, and of equal ones the earlier. Pure.

use std::collections::{HashMap, VecDeque};

#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    max_parallel: usize,
    max_per_group: usize,
    waiting: VecDeque<(String, VecDeque<(f64, T)>)>,
    in_progress: HashMap<String, usize>,
}

impl<T> FairQueue<T> {
    /// At most `max_parallel` in all and `max_per_group` of each group are in progress.
    pub(crate) fn new(max_parallel: usize, max_per_group: usize) -> Self {
        let (waiting, in_progress) = (VecDeque::new(), HashMap::new());
        Self { max_parallel, max_per_group, waiting, in_progress }
    }

    /// Adds an item to its group, behind those of at least its priority.
    pub(crate) fn push(&mut self, group: &str, priority: f64, item: T) {
        match self.waiting.iter_mut().find(|(name, _)| name == group) {
            Some((_, items)) => {
                let place = items.partition_point(|(other, _)| *other >= priority);
                items.insert(place, (priority, item));
            }
            None => self.waiting.push_back((group.to_owned(), VecDeque::from([(priority, item)]))),
        }
    }

    /// The next item to start, with its group; `None` if nothing waits, or a limit is
    /// reached.
    pub(crate) fn start(&mut self) -> Option<(String, T)> {
        if self.in_progress.values().sum::<usize>() >= self.max_parallel {
            return None;
        }
        let free = |group: &str| {
            self.in_progress.get(group).is_none_or(|in_progress| *in_progress < self.max_per_group)
        };
        let index = self.waiting.iter().position(|(group, _)| free(group))?;
        let (group, mut items) = self.waiting.remove(index)?;
        let (_, item) = items.pop_front()?;
        *self.in_progress.entry(group.clone()).or_default() += 1;
        if !items.is_empty() {
            // The other groups come first now.
            self.waiting.push_back((group.clone(), items));
        }
        Some((group, item))
    }

    /// An item of this group has ended.
    pub(crate) fn end(&mut self, group: &str) {
        if let Some(in_progress) = self.in_progress.get_mut(group) {
            *in_progress = in_progress.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &mut FairQueue<u32>) -> Vec<(String, u32)> {
        std::iter::from_fn(|| queue.start()).collect()
    }

    #[test]
    fn groups_are_taken_in_turn_and_each_keeps_its_order() {
        let mut queue = FairQueue::new(100, 100);
        for (group, item) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)] {
            queue.push(group, 1.0, item);
        }
        let order: Vec<u32> = all(&mut queue).into_iter().map(|(_, item)| item).collect();
        assert_eq!(order, [1, 4, 5, 2, 6, 3]);
    }

    #[test]
    fn the_highest_priority_of_a_group_comes_first() {
        let mut queue = FairQueue::new(100, 100);
        for (priority, item) in [(2.0, 1), (8.9, 2), (5.0, 3), (8.9, 4)] {
            queue.push("a", priority, item);
        }
        queue.push("b", 1.0, 5);
        let order: Vec<u32> = all(&mut queue).into_iter().map(|(_, item)| item).collect();
        assert_eq!(order, [2, 5, 4, 3, 1]);
    }

    #[test]
    fn a_group_never_exceeds_its_limit() {
        let mut queue = FairQueue::new(6, 4);
        for item in 0..10 {
            queue.push("storm", 1.0, item);
        }
        queue.push("quiet", 1.0, 100);
        let started = all(&mut queue);
        assert_eq!(started.len(), 5, "four of the storm, and the quiet one: {started:?}");
        assert!(started.contains(&("quiet".to_owned(), 100)));
        queue.end("quiet");
        assert_eq!(queue.start(), None, "the storm gains nothing by another's end");
        queue.end("storm");
        assert_eq!(queue.start(), Some(("storm".to_owned(), 4)));
    }

    #[test]
    fn all_groups_together_never_exceed_the_limit() {
        let mut queue = FairQueue::new(3, 4);
        for item in 0..5_u32 {
            queue.push(&item.to_string(), 1.0, item);
        }
        assert_eq!(all(&mut queue).len(), 3);
        queue.end("1");
        assert_eq!(all(&mut queue).len(), 1);
    }
}
