//! Reads how far an organization is covered, for `crate::coverage` to judge.
//! Changes nothing, in no account.
//!
//! # Guarantees
//!
//! - What was read is handed over part by part (the accounts, each Region, every
//!   [`KEPT_EVERY`] spoke roles), so that an interrupted survey goes on.
//! - Calls side by side are bounded, and AWS Organizations is asked no faster
//!   than it allows: ten thousand accounts are five hundred of its calls.
//! - A spoke role is assumed as for a containment, with ExternalId,
//!   SourceIdentity and session tags; the session may read the role's tags and
//!   nothing else.

mod accounts;
mod rules;
mod spokes;

use firebreak_spoke::registry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_config::SdkConfig;
use firebreak_client::rate_limit::RegionalRate;
use firebreak_model::resource::{AccountId, Region};
use futures::StreamExt;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::aws::setup::{Progress, Setup, SetupError};
use crate::coverage::{Members, Question, RegionSurvey, SecurityHub, Survey};
use crate::setup::Reading;
use firebreak_audit::account::Range;
use firebreak_aws::config;
use firebreak_aws::deadline::DeadlineClients;
use firebreak_aws::error::HubError;
use firebreak_aws::organization::Organization;
use firebreak_aws::policies::Policies;
use firebreak_aws::sessions::Sessions;
use firebreak_aws::settings::Settings;
use firebreak_aws::store::Store;
use firebreak_policy::Policy;
use firebreak_spoke::account::AccountSession;

/// How many Regions are read side by side: a Region's lists have thousands of
/// pages.
const REGIONS_AT_ONCE: usize = 8;

/// How many spoke roles are tried side by side: STS gives a caller 600 calls a
/// second in a Region, and each role takes one of them and one of IAM.
const SPOKES_AT_ONCE: usize = 32;

/// After how many spoke roles what was read is handed over.
pub const KEPT_EVERY: usize = 200;

/// "ListAccounts: 8 per second, burst 12" (AWS Organizations user guide,
/// "Quotas"): burst and rate.
const LISTING: (u32, u32) = (12, 8);

