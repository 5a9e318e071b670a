//! The clients of one account and Region, under one assumed session.
//! A client is handed out only with a permit of the rate limits, so that every call
//! keeps to them. Each is built when first needed: a response needs two or three.

use std::sync::{Arc, OnceLock};

use aws_credential_types::Credentials;
use aws_smithy_runtime::client::retries::RetryPartition;
use aws_types::SdkConfig;

use std::time::Duration;

use firebreak_client::deadline::Deadline;
use firebreak_client::deadline_client::Limits;
use firebreak_client::grant::SessionGrant;
use firebreak_client::rate_limit::{Class, RateLimits, Urgency};
use firebreak_model::resource::{AccountId, Partition, Region};

use crate::support::ec2::reads::Reads;
use crate::support::ec2::tracked_connections::KnownVpcs;
use crate::support::eks::known_principals::ClusterReads;

/// One account and Region, seen through one session of the spoke role.
#[derive(Clone, Debug)]
pub struct AccountSession {
    pub id: AccountId,
    /// The Region of the regional clients.
    pub region: Region,
    pub partition: Partition,
    /// The session, for what is not called through an SDK: a cluster's API.
    pub(crate) credentials: Credentials,
    pub(crate) config: SdkConfig,
    /// The limits for calls of a cluster's API: they need a client of their own,
    /// which trusts the cluster's certificate authority.
    pub(crate) clusters: Option<Limits>,
    rate_limits: RateLimits,
    deadline: Deadline,
    /// How urgent the calls are.
    urgency: Urgency,
    pub(crate) reads: Arc<Reads>,
    pub(crate) cluster_reads: Arc<ClusterReads>,
    pub(crate) known_vpcs: Arc<KnownVpcs>,
    clients: Arc<Clients>,
}

// A function cannot be generic over the SDKs' unrelated builders.
macro_rules! client {
    ($account:expr, $sdk:ident) => {
        client!($account, $sdk, &$account.region)
    };
    ($account:expr, $sdk:ident, $region:expr) => {{
        let AccountSession { id, credentials, config, .. } = $account;
        let region: &Region = $region;
        let key = credentials.access_key_id();
        let retries = format!("{}/{id}/{region}/{key}", stringify!($sdk));
        let built = $sdk::config::Builder::from(config)
            .region($sdk::config::Region::new(region.to_string()))
            .credentials_provider(credentials.clone())
            .identity_cache($sdk::config::IdentityCache::no_cache())
            .retry_partition(RetryPartition::custom(retries).build())
            .build();
        $sdk::Client::from_conf(built)
    }};
}

macro_rules! clients {
    ($($(#[$doc:meta])* $name:ident, $sdk:ident, $class:expr;)*) => {
        #[derive(Debug, Default)]
        struct Clients {
            ec2: OnceLock<aws_sdk_ec2::Client>,
            iam: OnceLock<aws_sdk_iam::Client>,
            $($name: OnceLock<$sdk::Client>,)*
        }

        impl AccountSession {
            $(
                $(#[$doc])*
                pub async fn $name(&self) -> &$sdk::Client {
                    self.permit($class).await;
                    self.clients.$name.get_or_init(|| client!(self, $sdk))
                }
            )*
        }
    };
}

clients! {
    /// S3, once the rate limits allow a call.
    s3, aws_sdk_s3, Class::S3;
    /// S3 Control, once the rate limits allow a call.
    s3control, aws_sdk_s3control, Class::S3Control;
    /// Application Auto Scaling, once the rate limits allow a call.
    application_autoscaling, aws_sdk_applicationautoscaling, Class::AutoScaling;
    /// EC2 Auto Scaling, once the rate limits allow a call.
    autoscaling, aws_sdk_autoscaling, Class::AutoScaling;
    /// Elastic Load Balancing for Classic Load Balancers, once the rate limits allow a call.
    elb, aws_sdk_elasticloadbalancing, Class::LoadBalancing;
    /// Elastic Load Balancing for target groups, once the rate limits allow a call.
    elbv2, aws_sdk_elasticloadbalancingv2, Class::LoadBalancing;
    /// RDS, once the rate limits allow a call.
    rds, aws_sdk_rds, Class::Rds;
    /// Lambda, once the rate limits allow a call.
    lambda, aws_sdk_lambda, Class::Lambda;
    /// ECS, once the rate limits allow a call.
    ecs, aws_sdk_ecs, Class::Ecs;
    /// EKS, once the rate limits allow a call.
    eks, aws_sdk_eks, Class::Eks;
    /// Systems Manager, once the rate limits allow a call.
    ssm, aws_sdk_ssm, Class::Ssm;
    /// AWS WAF, once the rate limits allow a call.
    wafv2, aws_sdk_wafv2, Class::Waf;
}

impl AccountSession {
    /// An account under a session.
    /// Retry tokens are this session's own: the SDK shares them by service and
    /// Region otherwise, so that one throttled account would starve the rest.
    pub fn new(grant: SessionGrant<'_>) -> Self {
        let SessionGrant {
            config,
            credentials,
            account,
            region,
            partition,
            rate_limits,
            deadline,
            clusters,
        } = grant;
        Self {
            id: account,
            region,
            partition,
            credentials: credentials.clone(),
            config: config.clone(),
            clusters,
            rate_limits,
            urgency: Urgency::default(),
            reads: Arc::default(),
            cluster_reads: Arc::default(),
            known_vpcs: Arc::default(),
            deadline,
            clients: Arc::default(),
        }
    }

    /// The same session for calls of this urgency.
    #[must_use]
    pub fn with_urgency(&self, urgency: Urgency) -> Self {
        Self { urgency, ..self.clone() }
    }

    /// How urgent the calls are.
    pub(crate) fn urgency(&self) -> Urgency {
        self.urgency
    }

    /// EC2, once the rate limits allow a call of this class.
    pub async fn ec2(&self, class: Class) -> &aws_sdk_ec2::Client {
        self.permit(class).await;
        self.ec2_permitted()
    }

    /// IAM, once the rate limits allow a call of this class.
    pub async fn iam(&self, class: Class) -> &aws_sdk_iam::Client {
        self.permit(class).await;
        self.clients.iam.get_or_init(|| client!(self, aws_sdk_iam))
    }

    /// S3 in the Region of a bucket, once the rate limits allow a call. Buckets are
    /// seldom in another Region than the session's, so this client is not kept.
    pub(crate) async fn s3_in(&self, region: &Region) -> aws_sdk_s3::Client {
        if *region == self.region {
            return self.s3().await.clone();
        }
        self.permit(Class::S3).await;
        client!(self, aws_sdk_s3, region)
    }

    /// Waits until so many calls of this class may be made one right after the other.
    pub(crate) async fn permits(&self, class: Class, calls: usize) {
        let kind = (class, self.urgency);
        self.rate_limits.permit(&self.id, &self.region, kind, calls).await;
    }

    /// Whether there is time for work of this length.
    pub(crate) fn has_time(&self, work: Duration) -> bool {
        self.deadline.allows(work)
    }

    /// EC2, for calls that [`permits`](Self::permits) has allowed.
    pub(crate) fn ec2_permitted(&self) -> &aws_sdk_ec2::Client {
        self.clients.ec2.get_or_init(|| client!(self, aws_sdk_ec2))
    }

    pub(crate) async fn permit(&self, class: Class) {
        self.permits(class, 1).await;
    }
}
