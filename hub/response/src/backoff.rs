//! How long to wait before something is tried again.

use jiff::SignedDuration;

/// The wait after so many tries: 15 seconds, doubled each time, at most 10 minutes.
pub(crate) fn wait_after(tries: u32) -> SignedDuration {
    SignedDuration::from_secs(15_i64.saturating_mul(1 << tries.min(6)).min(600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_twice_the_one_before_up_to_ten_minutes() {
        let waits: Vec<i64> = (0..9).map(|tries| wait_after(tries).as_secs()).collect();
        assert_eq!(waits, [15, 30, 60, 120, 240, 480, 600, 600, 600]);
        assert_eq!(wait_after(u32::MAX).as_secs(), 600);
    }
}
