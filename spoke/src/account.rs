//! The clients of one account and Region, under one assumed session.
//! A client is handed out only with a permit, so no call escapes the pace.

use aws_credential_types::Credentials;
use aws_smithy_runtime::client::retries::RetryPartition;
use aws_types::SdkConfig;

use crate::pace::{Class, Pace};
use crate::resource::{AccountId, Partition, Region};

/// One account and Region, seen through one session of the spoke role.
#[derive(Debug)]
pub struct Account {
    /// The account.
    pub id: AccountId,
    /// The Region of the regional clients.
    pub region: Region,
    /// The partition.
    pub partition: Partition,
    pace: Pace,
    ec2: aws_sdk_ec2::Client,
    iam: aws_sdk_iam::Client,
    s3: aws_sdk_s3::Client,
    s3control: aws_sdk_s3control::Client,
}

impl Account {
    /// Builds the clients. `config` brings the HTTP client, timeouts, retry
    /// settings and clock; Region and credentials in it are replaced. Retry
    /// tokens are this session's own: the SDK shares them by service and Region
    /// otherwise, so that one throttled account would starve the rest.
    pub fn new(
        config: &SdkConfig,
        credentials: &Credentials,
        id: AccountId,
        region: Region,
        partition: Partition,
        pace: Pace,
    ) -> Self {
        // A function cannot be generic over the SDKs' unrelated builders.
        macro_rules! client {
            ($sdk:ident) => {{
                let retries = RetryPartition::custom(format!(
                    "{}/{id}/{region}/{}",
                    stringify!($sdk),
                    credentials.access_key_id()
                ))
                .build();
                let built = $sdk::config::Builder::from(config)
                    .region($sdk::config::Region::new(region.to_string()))
                    .credentials_provider(credentials.clone())
                    .identity_cache($sdk::config::IdentityCache::no_cache())
                    .retry_partition(retries)
                    .build();
                $sdk::Client::from_conf(built)
            }};
        }
        Self {
            ec2: client!(aws_sdk_ec2),
            iam: client!(aws_sdk_iam),
            s3: client!(aws_sdk_s3),
            s3control: client!(aws_sdk_s3control),
            id,
            region,
            partition,
            pace,
        }
    }

    /// EC2, once the pace allows a call of this class.
    pub async fn ec2(&self, class: Class) -> &aws_sdk_ec2::Client {
        self.pace.permit(&self.id, &self.region, class).await;
        &self.ec2
    }

    /// IAM, once the pace allows a call of this class.
    pub async fn iam(&self, class: Class) -> &aws_sdk_iam::Client {
        self.pace.permit(&self.id, &self.region, class).await;
        &self.iam
    }

    /// S3, once the pace allows a call.
    pub async fn s3(&self) -> &aws_sdk_s3::Client {
        self.pace.permit(&self.id, &self.region, Class::S3).await;
        &self.s3
    }

    /// S3 Control, once the pace allows a call.
    pub async fn s3control(&self) -> &aws_sdk_s3control::Client {
        self.pace.permit(&self.id, &self.region, Class::S3Control).await;
        &self.s3control
    }
}
