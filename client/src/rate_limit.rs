//! Limits the calls to each account to a share of the rates that AWS documents, because
//! the members' own workloads draw on the same buckets.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::token_bucket::TokenBuckets;
use firebreak_model::resource::{AccountId, Region};

/// Calls that draw on the same token bucket. For EC2 the classes and figures are those of
/// "Request throttling for the Amazon EC2 API" (EC2 API reference). Other services publish
/// no figures, or change them silently: theirs are deliberately low.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// EC2 Describe* with a filter or ids: bucket 100, refill 20/s.
    Ec2Read,
    /// EC2 mutations without a bucket of their own: bucket 50, refill 5/s.
    Ec2Write,
    /// ModifyNetworkInterfaceAttribute: bucket 100, refill 5/s.
    NetworkInterface,
    /// CreateTags, DeleteTags: bucket 100, refill 10/s.
    Tags,
    /// Associate- and DisassociateIamInstanceProfile: bucket 100, refill 5/s.
    InstanceProfile,
    /// IAM reads.
    IamRead,
    /// IAM writes: a few each second.
    IamWrite,
    /// S3's bucket-level settings.
    S3,
    /// S3 Control's account-level settings.
    S3Control,
    /// EC2 Auto Scaling.
    AutoScaling,
    /// Elastic Load Balancing, both generations.
    LoadBalancing,
    /// RDS.
    Rds,
    /// Lambda's control plane: 15 calls/s in all (Lambda quotas).
    Lambda,
    /// ECS.
    Ecs,
    /// EKS, and the Kubernetes API of its clusters.
    Eks,
    /// Systems Manager.
    Ssm,
    /// AWS WAF.
    Waf,
}

impl Class {
    const ALL: [Self; 17] = [
        Self::Ec2Read,
        Self::Ec2Write,
        Self::NetworkInterface,
        Self::Tags,
        Self::InstanceProfile,
        Self::IamRead,
        Self::IamWrite,
        Self::S3,
        Self::S3Control,
        Self::AutoScaling,
        Self::LoadBalancing,
        Self::Rds,
        Self::Lambda,
        Self::Ecs,
        Self::Eks,
        Self::Ssm,
        Self::Waf,
    ];

    /// The whole bucket: its size, and its refill in calls per second.
    fn bucket(self) -> (u32, u32) {
        match self {
            Self::Ec2Read => (100, 20),
            Self::Ec2Write => (50, 5),
            Self::NetworkInterface | Self::InstanceProfile => (100, 5),
            Self::Tags => (100, 10),
            Self::IamRead => (50, 20),
            Self::IamWrite => (25, 5),
            Self::S3
            | Self::S3Control
            | Self::AutoScaling
            | Self::LoadBalancing
            | Self::Rds
            | Self::Ecs
            | Self::Eks
            | Self::Ssm => (50, 10),
            Self::Lambda => (30, 15),
            Self::Waf => (10, 5),
        }
    }
}

type Key = (AccountId, Region);

/// The approximate number of calls of one class in a response.
const CALLS_PER_RESPONSE: u32 = 8;

/// The part of a bucket, in percent, up to which the share is raised for a single response.
const MAX_RAISED_SHARE: u32 = 50;

/// The limit of one process, in thousandths of a call: its part of the share of
/// `documented`. A lower limit is raised to `least`, but at most to its part of
/// [`MAX_RAISED_SHARE`].
fn thousandths(documented: u32, share: u32, least: u32, concurrency: NonZeroU32) -> u32 {
    let part = |percent: u32| documented.saturating_mul(percent).saturating_mul(10) / concurrency;
    part(share).max(least.saturating_mul(1_000).min(part(MAX_RAISED_SHARE)))
}

/// The rate limits of one process, by class, account and Region.
#[derive(Clone, Debug)]
pub struct RateLimits {
    limiters: Arc<Vec<(Class, TokenBuckets<Key>)>>,
}