/// Why a survey ended early.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The organization's accounts cannot be listed.
    #[error("{0}")]
    Aws(#[from] HubError),
    /// What was read cannot be kept.
    #[error("cannot keep what was read: {0}")]
    Kept(#[from] std::io::Error),
}

/// Reads under the credentials of the administrator, as somebody whom the spoke
/// roles admit.
#[derive(Debug)]
pub struct Surveyor {
    setup: Setup,
    config: SdkConfig,
    settings: Arc<Settings>,
    organization: Organization,
    listing: RegionalRate,
}

impl Surveyor {
    /// The administrator's credentials of a set-up.
    ///
    /// # Errors
    ///
    /// `Refused` where there are none: members, rules and spoke roles are the
    /// administrator's to see.
    pub fn new(setup: Setup, settings: Settings) -> Result<Self, SetupError> {
        let Some(config) = setup.administering().cloned() else {
            return Err(SetupError::Refused(format!(
                "these are credentials of the management account, and coverage is what the administrator {0} sees\nhelp: run it with credentials of {0}, of the role that stacksets/spoke.yaml names as OperatorRole",
                setup.administrator
            )));
        };
        let settings = Arc::new(settings);
        Ok(Self {
            organization: Organization::new(&config, &settings),
            listing: RegionalRate::new(LISTING.0, LISTING.1, settings.concurrency),
            setup,
            config,
            settings,
        })
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        config::now(&self.config)
    }

    /// The Regions that are left out, and why.
    pub fn skipped(&self) -> &BTreeMap<Region, String> {
        &self.setup.skipped
    }

    /// What is to be read: spoke roles with these permissions.
    pub fn question(&self, digest: String, security_hub: SecurityHub) -> Question {
        Question {
            management: self.setup.management.clone(),
            administrator: self.setup.administrator.clone(),
            home: self.setup.home.clone(),
            regions: self.setup.regions.clone(),
            spoke_role: self.settings.spoke_role.clone(),
            digest,
            security_hub,
        }
    }

    /// Reads what a survey does not have yet, and hands it over to `keep` each
    /// time that a part is read.
    ///
    /// # Errors
    ///
    /// Where the accounts cannot be listed, or `keep` fails; what cannot be read
    /// otherwise stands in the survey, with the reason.
    pub async fn read(
        &self,
        survey: &mut Survey,
        except: &BTreeSet<AccountId>,
        progress: Progress<'_>,
        keep: &mut dyn FnMut(&Survey) -> std::io::Result<()>,
    ) -> Result<(), SurveyError> {
        if survey.accounts.is_empty() {
            survey.accounts = self.list_accounts(progress).await?;
            keep(survey)?;
        }
        let left = survey.regions_left();
        let regions = futures::stream::iter(left)
            .map(|region| async move { (self.region(&region).await, region) });
        let mut regions = regions.buffer_unordered(REGIONS_AT_ONCE);
        while let Some((seen, region)) = regions.next().await {
            progress(&format!("{region}: members and rules read"));
            survey.regions.insert(region, seen);
            keep(survey)?;
        }
        drop(regions);
        let left = survey.spokes_left(except);
        let count = left.len();
        let mut tried = 0;
        for some in left.chunks(KEPT_EVERY) {
            // Sessions are kept with their clients for as long as this lives: those
            // of ten thousand accounts would be far too many.
            let accounts = Sessions::new(
                &self.config,
                self.settings.clone(),
                DeadlineClients::new(&self.config),
                AccountSession::new,
            );
            let accounts = &accounts;
            let spokes = futures::stream::iter(some.to_vec()).map(|account| async move {
                let home = &self.setup.home;
                (spokes::read(accounts, &self.settings, home, &account).await, account)
            });
            let spokes: Vec<_> = spokes.buffer_unordered(SPOKES_AT_ONCE).collect().await;
            tried += spokes.len();
            survey.spokes.extend(spokes.into_iter().map(|(spoke, account)| (account, spoke)));
            progress(&format!("spoke roles: {tried} of {count} tried"));
            keep(survey)?;
        }
        Ok(())
    }

    /// One Region: who is a member, and whether findings are forwarded.
    async fn region(&self, region: &Region) -> RegionSurvey {
        let (state, rules) =
            futures::join!(self.setup.region(region), rules::read(&self.config, region));
        let unread = || Reading::Unread("not seen with these credentials".to_owned());
        let hub = state.security_hub.as_ref().and_then(Reading::read);
        let gathers_in = hub.and_then(|state| state.aggregator.as_ref()).map(|it| it.home.clone());
        let guardduty = state.guardduty.map_or_else(unread, |seen| {
            members(seen, |state| Members {
                own: state.detector.is_some_and(|detector| detector.on),
                members: state.members,
            })
        });
        let security_hub = state.security_hub.map_or_else(unread, |seen| {
            members(seen, |state| Members { own: state.on, members: state.members })
        });
        RegionSurvey { guardduty, security_hub, gathers_in, rules }
    }

    /// The policy in force.
    pub async fn policy(&self) -> Result<Arc<Policy>, HubError> {
        Policies::new(&self.config, &self.settings, registry::catalog()).current().await
    }

    /// The last of so many days on which the hub decided about a finding of an
    /// account, from the record of decisions: a query for each day, however many
    /// accounts there are.
    pub async fn last_findings(&self, days: u16) -> Result<BTreeMap<AccountId, Date>, HubError> {
        let now = self.now();
        let until = TimeZone::UTC.to_datetime(now).date();
        let since = until
            .checked_sub(i64::from(days).days())
            .map_err(|error| HubError::Failed(format!("no day {days} days ago: {error}")))?;
        let store = Store::new(&self.config, &self.settings);
        let known = store.audited(Range { since, until }, now).await?;
        let last = known.into_iter().filter_map(|(account, mut days)| {
            // Pauses and the like are the organization's, not an account's.
            Some((account.parse().ok()?, days.pop_last()?))
        });
        Ok(last.collect())
    }
}

fn members<T>(seen: Reading<T>, summarize: impl FnOnce(T) -> Members) -> Reading<Members> {
    match seen {
        Reading::Read(state) => Reading::Read(summarize(state)),
        Reading::Absent(why) => Reading::Absent(why),
        Reading::Unread(why) => Reading::Unread(why),
    }
}
