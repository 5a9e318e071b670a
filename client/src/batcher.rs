//! Batches concurrent lookups (DataLoader): callers that arrive at the same moment, or while
//! as many calls run as may, share the next call. So a storm of findings costs one call for
//! dozens of lookups instead of one each, and a lone caller does not wait.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

/// A lookup and its result.
#[derive(Debug)]
struct Asked<K, V, E> {
    key: K,
    answer: OnceLock<Result<Option<V>, E>>,
    /// Whether a call for it is running.
    claimed: AtomicBool,
    /// There is an answer, or its call was dropped.
    changed: Notify,
}

impl<K, V, E> Asked<K, V, E> {
    fn claim(&self) -> bool {
        self.answer.get().is_none() && !self.claimed.swap(true, Ordering::AcqRel)
    }
}

/// The lookups of a running call. Where it is dropped, another call is made for them.
struct Claimed<K, V, E>(Vec<Arc<Asked<K, V, E>>>);

impl<K, V, E> Drop for Claimed<K, V, E> {
    fn drop(&mut self) {
        for asked in &self.0 {
            asked.claimed.store(false, Ordering::Release);
            asked.changed.notify_one();
        }
    }
}

/// The lookups that wait for a call.
#[derive(Debug)]
pub struct LookupBatcher<K, V, E> {
    waiting: Mutex<Vec<Weak<Asked<K, V, E>>>>,
    calls: Semaphore,
    at_most: usize,
    linger: Duration,
}

impl<K: Clone + Eq + Hash, V: Clone, E: Clone> LookupBatcher<K, V, E> {
    /// Batches up to `at_most` lookups in one call, and makes up to `calls` calls at once.
    pub fn new(at_most: usize, calls: usize) -> Self {
        let calls = Semaphore::new(calls);
        Self { waiting: Mutex::default(), calls, at_most, linger: Duration::ZERO }
    }

    /// Waits for so long for others before each call: for what is not urgent.
    #[must_use]
    pub fn lingering(self, linger: Duration) -> Self {
        Self { linger, ..self }
    }

    /// Looks up one key. `call` looks up several, and its result lacks the keys that do
    /// not exist. If it fails, every lookup in the batch gets the error.
    pub async fn ask<F>(&self, key: K, call: impl Fn(Vec<K>) -> F) -> Result<Option<V>, E>
    where
        F: Future<Output = Result<HashMap<K, V>, E>>,
    {
        let asked = Arc::new(Asked {
            key,
            answer: OnceLock::new(),
            claimed: AtomicBool::new(false),
            changed: Notify::new(),
        });
        self.waiting().push(Arc::downgrade(&asked));
        if self.linger.is_zero() {
            // The other messages of a batch are handled in the same task and ask now.
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(self.linger).await;
        }
        loop {
            if let Some(answer) = asked.answer.get() {
                return answer.clone();
            }
            let permit = tokio::select! {
                biased;
                // There is an answer, or the call that had this key was dropped.
                () = asked.changed.notified() => continue,
                permit = self.calls.acquire() => permit,
            };
            if asked.claim() {
                // Boxed, so that those who wait do not carry the frame of a call.
                return Box::pin(self.call(&asked, call)).await;
            }
            // Another caller's call is about this key too.
            drop(permit);
            asked.changed.notified().await;
        }
    }

