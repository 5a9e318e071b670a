//! What is still to be told of a response, and to whom. Pure.
//!
//! It is written in the transaction that makes it true and deleted once it was
//! told; what nobody told in time is found by the sweep.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::notice::Notice;
use crate::record::{Because, Response, ResponseId, State};
use crate::status;
use firebreak_model::finding::SecurityHubId;

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// Security Hub, how the response stands now: an older word is never
    /// written over a newer one.
    SecurityHub,
    /// GuardDuty, to archive the finding of what is contained, unless it stands
    /// open at another target, and to take it out of the archive after an undo.
    Archive,
    /// The SNS topic: a notice.
    Topic,
    /// The EventBridge bus: a notice as an event.
    Bus,
}

impl Channel {
    /// The word in keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::SecurityHub => "security-hub",
            Self::Archive => "archive",
            Self::Topic => "topic",
            Self::Bus => "bus",
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
    /// What is told to a topic or a bus, as it was when it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
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

/// For how long a finding with several targets is not archived: GuardDuty
/// confirms no archived finding, and a target whose message comes again is
/// decided minutes after the others.
const ALL_DECIDED_AFTER: SignedDuration = SignedDuration::from_mins(30);

impl Outgoing {
    /// What there is to tell of a response as it stands, over the channels that
    /// there are.
    pub fn of(response: &Response, channels: &[Channel], now: Timestamp) -> Vec<Self> {
        let mut outgoing = Vec::new();
        let known = response.security_hub_ids().next().is_some();
        for channel in channels {
            let tells = match channel {
                Channel::SecurityHub => known && status::of(response).is_some(),
                Channel::Archive => known && archives(response).is_some(),
                Channel::Topic | Channel::Bus => false,
            };
            if tells {
                outgoing.push(Self::new(response, *channel, now));
            }
        }
        // Of what waits because a budget is spent, one notice tells for all.
        let asked =
            response.approval.as_ref().filter(|_| response.state == State::AwaitingApproval);
        if asked.is_some_and(|approval| approval.because == Because::Budget) {
            return outgoing;
        }
        if let Some(notice) = Notice::of_response(response) {
            outgoing.extend(Self::notices(response, &notice, channels, now));
        }
        outgoing
    }

    /// A notice about a response, over the channels that there are.
    pub fn notices(
        response: &Response,
        notice: &Notice,
        channels: &[Channel],
        now: Timestamp,
    ) -> Vec<Self> {
        let told = |channel: &&Channel| matches!(channel, Channel::Topic | Channel::Bus);
        let channels = channels.iter().filter(told);
        let with = |channel: &Channel| Self {
            notice: Some(notice.clone()),
            ..Self::new(response, *channel, now)
        };
        channels.map(with).collect()
    }

    fn new(response: &Response, channel: Channel, now: Timestamp) -> Self {
        Self {
            response: response.id.clone(),
            revision: response.revision,
            channel,
            created: now,
            tries: 0,
            findings: Vec::new(),
            notice: None,
        }
    }

    /// Where it is kept.
    pub fn key(&self) -> OutgoingKey {
        OutgoingKey { pk: format!("outbox#{}", self.response), sk: self.sort_key() }
    }

    fn sort_key(&self) -> String {
        let key = format!("{:06}#{}", self.revision, self.channel.name());
        // One revision may be told of in several ways.
        match &self.notice {
            Some(notice) => format!("{key}#{}", notice.kind.name()),
            None => key,
        }
    }

    /// When it is tried again after having failed at `now`: each wait is twice
    /// the one before, from 15 seconds to 10 minutes.
    pub fn again_at(&self, now: Timestamp) -> Timestamp {
        let seconds = 15_i64.saturating_mul(1 << self.tries.min(6)).min(600);
        now + SignedDuration::from_secs(seconds)
    }
}

/// Until when GuardDuty is not told of a response as it stands; `None` where
/// there is nothing to wait for.
pub fn archived_from(one: &Outgoing, response: &Response) -> Option<Timestamp> {
    let waits = archives(response) == Some(Archive::Into) && !response.beside.is_empty();
    waits.then(|| one.created + ALL_DECIDED_AFTER)
}

/// Whether GuardDuty is to archive the findings of a response as it stands, or
/// to take them out of the archive; `None` where neither is called for.
pub fn archives(response: &Response) -> Option<Archive> {
    match response.state {
        State::Contained => Some(Archive::Into),
        State::Undone | State::Expired => Some(Archive::OutOf),
        State::Observed
        | State::Refused
        | State::AwaitingApproval
        | State::Denied
        | State::Running
        | State::Completed
        | State::PartiallyContained
        | State::Failed
        | State::Undoing => None,
    }
}

/// What becomes of findings in GuardDuty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archive {
    /// They are archived.
    Into,
    /// They are taken out of the archive.
    OutOf,
}
