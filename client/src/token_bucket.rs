//! Token buckets, one for each key. They use tokio's clock, so that paused time in tests
//! applies to them.

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

#[derive(Clone, Debug)]
struct TokioClock(tokio::time::Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

pub(crate) struct TokenBuckets<K: Hash + Eq + Clone> {
    clock: TokioClock,
    limiter: RateLimiter<K, DashMapStateStore<K>, TokioClock, NoOpMiddleware<Duration>>,
}

impl<K: Hash + Eq + Clone> TokenBuckets<K> {
    /// Buckets of `size` tokens that get a new token each `every`; zero counts as a
    /// nanosecond, which is no limit in practice.
    pub(crate) fn new(size: NonZeroU32, every: Duration) -> Self {
        let clock = TokioClock(tokio::time::Instant::now());
        let every = every.max(Duration::from_nanos(1));
        let quota = Quota::with_period(every).unwrap_or(Quota::per_second(NonZeroU32::MIN));
        let store = DashMapStateStore::default();
        let limiter = RateLimiter::new(quota.allow_burst(size), store, clock.clone());
        Self { clock, limiter }
    }

    /// Takes a token of this key's bucket if there is one.
    pub(crate) fn try_permit(&self, key: &K) -> bool {
        self.limiter.check_key(key).is_ok()
    }

    /// Takes a token of this key's bucket, after waiting for it if necessary.
    pub(crate) async fn permit(&self, key: &K) {
        while let Err(early) = self.limiter.check_key(key) {
            let wait = early.earliest_possible().duration_since(self.clock.now());
            tokio::time::sleep(wait.into()).await;
        }
        // The bucket of an unused key is full, so it can be dropped to save memory.
        if self.limiter.len() > 4_096 {
            self.limiter.retain_recent();
        }
    }
}

impl<K: Hash + Eq + Clone> fmt::Debug for TokenBuckets<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Buckets").field("keys", &self.limiter.len()).finish_non_exhaustive()
    }
}
