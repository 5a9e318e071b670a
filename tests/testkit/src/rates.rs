//! How close calls came to the rates that AWS documents.

use std::collections::BTreeMap;

use firebreak_simulation::{CallRecord, throttle};
use jiff::Timestamp;

/// The times of calls by what draws on one bucket, in milliseconds.
#[derive(Debug, Default)]
pub struct Rates {
    times: BTreeMap<(String, String, &'static str), Vec<u32>>,
}

/// Where the highest share was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peak {
    /// The calls in the worst stretch of time, over what the bucket gives in it.
    pub share: f64,
    /// Account, Region and class of calls.
    pub whose: String,
    /// How many calls there were.
    pub calls: usize,
}

impl Rates {
    /// Counts calls; throttled ones as well: they draw on the caller's welcome.
    pub fn count(&mut self, calls: &[CallRecord], began: Timestamp) {
        for call in calls {
            let Some((class, _, _)) = throttle::class(&call.service, &call.operation) else {
                continue;
            };
            let key = (call.account.clone(), call.region.clone(), class);
            let since = call.began.duration_since(began).as_millis();
            self.times.entry(key).or_default().push(u32::try_from(since).unwrap_or(u32::MAX));
        }
    }

    /// The highest share of a bucket that was used: over all stretches of time
    /// the calls in it by the bucket's size and what was refilled meanwhile.
    pub fn peak(&self, only: impl Fn(&str) -> bool) -> Peak {
        let mut peak = Peak::default();
        for ((account, region, class), times) in &self.times {
            let Some((_, size, refill)) = bucket(class).filter(|_| only(account)) else { continue };
            let share = share(times, size, refill);
            if share > peak.share {
                let whose = format!("{account} {region} {class}");
                peak = Peak { share, whose, calls: times.len() };
            }
        }
        peak
    }
}

/// A class's bucket, by one of its operations.
fn bucket(class: &str) -> Option<(&'static str, f64, f64)> {
    let operations = [
        ("ec2", "ModifyNetworkInterfaceAttribute"),
        ("ec2", "CreateTags"),
        ("ec2", "AssociateIamInstanceProfile"),
        ("ec2", "DescribeInstances"),
        ("ec2", "CreateSecurityGroup"),
        ("organizations", "DescribeAccount"),
        ("organizations", "ListParents"),
        ("organizations", "ListAccounts"),
        ("securityhub", "BatchUpdateFindings"),
        ("securityhub", "GetFindings"),
        ("sts", "AssumeRole"),
    ];
    let mut classes = operations.iter().filter_map(|(of, name)| throttle::class(of, name));
    classes.find(|(name, _, _)| *name == class)
}

/// The smallest factor by which the bucket would have to be as large as it is
/// to let all of the calls through.
fn share(times: &[u32], size: f64, refill: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    let fits = |factor: f64| {
        // What is missing in the bucket after each call.
        let (mut missing, mut last) = (0.0_f64, 0);
        times.iter().all(|at| {
            let passed = f64::from(at - last) / 1_000.0;
            missing = (missing - passed * refill * factor).max(0.0) + 1.0;
            last = *at;
            missing <= size * factor
        })
    };
    let (mut low, mut high) = (0.0, 1.0);
    while !fits(high) {
        low = high;
        high *= 2.0;
    }
    for _ in 0..30 {
        let middle = f64::midpoint(low, high);
        if fits(middle) { high = middle } else { low = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_as_large_as_the_bucket_is_all_of_it() {
        let share = share(&[0; 50], 50.0, 5.0);
        assert!((share - 1.0).abs() < 0.001, "{share}");
    }

    #[test]
    fn what_is_refilled_meanwhile_counts() {
        // A hundred calls over ten seconds: 50 at once and 5 each second.
        let times: Vec<u32> = (0..100).map(|nth| nth * 100).collect();
        let share = share(&times, 50.0, 5.0);
        assert!((share - 100.0 / 99.5).abs() < 0.02, "{share}");
    }

    #[test]
    fn a_call_an_hour_is_next_to_nothing() {
        let times: Vec<u32> = (0..10).map(|nth| nth * 3_600_000).collect();
        assert!(share(&times, 50.0, 5.0) < 0.03);
    }
}
