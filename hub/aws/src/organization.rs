//! Looks up accounts' places in AWS Organizations, and caches them.
//!
//! One call if `DescribeAccount` returns `Paths`; otherwise (older endpoints,
//! emulators) one `ListParents` for each level up to the root. An account that
//! Organizations does not know is an error, never a default; the error is cached for a
//! minute.
//!
//! The organization's rates are low and shared with every other tool (DescribeAccount:
//! 20 calls a second for all processes together). So the sweep lists all accounts and
//! stores their places in the table, and each process reads them together with the target.
//! It looks up only an account that was not listed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_organizations::types::ParentType;
use firebreak_client::rate_limit::{Class, RateLimits};
use firebreak_model::resource::{AccountId, Region};
use jiff::Timestamp;
use moka::future::Cache;

use crate::config;
use crate::error::{HubError, failed};
use crate::settings::Settings;
use firebreak_model::organization::{OuPath, Place};
use firebreak_response::target::StoredPlace;

#[derive(Clone, Debug)]
struct CachedPlace {
    place: Result<Place, HubError>,
    until: Timestamp,
}

/// Places of accounts, cached; one lookup at a time for each account.
#[derive(Clone, Debug)]
pub struct Organization {
    client: aws_sdk_organizations::Client,
    config: SdkConfig,
    ttl: Duration,
    places: Cache<AccountId, CachedPlace>,
    region: Region,
    rate_limits: RateLimits,
}

/// The OU path of each account.
pub type Paths = BTreeMap<AccountId, OuPath>;

/// The maximum number of accounts that are looked up one by one.
const ASKED_ONE_BY_ONE: usize = 40;

/// Organizations' error codes for an account or OU that does not exist (API reference,
/// DescribeAccount and ListParents).
const UNKNOWN: [&str; 2] = ["AccountNotFoundException", "ChildNotFoundException"];

const UNKNOWN_REMEMBERED: Duration = Duration::from_secs(60);

impl Organization {
    /// Uses the hub's credentials, which must be those of the management account or of
    /// a delegated administrator.
    pub fn new(config: &SdkConfig, settings: &Settings, rate_limits: &RateLimits) -> Self {
        let region = config.region().and_then(|region| region.as_ref().parse().ok());
        Self {
            client: aws_sdk_organizations::Client::new(config),
            config: config.clone(),
            ttl: settings.place_ttl,
            places: Cache::builder().max_capacity(100_000).build(),
            region: region.unwrap_or_else(Region::global),
            rate_limits: rate_limits.clone(),
        }
    }

    /// The account's place. `stored` is the place in the table, if another process
    /// found it.
    pub async fn place_stored(
        &self,
        account: &AccountId,
        stored: Option<&StoredPlace>,
    ) -> Result<Place, HubError> {
        let now = config::now(&self.config);
        if let Some(stored) = stored.filter(|stored| stored.until > now)
            && self.places.get(account).await.is_none_or(|known| known.until <= now)
        {
            let place = Place { account: account.clone(), ou_path: stored.ou_path.clone() };
            let known = CachedPlace { place: Ok(place.clone()), until: stored.until };
            self.places.insert(account.clone(), known).await;
            return Ok(place);
        }
        self.place(account).await
    }

    /// The places of all accounts, which costs one call for twenty accounts. An account
    /// without exactly one path is left out. `None` if `has_time` says so before the end.
    ///
    /// # Errors
    ///
    /// Organizations cannot be reached, or denies the call.
    pub async fn list(&self, has_time: impl Fn() -> bool) -> Result<Option<Paths>, HubError> {
        let mut paths = Paths::new();
        let mut pages = self.client.list_accounts().into_paginator().send();
        loop {
            if !has_time() {
                return Ok(None);
            }
            self.rate_limits.permit_hub(&self.region, Class::ListAccounts).await;
            let Some(page) = pages.next().await else { return Ok(Some(paths)) };
            let page = page.map_err(|error| failed("organizations:ListAccounts", &error))?;
            for account in page.accounts() {
                if let (Some(Ok(id)), [path]) = (account.id().map(str::parse), account.paths())
                    && let Ok(path) = path.parse()
                {
                    paths.insert(id, path);
                }
            }
        }
    }

