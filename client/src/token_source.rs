//! Where the tokens of the rate limits come from.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::rate_limit::Limit;
use crate::token_bucket::TokenBuckets;

/// Tokens that a process wants of one bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The bucket's name among its owner's.
    pub bucket: String,
    pub limit: Limit,
    /// At least one, and not more than the bucket holds.
    pub count: u32,
    /// Whether nothing at all is taken unless this bucket is full.
    pub only_if_full: bool,
}

impl Wanted {
    /// So many tokens, as soon as the bucket has them.
    pub fn tokens(bucket: String, limit: Limit, count: u32) -> Self {
        Self { bucket, limit, count, only_if_full: false }
    }
}

/// What the source gives of one bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Tokens: after which time each may be used.
    Tokens(Vec<Duration>),
    /// None: too many wait for a token already, or another process has the turn.
    AskAgainIn(Duration),
}

/// Why the source gave nothing. It has been logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// The future of [`TokenSource::take`].
pub type Taking<'a> = Pin<Box<dyn Future<Output = Result<Vec<Grant>, Unavailable>> + Send + 'a>>;

/// Where tokens come from: the hub's table, for all its processes, or this process.
pub trait TokenSource: fmt::Debug + Send + Sync {
    /// Takes tokens of an owner's buckets; a grant for each, in their order.
    fn take<'a>(&'a self, owner: &'a str, wanted: &'a [Wanted]) -> Taking<'a>;
}

/// The buckets of this process alone: of commands that only read, and of GuardDuty's calls.
#[derive(Debug, Default)]
pub(crate) struct LocalTokens {
    buckets: Mutex<HashMap<Size, Arc<TokenBuckets<String>>>>,
}

/// Burst and interval.
type Size = (u32, Duration);

impl LocalTokens {
    fn buckets(&self, limit: Limit) -> Arc<TokenBuckets<String>> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let size = NonZeroU32::new(limit.burst).unwrap_or(NonZeroU32::MIN);
        let new = || Arc::new(TokenBuckets::new(size, limit.interval));
        buckets.entry((limit.burst, limit.interval)).or_insert_with(new).clone()
    }
}

impl TokenSource for LocalTokens {
    fn take<'a>(&'a self, owner: &'a str, wanted: &'a [Wanted]) -> Taking<'a> {
        Box::pin(async move {
            let mut grants = Vec::new();
            for Wanted { bucket, limit, count, only_if_full } in wanted {
                // A turn is between processes, and here is one.
                if *only_if_full {
                    grants.push(Grant::Tokens(vec![Duration::ZERO]));
                    continue;
                }
                let buckets = self.buckets(*limit);
                let key = format!("{owner} {bucket}");
                // One, and more only if they are there: who wants one more waits for it.
                buckets.permit(&key).await;
                let more = (1..*count).take_while(|_| buckets.try_permit(&key)).count();
                grants.push(Grant::Tokens(vec![Duration::ZERO; more + 1]));
            }
            Ok(grants)
        })
    }
}
