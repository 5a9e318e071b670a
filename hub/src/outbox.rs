//! What is still to be told of a response, and to whom. Pure.
//!
//! It is written in the transaction that makes it true and deleted once it was
//! told; what nobody told in time is found by the sweep.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::finding::SecurityHubId;
use crate::record::{Response, ResponseId};
use crate::status;

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// Security Hub, how the response stands now: an older word is never
    /// written over a newer one.
    SecurityHub,
}

impl Channel {
    /// The word in keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::SecurityHub => "security-hub",
        }
    }
}

/// One thing to be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outgoing {
    /// The response that it is about.
    pub response: ResponseId,
    /// The response's revision that it tells of.
    pub revision: u64,
    /// To whom.
    pub channel: Channel,
    /// Since when it is to be told.
    pub created: Timestamp,
    /// How often it was tried; counts the takers, so that two at once are one.
    #[serde(default)]
    pub tries: u32,
    /// The findings that Security Hub still has to be told of; none is all of
    /// the response's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<SecurityHubId>,
}

/// Where an [`Outgoing`] is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OutgoingKey {
    /// The partition key.
    pub pk: String,
    /// The sort key.
    pub sk: String,
}

/// For how long Security Hub is asked about a finding that it does not know:
/// GuardDuty's own event can be minutes ahead of the import.
pub const UNKNOWN_AT_MOST: SignedDuration = SignedDuration::from_mins(30);

/// For how long anything else is tried.
pub const TRIED_AT_MOST: SignedDuration = SignedDuration::from_hours(24);

impl Outgoing {
    /// What a response's present revision is to be told to, at `now`.
    pub fn of(response: &Response, now: Timestamp) -> Vec<Self> {
        let mut outgoing = Vec::new();
        if status::of(response).is_some() && response.security_hub_ids().next().is_some() {
            outgoing.push(Self::new(response, Channel::SecurityHub, now));
        }
        outgoing
    }

    /// What is told when nobody answered a plan in time.
    pub fn asking_again(response: &Response, now: Timestamp) -> Vec<Self> {
        Self::of(response, now)
    }

    fn new(response: &Response, channel: Channel, now: Timestamp) -> Self {
        Self {
            response: response.id.clone(),
            revision: response.revision,
            channel,
            created: now,
            tries: 0,
            findings: Vec::new(),
        }
    }

    /// Where it is kept.
    pub fn key(&self) -> OutgoingKey {
        OutgoingKey {
            pk: format!("outbox#{}", self.response),
            sk: format!("{:06}#{}", self.revision, self.channel.name()),
        }
    }

    /// When it is tried again after having failed at `now`: each wait is twice
    /// the one before, from 15 seconds to 10 minutes.
    pub fn again_at(&self, now: Timestamp) -> Timestamp {
        let seconds = 15_i64.saturating_mul(1 << self.tries.min(6)).min(600);
        now + SignedDuration::from_secs(seconds)
    }
}