    /// Makes one call for a claimed lookup and for others that wait.
    async fn call<F>(
        &self,
        asked: &Asked<K, V, E>,
        call: impl Fn(Vec<K>) -> F,
    ) -> Result<Option<V>, E>
    where
        F: Future<Output = Result<HashMap<K, V>, E>>,
    {
        let others = {
            let mut waiting = self.waiting();
            // A caller that stopped waiting, or has its answer, leaves the list.
            waiting.retain(|it| it.upgrade().is_some_and(|it| it.answer.get().is_none()));
            let others = waiting.iter().filter_map(Weak::upgrade);
            Claimed(others.filter(|it| it.claim()).take(self.at_most.saturating_sub(1)).collect())
        };
        let mut keys = vec![asked.key.clone()];
        for other in &others.0 {
            if !keys.contains(&other.key) {
                keys.push(other.key.clone());
            }
        }
        let answers = Box::pin(call(keys)).await;
        let answer = |key: &K| match &answers {
            Ok(found) => Ok(found.get(key).cloned()),
            Err(error) => Err(error.clone()),
        };
        for other in &others.0 {
            other.answer.get_or_init(|| answer(&other.key));
        }
        answer(&asked.key)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Asked<K, V, E>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

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
        let (together, calls) = (Halves::new(50, 1), AtomicUsize::new(0));
        let asks = (0..101).map(|key| together.ask(key, |keys| halves(keys, &calls)));
        for (key, answer) in (0..101).zip(join_all(asks).await) {
            assert_eq!(answer, Ok((key % 2 == 0).then_some(key / 2)), "{key}");
        }
        // The first call has 50 keys, the second 50, the third the last one.
        assert_eq!(calls.into_inner(), 3);
        assert!(together.waiting().iter().all(|it| it.upgrade().is_none()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_later_does_not_wait_while_another_call_may_run() {
        let (together, calls) = (Halves::new(50, 2), AtomicUsize::new(0));
        let began = tokio::time::Instant::now();
        let later = async |key: u32, millis| {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            let answer = together.ask(key, |keys| halves(keys, &calls)).await;
            assert_eq!(answer, Ok(Some(key / 2)));
            began.elapsed().as_millis()
        };
        let ended = tokio::join!(later(2, 0), later(4, 5), later(6, 6), later(8, 10));
        assert_eq!(ended, (20, 25, 40, 40));
        assert_eq!(calls.into_inner(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_urgent_waits_for_others() {
        let (together, calls) =
            (Halves::new(50, 2).lingering(Duration::from_millis(10)), AtomicUsize::new(0));
        let later = async |key: u32, millis| {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            together.ask(key, |keys| halves(keys, &calls)).await
        };
        let answers = tokio::join!(later(2, 0), later(4, 5), later(6, 9));
        assert_eq!(answers, (Ok(Some(1)), Ok(Some(2)), Ok(Some(3))));
        assert_eq!(calls.into_inner(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_call_leaves_no_caller_waiting_for_ever() {
        let (together, calls) = (Halves::new(50, 1), AtomicUsize::new(0));
        let ask = |key| together.ask(key, |keys| halves(keys, &calls));
        let (dropped, kept) =
            tokio::join!(tokio::time::timeout(Duration::from_millis(10), ask(2)), ask(4),);
        assert!(dropped.is_err());
        assert_eq!(kept, Ok(Some(2)));
        assert!(together.waiting().iter().all(|it| it.upgrade().is_none()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_call_is_made_again_where_more_calls_may_run() {
        for calls in [1, 2, 3] {
            let (together, made) = (Halves::new(50, calls), AtomicUsize::new(0));
            let ask = |key| together.ask(key, |keys| halves(keys, &made));
            let asked = async {
                tokio::join!(
                    tokio::time::timeout(Duration::from_millis(10), ask(2)),
                    ask(4),
                    ask(6),
                )
            };
            let (dropped, kept, other) =
                tokio::time::timeout(Duration::from_secs(1), asked).await.unwrap();
            assert!(dropped.is_err());
            assert_eq!((kept, other), (Ok(Some(2)), Ok(Some(3))), "{calls}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_caller_of_a_failed_call_gets_its_error() {
        let together = Halves::new(50, 1);
        let ask = |key| together.ask(key, |_| async { Err("throttled") });
        let (first, second) = tokio::join!(ask(1), ask(2));
        assert_eq!((first.is_err(), second.is_err()), (true, true));
        assert!(together.waiting().iter().all(|it| it.upgrade().is_none()));
    }
}
