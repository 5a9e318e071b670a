//! Fair queue: round-robin by account with a concurrency limit for each account:
//! groups (accounts) are taken in turn, and none of them may have more than its
//! share under way, so that the storm of one does not delay the others. Within a
//! group the order stays. Pure.

use std::collections::{HashMap, VecDeque};

/// What waits, by group, and how many of each are under way.
#[derive(Debug)]
pub struct FairQueue<T> {
    at_once: usize,
    of_one_group: usize,
    waiting: VecDeque<(String, VecDeque<T>)>,
    under_way: HashMap<String, usize>,
}

impl<T> FairQueue<T> {
    /// At most `at_once` in all and `of_one_group` of each group are under way.
    pub fn new(at_once: usize, of_one_group: usize) -> Self {
        let (waiting, under_way) = (VecDeque::new(), HashMap::new());
        Self { at_once, of_one_group, waiting, under_way }
    }

    /// Puts an item at the end of its group.
    pub fn push(&mut self, group: &str, item: T) {
        match self.waiting.iter_mut().find(|(name, _)| name == group) {
            Some((_, items)) => items.push_back(item),
            None => self.waiting.push_back((group.to_owned(), VecDeque::from([item]))),
        }
    }

    /// The next item that may be started, with its group; `None` when nothing
    /// waits or nothing may be started before something has ended.
    pub fn start(&mut self) -> Option<(String, T)> {
        if self.under_way.values().sum::<usize>() >= self.at_once {
            return None;
        }
        let free = |group: &str| {
            self.under_way.get(group).is_none_or(|under_way| *under_way < self.of_one_group)
        };
        let index = self.waiting.iter().position(|(group, _)| free(group))?;
        let (group, mut items) = self.waiting.remove(index)?;
        let item = items.pop_front()?;
        *self.under_way.entry(group.clone()).or_default() += 1;
        if !items.is_empty() {
            // Behind all others: they come first now.
            self.waiting.push_back((group.clone(), items));
        }
        Some((group, item))
    }

    /// An item of this group has ended.
    pub fn end(&mut self, group: &str) {
        if let Some(under_way) = self.under_way.get_mut(group) {
            *under_way = under_way.saturating_sub(1);
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
            queue.push(group, item);
        }
        let order: Vec<u32> = all(&mut queue).into_iter().map(|(_, item)| item).collect();
        assert_eq!(order, [1, 4, 5, 2, 6, 3]);
    }

    #[test]
    fn one_group_has_no_more_than_its_share_under_way() {
        let mut queue = FairQueue::new(6, 4);
        for item in 0..10 {
            queue.push("storm", item);
        }
        queue.push("quiet", 100);
        let started = all(&mut queue);
        assert_eq!(started.len(), 5, "four of the storm, and the quiet one: {started:?}");
        assert!(started.contains(&("quiet".to_owned(), 100)));
        queue.end("quiet");
        assert_eq!(queue.start(), None, "the storm gains nothing by another's end");
        queue.end("storm");
        assert_eq!(queue.start(), Some(("storm".to_owned(), 4)));
    }

    #[test]
    fn no_more_than_all_together_are_under_way() {
        let mut queue = FairQueue::new(3, 4);
        for item in 0..5_u32 {
            queue.push(&item.to_string(), item);
        }
        assert_eq!(all(&mut queue).len(), 3);
        queue.end("1");
        assert_eq!(all(&mut queue).len(), 1);
    }
}
