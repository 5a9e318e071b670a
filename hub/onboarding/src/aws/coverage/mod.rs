//! Surveys an organization for `crate::coverage`. Changes nothing in any account.
//!
//! # Guarantees
//!
//! - The survey is kept after each part (the accounts, each Region, every
//!   [`KEPT_EVERY`] spoke roles), so that it can be resumed after an interruption.
//! - The number of parallel calls is limited, and AWS Organizations is called no faster
//!   than its quota: ten thousand accounts take five hundred of its calls.
//! - A spoke role is assumed as for a containment, with ExternalId, SourceIdentity and
//!   session tags; the session may only read the role's tags.

mod accounts;
mod rules;
mod spokes;

use firebreak_spoke::registry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_config::SdkConfig;
use firebreak_client::rate_limit::RateLimits;
use firebreak_model::resource::{AccountId, Region};
use futures::StreamExt;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::aws::setup::{Progress, Setup, SetupError};
use crate::coverage::{Members, Question, RegionSurvey, SecurityHubUse, Survey};
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

/// How many Regions are read in parallel: a Region's lists have thousands of pages.
const MAX_PARALLEL_REGIONS: usize = 8;

/// How many spoke roles are tried in parallel: STS allows 600 calls a second in a
/// Region, and each role takes one of them and one of IAM.
const MAX_PARALLEL_SPOKES: usize = 32;

/// After how many spoke roles the survey is kept.
pub const KEPT_EVERY: usize = 200;

/// Why a survey was not completed.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The organization's accounts cannot be listed.
    #[error("{0}")]
    Aws(#[from] HubError),
    #[error("cannot keep the survey: {0}")]
    Kept(#[from] std::io::Error),
}

/// Reads with the administrator's credentials, as a role that the spoke roles trust.
#[derive(Debug)]
pub struct Surveyor {
    setup: Setup,
    config: SdkConfig,
    settings: Arc<Settings>,
    organization: Organization,
    rate_limits: RateLimits,
}

impl Surveyor {
    ///
    /// # Errors
    ///
    /// `Refused` without the administrator's credentials: only the administrator can read
    /// members, rules and spoke roles.
    pub fn new(setup: Setup, settings: Settings) -> Result<Self, SetupError> {
        let Some(config) = setup.administering().cloned() else {
            return Err(SetupError::Refused(format!(
                "these are credentials of the management account, but only the administrator {0} can read the coverage\nhelp: use credentials of {0}, of the role in the parameter OperatorRole of stacksets/spoke.yaml",
                setup.administrator
            )));
        };
        let settings = Arc::new(settings);
        let rate_limits = RateLimits::local(settings.rate_share);
        Ok(Self {
            organization: Organization::new(&config, &settings, &rate_limits),
            rate_limits,
            setup,
            config,
            settings,
        })
    }

    pub fn now(&self) -> Timestamp {
        config::now(&self.config)
    }

    /// Skipped Regions, with the reason.
    pub fn skipped(&self) -> &BTreeMap<Region, String> {
        &self.setup.skipped
    }

    /// What to survey, for spoke roles with these permissions.
    pub fn question(&self, digest: String, security_hub: SecurityHubUse) -> Question {
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

    /// Reads the missing parts of a survey, and calls `keep` after each.
    ///
    /// # Errors
    ///
    /// If the accounts cannot be listed, or `keep` fails. Any other failure is part of the
    /// survey, with its reason.
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
        let mut regions = regions.buffer_unordered(MAX_PARALLEL_REGIONS);
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
            // `Sessions` caches all its sessions with their clients: those of ten thousand
            // accounts would take too much memory.
            let accounts = Sessions::new(
                &self.config,
                self.settings.clone(),
                DeadlineClients::new(&self.config),
                self.rate_limits.clone(),
                AccountSession::new,
            );
            let accounts = &accounts;
            let spokes = futures::stream::iter(some.to_vec()).map(|account| async move {
                let home = &self.setup.home;
                (spokes::try_role(accounts, &self.settings, home, &account).await, account)
            });
            let spokes: Vec<_> = spokes.buffer_unordered(MAX_PARALLEL_SPOKES).collect().await;
            tried += spokes.len();
            survey.spokes.extend(spokes.into_iter().map(|(spoke, account)| (account, spoke)));
            progress(&format!("spoke roles: {tried} of {count} tried"));
            keep(survey)?;
        }
        Ok(())
    }

    /// Reads the members and forwarding rules of one Region.
    async fn region(&self, region: &Region) -> RegionSurvey {
        let (state, rules) =
            futures::join!(self.setup.region(region), rules::read_rules(&self.config, region));
        let unread = || Reading::Unread("not visible with these credentials".to_owned());
        let hub = state.security_hub.as_ref().and_then(Reading::value);
        let aggregates_in =
            hub.and_then(|state| state.aggregator.as_ref()).map(|it| it.home.clone());
        let guardduty = state.guardduty.map_or_else(unread, |seen| {
            members(seen, |state| Members {
                own: state.detector.is_some_and(|detector| detector.on),
                members: state.members,
            })
        });
        let security_hub = state.security_hub.map_or_else(unread, |seen| {
            members(seen, |state| Members { own: state.on, members: state.members })
        });
        RegionSurvey { guardduty, security_hub, aggregates_in, rules }
    }

    pub async fn policy(&self) -> Result<Arc<Policy>, HubError> {
        Policies::new(&self.config, &self.settings, registry::catalog()).current().await
    }

    /// The last day, of this many, on which the hub decided a finding in each account, from
    /// the audit log: one query for each day, for any number of accounts.
    pub async fn last_findings(&self, days: u16) -> Result<BTreeMap<AccountId, Date>, HubError> {
        let now = self.now();
        let until = TimeZone::UTC.to_datetime(now).date();
        let since = until
            .checked_sub(i64::from(days).days())
            .map_err(|error| HubError::failed(format!("no day {days} days ago: {error}")))?;
        let store = Store::new(&self.config, &self.settings);
        let known = store.audited(Range { since, until }, now).await?;
        let last = known.into_iter().filter_map(|(account, mut days)| {
            // Events of the organization, such as pauses, have no account id.
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
