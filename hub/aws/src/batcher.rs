//! Batches concurrent lookups (DataLoader): callers that arrive while a call runs share
//! the next call, and a lone caller does not wait. So a storm of findings costs one
//! call for dozens of lookups instead of one each.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use crate::error::HubError;

/// A lookup and its result.
#[derive(Debug)]
struct Asked<K, V> {
    key: K,
    answer: OnceLock<Result<Option<V>, HubError>>,
}

/// The lookups that wait for the next call.
#[derive(Debug)]
pub(super) struct LookupBatcher<K, V> {
    waiting: Mutex<Vec<Weak<Asked<K, V>>>>,
    turn: tokio::sync::Mutex<()>,
    at_most: usize,
}

impl<K: Clone + Eq + Hash, V: Clone> LookupBatcher<K, V> {
    /// Batches up to `at_most` lookups in one call.
    pub(super) fn new(at_most: usize) -> Self {
        Self { waiting: Mutex::default(), turn: tokio::sync::Mutex::default(), at_most }
    }

    /// Looks up one key. `call` looks up several, and its result lacks the keys that do
    /// not exist. If it fails, every lookup in the batch gets the error.
    pub(super) async fn ask<F>(
        &self,
        key: K,
        call: impl Fn(Vec<K>) -> F,
    ) -> Result<Option<V>, HubError>
    where
        F: Future<Output = Result<HashMap<K, V>, HubError>>,
    {
        let asked = Arc::new(Asked { key, answer: OnceLock::new() });
        self.waiting().push(Arc::downgrade(&asked));
        let _turn = self.turn.lock().await;
        if let Some(answer) = asked.answer.get() {
            return answer.clone();
        }
        // A caller that stopped waiting is not in the list any more. The others stay in
        // it until they have a result, because this call may be dropped.
        let mut batch = vec![asked.clone()];
        batch.extend(
            self.waiting()
                .iter()
                .filter_map(Weak::upgrade)
                .filter(|other| !Arc::ptr_eq(other, &asked) && other.answer.get().is_none())
                .take(self.at_most.saturating_sub(1)),
        );
        let mut keys: Vec<K> = Vec::new();
        for key in batch.iter().map(|asked| &asked.key) {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        let answers = call(keys).await;
        for asked in &batch {
            let answer = match &answers {
                Ok(found) => Ok(found.get(&asked.key).cloned()),
                Err(error) => Err(error.clone()),
            };
            asked.answer.get_or_init(|| answer);
        }
        self.waiting().retain(|it| it.upgrade().is_some_and(|it| it.answer.get().is_none()));
        match asked.answer.get() {
            Some(answer) => answer.clone(),
            None => Err(HubError::transient("the look-up was not answered")),
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Asked<K, V>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures::future::join_all;

    use super::*;

    /// Only even numbers exist; their value is their half.
    async fn halves(keys: Vec<u32>, calls: &AtomicUsize) -> Result<HashMap<u32, u32>, HubError> {
        calls.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(keys.into_iter().filter(|key| key % 2 == 0).map(|key| (key, key / 2)).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_during_a_call_is_made_by_the_next_call() {
        let (together, calls) = (LookupBatcher::new(50), AtomicUsize::new(0));
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
        let (together, calls) = (LookupBatcher::new(50), AtomicUsize::new(0));
        let ask = |key| together.ask(key, |keys| halves(keys, &calls));
        let (dropped, kept) =
            tokio::join!(tokio::time::timeout(Duration::from_millis(10), ask(2)), ask(4),);
        assert!(dropped.is_err());
        assert_eq!(kept, Ok(Some(2)));
        assert!(together.waiting().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn every_caller_of_a_failed_call_gets_its_error() {
        let together: LookupBatcher<u32, u32> = LookupBatcher::new(50);
        let ask = |key| together.ask(key, |_| async { Err(HubError::transient("throttled")) });
        let (first, second) = tokio::join!(ask(1), ask(2));
        assert_eq!((first.is_err(), second.is_err()), (true, true));
        assert!(together.waiting().is_empty());
    }
}
