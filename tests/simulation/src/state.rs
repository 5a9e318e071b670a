//! All that the simulated organization is, as plain data.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::account::Regions;
use crate::caller::{Caller, Session};
use crate::cloudformation::CloudFormation;
use crate::ec2::model::Ec2;
use crate::events::Events;
use crate::guardduty::GuardDuty;
use crate::iam::model::Iam;
use crate::monitoring::Monitoring;
use crate::organizations::Organizations;
use crate::regional::{self, Regional};
use crate::s3::model::S3;
use crate::security_hub::model::SecurityHub;
use crate::sns::Sns;
use crate::sqs::Sqs;

/// The whole organization.
#[derive(Debug, Default)]
pub struct State {
    /// The tree of OUs and accounts.
    pub organizations: Organizations,
    /// The Regions that there are, and the accounts' opting in.
    pub regions: Regions,
    /// What each account holds.
    pub accounts: BTreeMap<String, Account>,
    /// CloudFormation.
    pub cloudformation: CloudFormation,
    /// S3, whose bucket names are one space.
    pub s3: S3,
    /// GuardDuty.
    pub guardduty: GuardDuty,
    /// Security Hub.
    pub security_hub: SecurityHub,
    /// SQS.
    pub sqs: Sqs,
    /// SNS.
    pub sns: Sns,
    /// EventBridge.
    pub events: Events,
    /// CloudWatch and its logs.
    pub monitoring: Monitoring,
    /// Users' access keys: account and user by id.
    pub keys: BTreeMap<String, (String, String)>,
    /// Sessions by their access key id.
    pub sessions: BTreeMap<String, Session>,
    /// Regions that have to be enabled, and the accounts that did.
    pub opt_in_regions: BTreeMap<String, Vec<String>>,
    /// An account that STS falsely claims for sessions, by the account asked
    /// for: to test that nobody believes a session unseen.
    pub misdirected_sessions: BTreeMap<String, String>,
    /// How long IAM's changes take until they bite; they are read back at once.
    pub iam_delay: SignedDuration,
    /// Each account's IAM before each of its changes, with the change's time.
    pub iam_before: BTreeMap<String, Vec<(Timestamp, Iam)>>,
    /// How long EC2's reads lag behind its changes.
    pub ec2_delay: SignedDuration,
    /// Each account's EC2 in a Region before each of its changes, with the
    /// change's time.
    pub ec2_before: BTreeMap<(String, String), Vec<(Timestamp, Ec2)>>,
    next: u64,
}

/// What one account holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Account {
    /// IAM, which is global.
    pub iam: Iam,
    /// EC2 by Region.
    pub ec2: BTreeMap<String, Ec2>,
    /// The services of `regional`, by Region.
    #[serde(serialize_with = "held")]
    pub regional: BTreeMap<String, Regional>,
}

/// Only what is held: looking at a service leaves no trace.
fn held<S: serde::Serializer>(
    regions: &BTreeMap<String, Regional>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let held = regions.iter().map(|(region, regional)| (region, regional::held(regional)));
    let some = |value: &Value| value.as_object().is_some_and(|services| !services.is_empty());
    serializer.collect_map(held.filter(|(_, value)| some(value)))
}

impl State {
    /// A number that never comes back.
    pub fn unique(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// An account's EC2 in a Region, empty at first.
    pub fn ec2(&mut self, account: &str, region: &str) -> &mut Ec2 {
        let account = self.accounts.entry(account.to_owned()).or_default();
        account.ec2.entry(region.to_owned()).or_default()
    }

    /// An account's services of `regional` in a Region, empty at first.
    pub fn regional(&mut self, account: &str, region: &str) -> &mut Regional {
        let account = self.accounts.entry(account.to_owned()).or_default();
        account.regional.entry(region.to_owned()).or_default()
    }

    /// An account's IAM.
    pub fn iam(&mut self, account: &str) -> &mut Iam {
        &mut self.accounts.entry(account.to_owned()).or_default().iam
    }

    /// IAM as authorization sees it: changes that are younger than the delay do
    /// not bite yet (IAM user guide, "Eventual consistency").
    pub fn effective_iam(&self, account: &str, now: Timestamp) -> Option<&Iam> {
        let young = self.iam_before.get(account).and_then(|changes| {
            changes.iter().find(|(changed, _)| *changed + self.iam_delay > now)
        });
        match young {
            Some((_, before)) => Some(before),
            None => self.accounts.get(account).map(|held| &held.iam),
        }
    }

    /// Remembers an account's IAM as it was before a change at `now`.
    pub fn remember_iam(&mut self, account: &str, before: Iam, now: Timestamp) {
        if self.iam_delay.is_positive() {
            self.iam_before.entry(account.to_owned()).or_default().push((now, before));
        }
    }

    /// EC2 as its reads see it, where that is not the present: changes that are
    /// younger than the delay do not show yet (EC2 API reference, "Eventual
    /// consistency in the Amazon EC2 API").
    pub fn seen_ec2(&self, account: &str, region: &str, now: Timestamp) -> Option<Ec2> {
        let changes = self.ec2_before.get(&(account.to_owned(), region.to_owned()))?;
        let young = changes.iter().find(|(changed, _)| *changed + self.ec2_delay > now);
        young.map(|(_, before)| before.clone())
    }

    /// Remembers an account's EC2 as it was before a change at `now`.
    pub fn remember_ec2(&mut self, account: &str, region: &str, before: Ec2, now: Timestamp) {
        let key = (account.to_owned(), region.to_owned());
        let changes = self.ec2_before.entry(key).or_default();
        changes.retain(|(changed, _)| *changed + self.ec2_delay > now);
        changes.push((now, before));
    }

    /// Who owns an access key id; `None` for one that nobody was given.
    pub fn caller(&self, access_key_id: &str) -> Option<Caller> {
        if let Some(session) = self.sessions.get(access_key_id) {
            return Some(Caller::Role(Box::new(session.clone())));
        }
        let (account, name) = self.keys.get(access_key_id)?;
        Some(Caller::User { account: account.clone(), name: name.clone() })
    }
}
