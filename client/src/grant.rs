//! A session that STS granted, from which the clients of a member account are built.

use aws_credential_types::Credentials;
use aws_types::SdkConfig;
use firebreak_model::resource::{AccountId, Partition, Region};

use crate::deadline::Deadline;
use crate::deadline_client::Limits;
use crate::rate_limit::RateLimits;

#[derive(Debug)]
pub struct SessionGrant<'a> {
    /// HTTP client, timeouts, retry settings and clock. Its Region and credentials are the
    /// hub's.
    pub config: &'a SdkConfig,
    pub credentials: &'a Credentials,
    /// The session's account, by the ARN that STS returned.
    pub account: AccountId,
    pub region: Region,
    pub partition: Partition,
    /// Shared by all sessions.
    pub rate_limits: RateLimits,
    /// When the present invocation ends.
    pub deadline: Deadline,
    /// The limits of calls to a cluster's API, which need a client that trusts only the
    /// cluster's certificate authority. Without limits these calls use the HTTP client of
    /// `config`.
    pub clusters: Option<Limits>,
}
