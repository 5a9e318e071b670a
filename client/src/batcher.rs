//! Batches concurrent lookups (DataLoader): callers that arrive at the same moment, or while
//! a call runs, share the next call. So a storm of findings costs one call for dozens of
//! lookups instead of one each, and a lone caller does not wait.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// A lookup and its result.
#[derive(Debug)]
struct Asked<K, V, E> {
    key: K,
    answer: OnceLock<Result<Option<V>, E>>,
}

/// The lookups that wait for the next call.
#[derive(Debug)]
pub struct LookupBatcher<K, V, E> {
    waiting: Mutex<Vec<Weak<Asked<K, V, E>>>>,
    turn: tokio::sync::Mutex<()>,
    at_most: usize,
}

impl<K: Clone + Eq + Hash, V: Clone, E: Clone> LookupBatcher<K, V, E> {
    /// Batches up to `at_most` lookups in one call.
    pub fn new(at_most: usize) -> Self {
        Self { waiting: Mutex::default(), turn: tokio::sync::Mutex::default(), at_most }
    }

    /// Looks up one key. `call` looks up several, and its result lacks the keys that do
    /// not exist. If it fails, every lookup in the batch gets the error.
    pub async fn ask<F>(&self, key: K, call: impl Fn(Vec<K>) -> F) -> Result<Option<V>, E>
    where
        F: Future<Output = Result<HashMap<K, V>, E>>,
    {
        let asked = Arc::new(Asked { key, answer: OnceLock::new() });
        self.waiting().push(Arc::downgrade(&asked));
        // The other messages of a batch are handled in the same task and ask now.
        tokio::task::yield_now().await;
        let _turn = self.turn.lock().await;
        if let Some(answer) = asked.answer.get() {
            return answer.clone();
        }
        // A caller that stopped waiting is not in the list any more. The others stay in
        // it until they have a result, because this call may be dropped.
        let others: Vec<Arc<Asked<K, V, E>>> = self
            .waiting()
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|other| !Arc::ptr_eq(other, &asked) && other.answer.get().is_none())
            .take(self.at_most.saturating_sub(1))
            .collect();
        let mut keys = vec![asked.key.clone()];
        for other in &others {
            if !keys.contains(&other.key) {
                keys.push(other.key.clone());
            }
        }
        let answers = call(keys).await;
        let answer = |key: &K| match &answers {
            Ok(found) => Ok(found.get(key).cloned()),
            Err(error) => Err(error.clone()),
        };
        for other in &others {
            other.answer.get_or_init(|| answer(&other.key));
        }
        let of_asked = answer(&asked.key);
        // Dropped first, so that this lookup leaves the list.
        drop(asked);
        self.waiting().retain(|it| it.upgrade().is_some_and(|it| it.answer.get().is_none()));
        of_asked
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Asked<K, V, E>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures::future::join_all;

    use super::*;

    type Halves = LookupBatcher<u32, u32, &'static str>;

    /// Only even numbers exist; their value is their half.
    async fn halves(
        keys: Vec<u32>,
        calls: &AtomicUsize,
    ) -> Result<HashMap<u32, u32>, &'static str> {
        calls.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(keys.into_iter().filter(|key| key % 2 == 0).map(|key| (key, key / 2)).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_during_a_call_is_made_by_the_next_call() {
        let (together, calls) = (Halves::new(50), AtomicUsize::new(0));
        let asks = (0..101).map(|key| together.ask(key, |keys| halves(keys, &calls)));
        for (key, answer) in (0..101).zip(join_all(asks).await) {
            assert_eq!(answer, Ok((key % 2 == 0).then_some(key / 2)), "{key}");
        }
        // The first call has 50 keys, the second 50, the third the last one.
        assert_eq!(calls.into_inner(), 3);
        assert!(together.waiting().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_call_leaves_no_caller_waiting_for_ever() {
        let (together, calls) = (Halves::new(50), AtomicUsize::new(0));
        let ask = |key| together.ask(key, |keys| halves(keys, &calls));
        let (dropped, kept) =
            tokio::join!(tokio::time::timeout(Duration::from_millis(10), ask(2)), ask(4),);
        assert!(dropped.is_err());
        assert_eq!(kept, Ok(Some(2)));
        assert!(together.waiting().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn every_caller_of_a_failed_call_gets_its_error() {
        let together = Halves::new(50);
        let ask = |key| together.ask(key, |_| async { Err("throttled") });
        let (first, second) = tokio::join!(ask(1), ask(2));
        assert_eq!((first.is_err(), second.is_err()), (true, true));
        assert!(together.waiting().is_empty());
    }
}
