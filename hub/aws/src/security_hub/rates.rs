//! Rate limits for Security Hub. Its quotas apply to the administrator's account in each
//! Region; the processes of the hub share them evenly.

use std::num::NonZeroU32;

use firebreak_client::rate_limit::RegionalRate;
use firebreak_model::resource::Region;

/// Burst, and calls per second: "BatchUpdateFindings: 10 requests per second,
/// burst 30" (Security Hub user guide, "Quotas").
const WRITES: (u32, u32) = (30, 10);
/// "GetFindings: 3 requests per second, burst 6" (same).
const READS: (u32, u32) = (6, 3);

/// The token buckets of this process, by Region. No rates are published for the calls on OCSF
/// findings: they draw on the same buckets.
#[derive(Debug)]
pub(super) struct Rates {
    reads: RegionalRate,
    writes: RegionalRate,
}

impl Rates {
    pub(super) fn new(concurrency: NonZeroU32) -> Self {
        let share = |(burst, refill)| RegionalRate::new(burst, refill, concurrency);
        Self { reads: share(READS), writes: share(WRITES) }
    }

    /// Waits until a read may be made.
    pub(super) async fn read(&self, region: &Region) {
        self.reads.permit(region).await;
    }

    /// Waits until an update may be made.
    pub(super) async fn write(&self, region: &Region) {
        self.writes.permit(region).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn millis(calls: u32, concurrency: u32) -> (u128, u128) {
        let rates = Rates::new(NonZeroU32::new(concurrency).unwrap());
        let region: Region = "eu-central-1".parse().unwrap();
        let start = tokio::time::Instant::now();
        for _ in 0..calls {
            rates.read(&region).await;
        }
        let read = start.elapsed().as_millis();
        for _ in 0..calls {
            rates.write(&region).await;
        }
        (read, start.elapsed().as_millis() - read)
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_keeps_to_its_share_of_the_documented_rates() {
        let near = |is: (u128, u128), expected: (u128, u128)| {
            let close = |a: u128, b: u128| a.abs_diff(b) <= 40;
            assert!(close(is.0, expected.0) && close(is.1, expected.1), "{is:?} {expected:?}");
        };
        // 6 and 30 at once; then 3 and 10 a second.
        near(millis(6, 1).await, (0, 0));
        near(millis(36, 1).await, (10_000, 600));
        // Two processes: half of both. Ten: less than one read a second each.
        near(millis(6, 2).await, (2_000, 0));
        near(millis(4, 10).await, (10_000, 1_000));
    }
}
