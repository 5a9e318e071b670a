//! How much time is left of an invocation. Without time, no new work is started: messages
//! go back to the queue, and a response in progress is resumed from its record.
//!
//! The time before the deadline is divided so that a response that stops can still be
//! recorded:
//!
//! | before the deadline | what ends |
//! |---|---|
//! | [`NOTHING_NEW`] | starting messages |
//! | [`MEMBER_CALLS`] | calls into member accounts |
//! | [`HUB_CALLS`] | the hub's own calls, with which a response is handed back |
//! | [`HAND_BACK`] | everything: messages still in progress are dropped and reported as failed |

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// From this long before the deadline on, no message is started.
pub const NOTHING_NEW: Duration = Duration::from_secs(10);
/// How long before the deadline calls into member accounts end.
pub const MEMBER_CALLS: Duration = Duration::from_secs(6);
/// How long before the deadline the hub's own calls end.
pub const HUB_CALLS: Duration = Duration::from_secs(4);
/// How long before the deadline the result of the batch is returned.
pub const HAND_BACK: Duration = Duration::from_secs(3);

/// When the present invocation ends. Clones share it, and each invocation sets it. If it
/// is not set, as on the command line, time is unlimited.
#[derive(Clone, Debug, Default)]
pub struct Deadline(Arc<Mutex<Option<Instant>>>);

impl Deadline {
    pub fn set(&self, at: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The deadline minus a margin; `None` without a deadline.
    pub fn before(&self, margin: Duration) -> Option<Instant> {
        let at = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at.map(|at| at.checked_sub(margin).unwrap_or(at))
    }

    /// The remaining time; `None` without a deadline.
    pub fn left(&self) -> Option<Duration> {
        let at = self.before(Duration::ZERO)?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Whether there is time for work of this length in a member account. On `false` the
    /// caller records its state and hands back the rest.
    pub fn allows(&self, work: Duration) -> bool {
        self.left().is_none_or(|left| left >= MEMBER_CALLS.saturating_add(work))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margins_are_nested() {
        assert!(NOTHING_NEW > MEMBER_CALLS && MEMBER_CALLS > HUB_CALLS && HUB_CALLS > HAND_BACK);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_deadline_everything_is_allowed() {
        let deadline = Deadline::default();
        assert_eq!(deadline.left(), None);
        assert!(deadline.allows(Duration::from_secs(86_400)));
    }

    #[tokio::test(start_paused = true)]
    async fn clones_share_the_deadline_and_time_runs_out() {
        let deadline = Deadline::default();
        let shared = deadline.clone();
        deadline.set(Instant::now() + Duration::from_secs(20));
        assert_eq!(shared.left(), Some(Duration::from_secs(20)));
        assert!(shared.allows(Duration::from_secs(14)));
        assert!(!shared.allows(Duration::from_secs(15)));
        tokio::time::advance(Duration::from_secs(15)).await;
        assert!(!shared.allows(Duration::ZERO));
        tokio::time::advance(Duration::from_secs(15)).await;
        assert_eq!(shared.left(), Some(Duration::ZERO));
        deadline.clear();
        assert_eq!(shared.left(), None);
    }
}
