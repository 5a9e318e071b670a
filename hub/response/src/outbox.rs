//! The outbox: pending notifications of a response, one item for each channel. Pure.
//!
//! An item is written in the transaction that changes the state, and deleted when
//! it was delivered; the sweep delivers what was not delivered in time.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::backoff::wait_after;
use crate::notice::Notice;
use crate::record::{ApprovalCause, Response, ResponseId, State};
use crate::status;
use firebreak_model::finding::SecurityHubId;

/// Where a notification goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// Security Hub, with the present state of the response: an older state never
    /// overwrites a newer one.
    SecurityHub,
    /// GuardDuty: archives the finding of a contained target, unless it is
    /// unresolved at another target, and unarchives it after an undo.
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

/// One pending notification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboxItem {
    /// The response that it is about.
    pub response: ResponseId,
    /// The response's revision that it is about.
    pub revision: u64,
    pub channel: Channel,
    /// When it was written.
    pub created: Timestamp,
    /// How often delivery was tried; the count is the condition of the next claim.
    #[serde(default)]
    pub tries: u32,
    /// The findings that are still pending at Security Hub; empty means all of
    /// the response's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<SecurityHubId>,
    /// The notice for a topic or a bus, as it was when the item was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
}

/// The key of an [`OutboxItem`] in the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OutboxKey {
    /// The partition key.
    pub pk: String,
    /// The sort key.
    pub sk: String,
}

/// How long delivery is retried for a finding that Security Hub does not have:
/// GuardDuty's own event can be minutes ahead of the import.
pub const UNKNOWN_AT_MOST: SignedDuration = SignedDuration::from_mins(30);

/// How long any other delivery is retried.
pub const TRIED_AT_MOST: SignedDuration = SignedDuration::from_hours(24);

/// How long archiving of a finding with several targets is delayed: GuardDuty confirms
/// no archived finding, and a target whose message is delivered again is decided
/// minutes after the others.
const ALL_DECIDED_AFTER: SignedDuration = SignedDuration::from_mins(30);

impl OutboxItem {
    /// The items for a response in its present state, for the channels that are enabled.
    pub fn of(response: &Response, channels: &[Channel], now: Timestamp) -> Vec<Self> {
        let mut outbox_items = Vec::new();
        let known = response.security_hub_ids().next().is_some();
        for channel in channels {
            let applies = match channel {
                Channel::SecurityHub => known && status::of(response).is_some(),
                Channel::Archive => known && archive_change(response).is_some(),
                Channel::Topic | Channel::Bus => false,
            };
            if applies {
                outbox_items.push(Self::new(response, *channel, now));
            }
        }
        // All responses that wait because one budget is spent share one notice.
        let asked =
            response.approval.as_ref().filter(|_| response.state == State::AwaitingApproval);
        if asked.is_some_and(|approval| approval.cause == ApprovalCause::Budget) {
            return outbox_items;
        }
        if let Some(notice) = Notice::of_response(response) {
            outbox_items.extend(Self::notices(response, &notice, channels, now));
        }
        outbox_items
    }

    /// A notice about a response, over the enabled channels.
    pub fn notices(
        response: &Response,
        notice: &Notice,
        channels: &[Channel],
        now: Timestamp,
    ) -> Vec<Self> {
        let for_people = |channel: &&Channel| matches!(channel, Channel::Topic | Channel::Bus);
        let channels = channels.iter().filter(for_people);
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

    /// Its key in the table.
    pub fn key(&self) -> OutboxKey {
        OutboxKey { pk: format!("outbox#{}", self.response), sk: self.sort_key() }
    }

    fn sort_key(&self) -> String {
        let key = format!("{:06}#{}", self.revision, self.channel.name());
        // One revision may have several notices.
        match &self.notice {
            Some(notice) => format!("{key}#{}", notice.kind.name()),
            None => key,
        }
    }

    /// When delivery is tried again after a failure at `now`: each wait is twice the
    /// one before, from 15 seconds to 10 minutes.
    pub fn again_at(&self, now: Timestamp) -> Timestamp {
        now + wait_after(self.tries)
    }
}

/// Before this time GuardDuty does not archive the response's findings; `None` if
/// there is nothing to wait for.
pub fn archive_not_before(one: &OutboxItem, response: &Response) -> Option<Timestamp> {
    let waits = archive_change(response) == Some(Archive::Into) && !response.siblings.is_empty();
    waits.then(|| one.created + ALL_DECIDED_AFTER)
}

/// Whether a response in its present state archives or unarchives its findings in
/// GuardDuty; `None` if neither.
pub fn archive_change(response: &Response) -> Option<Archive> {
    match response.state {
        // A person has to look at what stays open.
        State::Contained if !response.residual().is_empty() => None,
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

/// The change of findings in GuardDuty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Archive {
    /// They are archived.
    Into,
    /// They are taken out of the archive.
    OutOf,
}
