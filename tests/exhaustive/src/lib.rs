//! Work that several threads take from one list: each piece is a simulated world of its
//! own, on a clock of its own.

#![expect(clippy::unwrap_used, reason = "a suite that cannot start its threads fails")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The simulated AWS answers on its caller's stack, in frames that are not optimized.
const STACK: usize = 8 * 1_024 * 1_024;

/// Does each piece of work; the results in the order of the work.
///
/// # Panics
///
/// When a thread cannot be started.
pub fn in_parallel<T: Sync, R: Send>(work: &[T], each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let worker = || {
                loop {
                    let nth = next.fetch_add(1, Ordering::SeqCst);
                    let Some(one) = work.get(nth) else { break };
                    let result = each(one);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((nth, result));
                }
            };
            let builder = std::thread::Builder::new().stack_size(STACK);
            builder.spawn_scoped(scope, worker).unwrap();
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(nth, _)| *nth);
    results.into_iter().map(|(_, result)| result).collect()
}
