//! Limits how fast Firebreak calls each account, over all processes of the hub together.
//!
//! AWS counts calls in token buckets, by account, Region and class of calls. Firebreak
//! has two buckets of its own for each of them. Containment may draw on most of the
//! documented one. Everything that can wait (protecting, collecting) may draw on the share
//! of the settings, so that it never delays a containment. Together they stay below the
//! documented bucket, and a tenth is left for the SDK's retries.
//!
//! A process takes a few tokens at a time from a [`TokenSource`]: the hub's table, which
//! all processes share, or a bucket of its own. It drops those that it does not use soon,
//! because AWS's bucket does not fill up further while tokens are kept.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use firebreak_model::resource::{AccountId, Region};
use tokio::time::{Instant, sleep, sleep_until};

use crate::token_source::{Grant, LocalTokens, TokenSource, Wanted};

/// Calls that draw on the same token bucket. For EC2 the classes and figures are those of
/// "Request throttling for the Amazon EC2 API" (EC2 API reference). Other services publish
/// no figures, or change them silently: theirs are deliberately low.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// The hub's own DescribeAccount: burst 30, 20/s (Organizations user guide, "Quotas").
    DescribeAccount,
    /// The hub's own ListParents: burst 8, 5/s (same).
    ListParents,
    /// The hub's own ListAccounts: burst 12, 8/s (same).
    ListAccounts,
    /// The hub's own GetFindings of Security Hub: burst 6, 3/s (Security Hub user guide,
    /// "Quotas"). No rates are published for the calls on OCSF findings: they draw on
    /// the same buckets.
    SecurityHubRead,
    /// The hub's own BatchUpdateFindings: burst 30, 10/s (same).
    SecurityHubUpdate,
    /// The hub's own AssumeRole: 600/s ("IAM and AWS STS quotas", IAM user guide).
    AssumeRole,
    /// The hub's own calls of GuardDuty, which publishes no rates: deliberately few in each
    /// process.
    GuardDuty,
}

impl Class {
    /// The whole bucket: its size, and its refill in calls per second.
    const fn bucket(self) -> (u32, u32) {
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
            Self::DescribeAccount => (30, 20),
            Self::ListParents => (8, 5),
            Self::ListAccounts => (12, 8),
            Self::SecurityHubRead => (6, 3),
            Self::SecurityHubUpdate => (30, 10),
            Self::AssumeRole => (600, 600),
            Self::GuardDuty => (20, 10),
        }
    }

    /// The class of a call in a member account, by its IAM action.
    pub fn of_action(action: &str) -> Option<Self> {
        let (service, name) = action.split_once(':')?;
        let reads = ["Describe", "Get", "List"].iter().any(|verb| name.starts_with(verb));
        Some(match (service, name) {
            ("ec2", "ModifyNetworkInterfaceAttribute") => Self::NetworkInterface,
            ("ec2", "CreateTags" | "DeleteTags") => Self::Tags,
            ("ec2", "AssociateIamInstanceProfile" | "DisassociateIamInstanceProfile") => {
                Self::InstanceProfile
            }
            ("ec2", _) if reads => Self::Ec2Read,
            ("ec2", _) => Self::Ec2Write,
            ("iam", _) if reads => Self::IamRead,
            ("iam", _) => Self::IamWrite,
            ("s3", "GetAccountPublicAccessBlock" | "PutAccountPublicAccessBlock") => {
                Self::S3Control
            }
            ("s3", _) => Self::S3,
            ("autoscaling" | "application-autoscaling", _) => Self::AutoScaling,
            ("elasticloadbalancing", _) => Self::LoadBalancing,
            ("rds", _) => Self::Rds,
            ("lambda", _) => Self::Lambda,
            ("ecs", _) => Self::Ecs,
            ("eks", _) => Self::Eks,
            ("ssm", _) => Self::Ssm,
            ("wafv2", _) => Self::Waf,
            _ => return None,
        })
    }

    /// Whether the bucket is the hub's own: nothing but the hub draws on it.
    fn is_of_the_hub(self) -> bool {
        matches!(
            self,
            Self::DescribeAccount
                | Self::ListParents
                | Self::ListAccounts
                | Self::SecurityHubRead
                | Self::SecurityHubUpdate
                | Self::AssumeRole
                | Self::GuardDuty
        )
    }

    /// Whether one endpoint serves all Regions, so that they share a bucket.
    fn is_global(self) -> bool {
        matches!(self, Self::IamRead | Self::IamWrite)
    }
}

/// Whether a call contains, or can wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Part of a containment or an undo, with the reads that they need.
    #[default]
    Contain,
    /// It protects or collects.
    Routine,
}