impl RateLimits {
    /// `share` is the part of each documented bucket that Firebreak may use, in percent (10
    /// to 20 does not disturb the members' workloads). It is divided by `concurrency`, the
    /// number of processes that run at the same time.
    ///
    /// If the result is less than a single response needs (eight calls at once, then one a
    /// second), it is raised, but all processes together never draw more than half of the
    /// documented rate in one account: the more processes, the longer each waits. The one
    /// exception: each process can always make one call at once, so with very many processes
    /// the first calls together can exceed half a bucket.
    pub fn new(share: u32, concurrency: NonZeroU32) -> Self {
        let limiters = Class::ALL
            .into_iter()
            .map(|class| {
                let (bucket, refill) = class.bucket();
                let size = thousandths(bucket, share, CALLS_PER_RESPONSE, concurrency) / 1_000;
                let each_second = thousandths(refill, share, 1, concurrency);
                let every = Duration::from_secs(1_000) / each_second.max(1);
                (class, TokenBuckets::new(NonZeroU32::new(size).unwrap_or(NonZeroU32::MIN), every))
            })
            .collect();
        Self { limiters: Arc::new(limiters) }
    }

    /// Waits until one more call to this account and Region is allowed.
    pub async fn permit(&self, account: &AccountId, region: &Region, class: Class) {
        let key = (account.clone(), region.clone());
        for (_, limiter) in self.limiters.iter().filter(|(of, _)| *of == class) {
            limiter.permit(&key).await;
        }
    }
}

/// One rate limit in each Region, for calls in the hub's own account.
#[derive(Clone, Debug)]
pub struct RegionalRate(Arc<TokenBuckets<Region>>);

impl RegionalRate {
    /// A bucket of this size and refill per second, divided by the number of processes that
    /// run at the same time.
    pub fn new(bucket: u32, refill: u32, concurrency: NonZeroU32) -> Self {
        let size = NonZeroU32::new(bucket / concurrency).unwrap_or(NonZeroU32::MIN);
        let every = Duration::from_secs(1) * concurrency.get() / refill.max(1);
        Self(Arc::new(TokenBuckets::new(size, every)))
    }

    /// Waits until one more call to this Region is allowed.
    pub async fn permit(&self, region: &Region) {
        self.0.permit(region).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn seconds_for(calls: u32, account: &str, pace: &RateLimits) -> u64 {
        let start = tokio::time::Instant::now();
        let account: AccountId = account.parse().unwrap();
        let region: Region = "eu-central-1".parse().unwrap();
        for _ in 0..calls {
            pace.permit(&account, &region, Class::Ec2Write).await;
        }
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn one_account_waits_at_its_share_and_another_does_not() {
        // 20 % of bucket 50 and refill 5/s: a burst of 10, then one a second.
        let pace = RateLimits::new(20, NonZeroU32::MIN);
        assert_eq!(seconds_for(10, "111111111111", &pace).await, 0);
        assert_eq!(seconds_for(5, "111111111111", &pace).await, 5);
        assert_eq!(seconds_for(10, "222222222222", &pace).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_too_small_for_a_single_response_is_raised() {
        // The share is raised to half the bucket of 50: 25 calls for three processes
        // together.
        let pace = RateLimits::new(1, NonZeroU32::new(3).unwrap());
        assert_eq!(seconds_for(8, "111111111111", &pace).await, 0);
        // Then the processes divide half of the refill of 5 a second by three.
        assert_eq!(seconds_for(5, "111111111111", &pace).await, 6);
    }

    #[test]
    fn all_processes_together_never_draw_more_than_half_or_the_share() {
        for class in Class::ALL {
            let (bucket, refill) = class.bucket();
            for (share, processes) in [(1, 1), (20, 2), (20, 6), (20, 51), (80, 7), (100, 3)] {
                let concurrency = NonZeroU32::new(processes).unwrap();
                let most = share.max(MAX_RAISED_SHARE);
                for (given, least) in [(bucket, CALLS_PER_RESPONSE), (refill, 1)] {
                    let all = thousandths(given, share, least, concurrency) * processes;
                    assert!(all <= given * most * 10, "{class:?} {share} {processes} {all}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn very_many_processes_wait_longer_instead_of_drawing_more() {
        // Half of the refill of 5 a second, divided by 50 processes, is one call in 20
        // seconds.
        let pace = RateLimits::new(20, NonZeroU32::new(50).unwrap());
        assert_eq!(seconds_for(4, "111111111111", &pace).await, 60);
    }
}
