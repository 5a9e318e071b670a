//! A session as STS granted it: what the clients of a member account are built of.

use aws_credential_types::Credentials;
use aws_types::SdkConfig;
use firebreak_model::resource::{AccountId, Partition, Region};

use crate::deadline_client::Limits;
use crate::rate_limit::RateLimits;

/// A session as STS granted it: what the clients of an account are built of.
#[derive(Debug)]
pub struct Grant<'a> {
    /// HTTP client, timeouts, retry settings and clock; Region and credentials in
    /// it are the hub's own.
    pub config: &'a SdkConfig,
    /// The session's credentials.
    pub credentials: &'a Credentials,
    /// The account that STS says the session is of.
    pub account: AccountId,
    /// The Region that it was opened for.
    pub region: Region,
    /// The account's partition.
    pub partition: Partition,
    /// The rate limits that all sessions share.
    pub pace: RateLimits,
    /// What calls of a cluster's API keep to: they go through a client that trusts
    /// the cluster's own authority and no other. Without it they go through the HTTP
    /// client of `config`, where it has one.
    pub clusters: Option<Limits>,
}