/// The percentage of a documented bucket that all of Firebreak's calls together may use.
/// The rest is for the SDK's retries, which take no token.
const USED: u32 = 90;

/// The same for Security Hub's reads: of a bucket of six, a tenth is less than a retry.
const USED_OF_SECURITY_HUB_READS: u32 = 70;

/// How long a process keeps a token that it does not use, at most.
const KEPT_AT_MOST: Duration = Duration::from_secs(2);

/// How many tokens a process takes at a time, at most: about what a response needs of one
/// class.
const TAKEN_AT_ONCE: u32 = 8;

/// How long to wait after a failure of the token source.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// One of Firebreak's buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many tokens it holds.
    pub burst: u32,
    /// The time in which it gets a token.
    pub interval: Duration,
    /// How long a token that was taken may be kept before it is used.
    pub kept: Duration,
}

/// The limit for a class. The tokens that are used in any stretch of time were taken in
/// it or up to `kept` before it, so what is refilled in that time is taken off the burst.
fn limit(class: Class, urgency: Urgency, routine_share: u32) -> Limit {
    let (bucket, refill) = class.bucket();
    let percent = match urgency {
        _ if class == Class::SecurityHubRead => USED_OF_SECURITY_HUB_READS,
        _ if class.is_of_the_hub() => USED,
        Urgency::Contain => USED.saturating_sub(routine_share),
        Urgency::Routine => routine_share,
    };
    let percent = percent.max(1);
    let kept = KEPT_AT_MOST.min(Duration::from_secs(1) * bucket / (3 * refill));
    let refilled = u64::from(refill) * u64::try_from(kept.as_millis()).unwrap_or(u64::MAX) / 1_000;
    let burst = u64::from(bucket).saturating_sub(refilled) * u64::from(percent) / 100;
    Limit {
        burst: u32::try_from(burst).unwrap_or(u32::MAX).max(1),
        interval: Duration::from_secs(100) / (percent * refill),
        kept,
    }
}

/// A bucket: whose calls, where, of which class, and how urgent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    owner: String,
    region: Region,
    class: Class,
    urgency: Urgency,
}

impl Key {
    fn new(owner: &str, region: &Region, class: Class, urgency: Urgency) -> Self {
        let region = if class.is_global() { Region::global() } else { region.clone() };
        let urgency = if class.is_of_the_hub() { Urgency::Contain } else { urgency };
        Self { owner: owner.to_owned(), region, class, urgency }
    }

    /// The bucket's name among its owner's.
    fn name(&self) -> String {
        format!("{:?}-{:?}-{}", self.class, self.urgency, self.region)
    }
}

/// A token that was taken.
#[derive(Clone, Copy, Debug)]
struct Token {
    usable: Instant,
    expires: Instant,
}

type Tokens = Arc<tokio::sync::Mutex<VecDeque<Token>>>;

/// How many buckets are remembered before unused ones are dropped.
const BUCKETS_REMEMBERED: usize = 4_096;

/// The rate limits of one process. Its tokens come from a source.
#[derive(Clone, Debug)]
pub struct RateLimits {
    source: Arc<dyn TokenSource>,
    /// For classes without a published rate in the hub's own account.
    local: Arc<LocalTokens>,
    routine_share: u32,
    taken: Arc<Mutex<HashMap<Key, Tokens>>>,
}

/// How long a turn lasts: longer than it takes to read a target and to claim it.
const TURN: Duration = Duration::from_secs(2);

/// The owner of the hub's own buckets.
const HUB: &str = "hub";

impl RateLimits {
    /// `routine_share` is the part of each documented bucket, in percent, that calls may use
    /// that can wait (10 to 20 does not disturb the members' workloads).
    pub fn new(source: Arc<dyn TokenSource>, routine_share: u32) -> Self {
        Self { source, local: Arc::default(), routine_share, taken: Arc::default() }
    }

    /// Limits for this process alone.
    pub fn local(routine_share: u32) -> Self {
        Self::new(Arc::new(LocalTokens::default()), routine_share)
    }

    /// Waits until so many more calls to this account and Region are allowed.
    pub async fn permit(
        &self,
        account: &AccountId,
        region: &Region,
        (class, urgency): (Class, Urgency),
        calls: usize,
    ) {
        self.take(Key::new(account.as_str(), region, class, urgency), calls).await;
    }

    /// Waits until one more call of the hub's own is allowed in this Region.
    pub async fn permit_hub(&self, region: &Region, class: Class) {
        self.take(Key::new(HUB, region, class, Urgency::Contain), 1).await;
    }

