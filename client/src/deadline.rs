//! How much time is left of an invocation. Whoever has none left starts nothing
//! new: what is not begun goes back to the queue, what is begun is resumed from
//! its record.
//!
//! The time before the deadline is dealt out so that whoever stops can still
//! write down where:
//!
//! | before the deadline | what ends |
//! |---|---|
//! | [`NOTHING_NEW`] | no message is started any more |
//! | [`MEMBER_CALLS`] | calls into member accounts |
//! | [`HUB_CALLS`] | the hub's own calls, with which a response is handed back |
//! | [`HAND_BACK`] | everything: what still runs is dropped and reported as failed |

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long before the deadline nothing new is started.
pub const NOTHING_NEW: Duration = Duration::from_secs(10);
/// How long before the deadline calls into member accounts end.
pub const MEMBER_CALLS: Duration = Duration::from_secs(6);
/// How long before the deadline the hub's own calls end.
pub const HUB_CALLS: Duration = Duration::from_secs(4);
/// How long before the deadline the answer is given, whatever still runs.
pub const HAND_BACK: Duration = Duration::from_secs(3);

/// When the present invocation ends. Clones share it, and each invocation sets
/// it anew. Not set, as on a command line, there is no end.
#[derive(Clone, Debug, Default)]
pub struct Deadline(Arc<Mutex<Option<Instant>>>);

impl Deadline {
    /// From now on the work has to be done by `at`.
    pub fn set(&self, at: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// From now on there is no deadline.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The deadline less a margin; `None` where there is no deadline.
    pub fn before(&self, margin: Duration) -> Option<Instant> {
        let at = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at.map(|at| at.checked_sub(margin).unwrap_or(at))
    }

    /// The time that is left, zero when it is over; `None` where there is no
    /// deadline.
    pub fn left(&self) -> Option<Duration> {
        let at = self.before(Duration::ZERO)?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Whether work that takes this long in a member account can still be done:
    /// whoever gets `false` records where it stands and hands the rest back.
    pub fn allows(&self, work: Duration) -> bool {
        self.left().is_none_or(|left| left >= MEMBER_CALLS.saturating_add(work))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_dealt_out_from_the_outside_in() {
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