    /// How long a place is used.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The account's place, at most the TTL old.
    pub async fn place(&self, account: &AccountId) -> Result<Place, HubError> {
        let now = config::now(&self.config);
        if self.places.get(account).await.is_some_and(|known| known.until <= now) {
            self.places.invalidate(account).await;
        }
        let known = self.places.try_get_with(account.clone(), async {
            match self.look_up(account).await {
                Ok(place) => Ok(CachedPlace { place: Ok(place), until: now + self.ttl }),
                Err(error) if error.is_transient() => Err(error),
                Err(error) => {
                    Ok(CachedPlace { place: Err(error), until: now + UNKNOWN_REMEMBERED })
                }
            }
        });
        match known.await {
            Ok(known) => known.place,
            Err(error) => Err(error.as_ref().clone()),
        }
        .map_err(|error| error.context(format_args!("cannot place account {account}")))
    }

    async fn look_up(&self, account: &AccountId) -> Result<Place, HubError> {
        if !account.is_real() {
            return Err(HubError::failed(format!("`{account}` is not an account id")));
        }
        self.rate_limits.permit_hub(&self.region, Class::DescribeAccount).await;
        let output = self
            .client
            .describe_account()
            .account_id(account.as_str())
            .send()
            .await
            .map_err(|error| failed("organizations:DescribeAccount", &error))?;
        let paths = output.account().map(aws_sdk_organizations::types::Account::paths);
        let ou_path = match paths.unwrap_or_default() {
            [] => self.climb(account.as_str()).await?,
            [path] => path.parse().map_err(|error| HubError::failed(format!("{error}")))?,
            several => {
                return Err(HubError::failed(format!(
                    "AWS Organizations gives it {} paths; policy needs exactly one",
                    several.len()
                )));
            }
        };
        Ok(Place { account: account.clone(), ou_path })
    }

    /// The places of many accounts. A few are looked up one by one; for more, the
    /// organization's list is read, which costs one call for twenty accounts.
    pub async fn places(&self, accounts: &BTreeSet<AccountId>) -> Result<Paths, HubError> {
        let mut paths = Paths::new();
        if accounts.len() > ASKED_ONE_BY_ONE {
            let mut listed = self.list(|| true).await?.unwrap_or_default();
            listed.retain(|account, _| accounts.contains(account));
            paths = listed;
        }
        for account in accounts {
            if paths.contains_key(account) {
                continue;
            }
            match self.place(account).await {
                Ok(place) => {
                    paths.insert(account.clone(), place.ou_path);
                }
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => tracing::debug!("{account} is left out: {error}"),
            }
        }
        Ok(paths)
    }

    /// The path of a root, an OU or an account, including the root or OU itself. `None`
    /// if Organizations does not know it.
    ///
    /// # Errors
    ///
    /// Organizations cannot be reached, or denies the call.
    pub async fn path_of(&self, point: &str) -> Result<Option<OuPath>, HubError> {
        let path = if let Ok(account) = point.parse::<AccountId>() {
            if !account.is_real() {
                return Ok(None);
            }
            self.place(&account).await.map(|place| place.ou_path)
        } else if point.starts_with("r-") {
            if !self.roots().await?.iter().any(|root| root == point) {
                return Ok(None);
            }
            path(&[point])
        } else {
            self.climb(point)
                .await
                .and_then(|above| path(&above.ids().chain([point]).collect::<Vec<_>>()))
        };
        match path {
            Ok(path) => Ok(Some(path)),
            Err(error) if UNKNOWN.iter().any(|code| error.has_code(code)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn roots(&self) -> Result<Vec<String>, HubError> {
        let output = self
            .client
            .list_roots()
            .send()
            .await
            .map_err(|error| failed("organizations:ListRoots", &error))?;
        Ok(output.roots().iter().filter_map(|root| root.id().map(str::to_owned)).collect())
    }

    /// The path above an account or OU.
    async fn climb(&self, child: &str) -> Result<OuPath, HubError> {
        let mut ids = Vec::new();
        let mut child = child.to_owned();
        // Five OUs and the root; one step more means a loop.
        for _ in 0..7 {
            self.rate_limits.permit_hub(&self.region, Class::ListParents).await;
            let parents = self
                .client
                .list_parents()
                .child_id(&child)
                .send()
                .await
                .map_err(|error| failed("organizations:ListParents", &error))?;
            let [parent] = parents.parents() else {
                return Err(HubError::failed(format!(
                    "`{child}` has {} parents; every child has exactly one",
                    parents.parents().len()
                )));
            };
            let id = parent.id().unwrap_or_default().to_owned();
            let is_root = parent.r#type() == Some(&ParentType::Root);
            ids.push(id.clone());
            if is_root {
                ids.reverse();
                return path(&ids.iter().map(String::as_str).collect::<Vec<_>>());
            }
            child = id;
        }
        Err(HubError::failed("no root found above it"))
    }
}

fn path(ids: &[&str]) -> Result<OuPath, HubError> {
    OuPath::new(ids).map_err(|error| HubError::failed(error.to_string()))
}