    /// Takes tokens that are going to be needed, with one call of the source, so that the
    /// calls themselves need not wait for it. Its failure is no error: each call takes
    /// its own token then.
    ///
    /// `false` if another process did so for the same `turn` just now: then nothing was
    /// taken. A turn is a bucket of one token that is refilled in two seconds.
    pub async fn reserve(
        &self,
        account: &AccountId,
        region: &Region,
        calls: &Calls,
        turn: Option<&str>,
    ) -> bool {
        self.reserve_of(account.as_str(), region, calls, turn).await
    }

    /// The same for one call of the hub's own.
    pub async fn reserve_hub(&self, region: &Region, class: Class) {
        let calls = Calls(BTreeMap::from([((class, Urgency::Contain), 1)]));
        self.reserve_of(HUB, region, &calls, None).await;
    }

    async fn reserve_of(
        &self,
        owner: &str,
        region: &Region,
        calls: &Calls,
        turn: Option<&str>,
    ) -> bool {
        // In the order of the keys, so that two that reserve never wait for each other.
        let mut reserved = Vec::new();
        for ((class, urgency), count) in &calls.0 {
            let key = Key::new(owner, region, *class, *urgency);
            let tokens = self.tokens(&key).lock_owned().await;
            let limit = self.limit(&key);
            let missing = (*count).min(limit.burst).saturating_sub(usable(&tokens));
            if missing > 0 {
                // The hub's own are for all accounts: some more than the one are used.
                let count = if owner == HUB { at_once(&limit) } else { missing };
                reserved.push((tokens, Wanted::tokens(key.name(), limit, count)));
            }
        }
        let mut wanted: Vec<Wanted> = reserved.iter().map(|(_, wanted)| wanted.clone()).collect();
        wanted.extend(turn.map(|turn| Wanted {
            bucket: format!("turn-{turn}"),
            limit: Limit { burst: 1, interval: TURN, kept: TURN },
            count: 1,
            only_if_full: true,
        }));
        if wanted.is_empty() {
            return true;
        }
        let Ok(grants) = self.source.take(owner, &wanted).await else { return true };
        let is_taken = |grant: &Grant| matches!(grant, Grant::AskAgainIn(_));
        let is_turn = turn.is_none() || !grants.last().is_some_and(is_taken);
        for ((mut tokens, wanted), grant) in reserved.into_iter().zip(grants) {
            if let Grant::Tokens(waits) = grant {
                add(&mut tokens, &waits, &wanted.limit);
            }
        }
        is_turn
    }

    async fn take(&self, key: Key, calls: usize) {
        let limit = self.limit(&key);
        let tokens = self.tokens(&key);
        let source: &dyn TokenSource = match key.class {
            Class::GuardDuty => &*self.local,
            _ => &*self.source,
        };
        let last = {
            // Who comes later waits here, and finds what was taken for all.
            let mut tokens = tokens.lock().await;
            let now = Instant::now();
            tokens.retain(|token| token.expires > now);
            while tokens.len() < calls {
                let missing = u32::try_from(calls - tokens.len()).unwrap_or(u32::MAX);
                let count = missing.max(at_once(&limit));
                let wanted = Wanted::tokens(key.name(), limit, count);
                match source.take(&key.owner, std::slice::from_ref(&wanted)).await {
                    Ok(grants) => {
                        for grant in grants {
                            match grant {
                                Grant::Tokens(waits) => add(&mut tokens, &waits, &limit),
                                Grant::AskAgainIn(wait) => sleep(wait).await,
                            }
                        }
                    }
                    // Without the source no call may be made.
                    Err(_) => sleep(RETRY_AFTER).await,
                }
            }
            tokens.drain(..calls).map(|token| token.usable).max()
        };
        if let Some(last) = last {
            sleep_until(last).await;
        }
    }

    fn limit(&self, key: &Key) -> Limit {
        limit(key.class, key.urgency, self.routine_share)
    }

    fn tokens(&self, key: &Key) -> Tokens {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() > BUCKETS_REMEMBERED {
            taken.retain(|_, tokens| Arc::strong_count(tokens) > 1);
        }
        taken.entry(key.clone()).or_default().clone()
    }
}

/// How many tokens are taken at a time.
fn at_once(limit: &Limit) -> u32 {
    TAKEN_AT_ONCE.min(limit.burst / 4).max(1)
}

fn usable(tokens: &VecDeque<Token>) -> u32 {
    let now = Instant::now();
    let usable = tokens.iter().filter(|token| token.expires > now).count();
    u32::try_from(usable).unwrap_or(u32::MAX)
}

fn add(tokens: &mut VecDeque<Token>, waits: &[Duration], limit: &Limit) {
    let now = Instant::now();
    tokens.extend(waits.iter().map(|wait| {
        let usable = now + *wait;
        Token { usable, expires: usable + limit.kept }
    }));
}

/// How many calls of each class are going to be made.
#[derive(Clone, Debug, Default)]
pub struct Calls(BTreeMap<(Class, Urgency), u32>);

impl Calls {
    /// Adds so many calls of a class.
    pub fn add(&mut self, class: Class, urgency: Urgency, calls: u32) {
        *self.0.entry((class, urgency)).or_default() += calls;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: [Class; 17] = [
        Class::Ec2Read,
        Class::Ec2Write,
        Class::NetworkInterface,
        Class::Tags,
        Class::InstanceProfile,
        Class::IamRead,
        Class::IamWrite,
        Class::S3,
        Class::S3Control,
        Class::AutoScaling,
        Class::LoadBalancing,
        Class::Rds,
        Class::Lambda,
        Class::Ecs,
        Class::Eks,
        Class::Ssm,
        Class::Waf,
    ];
    const OF_THE_HUB: [Class; 7] = [
        Class::DescribeAccount,
        Class::ListParents,
        Class::ListAccounts,
        Class::SecurityHubRead,
        Class::SecurityHubUpdate,
        Class::AssumeRole,
        Class::GuardDuty,
    ];

    async fn millis_for(calls: u32, account: &str, limits: &RateLimits, kind: Urgency) -> u128 {
        let start = Instant::now();
        let account: AccountId = account.parse().unwrap();
        let region: Region = "eu-central-1".parse().unwrap();
        for _ in 0..calls {
            limits.permit(&account, &region, (Class::Ec2Write, kind), 1).await;
        }
        start.elapsed().as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn one_account_waits_for_its_bucket_and_another_does_not() {
        // 70 % of bucket 50, less what is refilled in two seconds: 28 at once, then 3.5 a
        // second.
        let limits = RateLimits::local(20);
        assert_eq!(millis_for(28, "111111111111", &limits, Urgency::Contain).await, 0);
        let seven = millis_for(7, "111111111111", &limits, Urgency::Contain).await;
        assert!((1_900..=2_100).contains(&seven), "{seven}");
        assert_eq!(millis_for(28, "222222222222", &limits, Urgency::Contain).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_wait_never_delays_a_containment() {
        let limits = RateLimits::local(20);
        assert!(millis_for(20, "111111111111", &limits, Urgency::Routine).await > 5_000);
        assert_eq!(millis_for(28, "111111111111", &limits, Urgency::Contain).await, 0);
    }

    #[test]
    fn all_calls_together_stay_below_the_documented_bucket() {
        for share in [1, 10, 20, 50] {
            for class in MEMBER.into_iter().chain(OF_THE_HUB) {
                let (bucket, refill) = class.bucket();
                let kinds: &[Urgency] = match class.is_of_the_hub() {
                    true => &[Urgency::Contain],
                    false => &[Urgency::Contain, Urgency::Routine],
                };
                let limits = kinds.iter().map(|kind| limit(class, *kind, share));
                let (mut at_once, mut each_second) = (0.0, 0.0);
                for Limit { burst, interval, kept } in limits {
                    let rate = 1.0 / interval.as_secs_f64();
                    at_once += f64::from(burst) + rate * kept.as_secs_f64();
                    each_second += rate;
                }
                assert!(at_once <= f64::from(bucket), "{class:?} {share}: {at_once}");
                assert!(each_second <= f64::from(refill), "{class:?} {share}: {each_second}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_was_not_used_soon_is_dropped() {
        let limits = RateLimits::local(20);
        let (account, region) = ("111111111111".parse().unwrap(), "eu-central-1".parse().unwrap());
        let mut calls = Calls::default();
        calls.add(Class::Ec2Write, Urgency::Contain, 4);
        assert!(limits.reserve(&account, &region, &calls, Some("i-1")).await);
        let key = Key::new("111111111111", &region, Class::Ec2Write, Urgency::Contain);
        assert_eq!(usable(&*limits.tokens(&key).lock().await), 4);
        tokio::time::advance(KEPT_AT_MOST).await;
        assert_eq!(usable(&*limits.tokens(&key).lock().await), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn iam_has_one_bucket_for_all_regions() {
        let limits = RateLimits::local(20);
        let account: AccountId = "111111111111".parse().unwrap();
        let start = Instant::now();
        for region in ["eu-central-1", "us-east-1", "eu-west-1"] {
            let region: Region = region.parse().unwrap();
            limits.permit(&account, &region, (Class::IamWrite, Urgency::Contain), 8).await;
        }
        assert!(start.elapsed() > Duration::from_secs(2), "{:?}", start.elapsed());
    }
}
