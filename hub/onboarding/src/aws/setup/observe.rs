//! Reading how an organization is set up. Changes nothing.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use firebreak_model::resource::Region;
use futures::StreamExt;

use super::guardduty::GuardDuty;
use super::security_hub::SecurityHub;
use super::trouble::seen;
use super::{Progress, REGIONS_AT_ONCE, Setup, organizations};
use crate::setup::{Reading, RegionState, Service, SetupSnapshot, Trust};
use firebreak_aws::error::HubError;

/// Whether an account administers a service, so that what only the
/// administrator may read can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Designated {
    Yes,
    No,
}

impl Setup {
    /// Reads all that these credentials may read, Regions side by side.
    ///
    /// # Errors
    ///
    /// Only where the organization's accounts cannot be listed; what cannot be
    /// read otherwise stands in the observation, with the reason.
    pub async fn read_state(&self, progress: Progress<'_>) -> Result<SetupSnapshot, HubError> {
        // An account that is yet to be the administrator may not list them.
        let accounts = match (&self.managing, &self.administering) {
            (_, None) => Vec::new(),
            (Some(config), Some(_)) | (None, Some(config)) => {
                organizations::accounts(config).await?
            }
        };
        let regions = futures::stream::iter(&self.regions).map(|region| async move {
            let state = self.region(region).await;
            progress(&format!("{region}: read"));
            state
        });
        let regions = regions.buffered(REGIONS_AT_ONCE).collect().await;
        Ok(SetupSnapshot {
            management: self.management.clone(),
            administrator: self.administrator.clone(),
            home: self.home.clone(),
            accounts,
            skipped: self.skipped.clone(),
            trust: self.trust().await,
            regions,
        })
    }

    /// What is trusted, where the management account asks.
    pub(super) async fn trust(&self) -> Option<Reading<Trust>> {
        match &self.managing {
            Some(config) => Some(seen(organizations::trust(config).await)),
            None => None,
        }
    }

    /// What is so in one Region.
    pub(in crate::aws) async fn region(&self, region: &Region) -> RegionState {
        let mut state = RegionState {
            region: region.clone(),
            designations: BTreeMap::new(),
            guardduty: None,
            security_hub: None,
        };
        if let Some(config) = &self.managing {
            let (guardduty, security_hub) =
                (GuardDuty::new(config, region), SecurityHub::new(config, region));
            let (guardduty, security_hub) =
                futures::join!(guardduty.designation(), security_hub.designation());
            state.designations.insert(Service::GuardDuty, seen(guardduty));
            state.designations.insert(Service::SecurityHub, seen(security_hub));
        }
        if let Some(config) = &self.administering {
            let designated = |service| self.designated(state.designations.get(&service));
            let (guardduty, security_hub) = futures::join!(
                self.guardduty(config, region, designated(Service::GuardDuty)),
                self.security_hub(config, region, designated(Service::SecurityHub)),
            );
            state.guardduty = Some(guardduty);
            state.security_hub = Some(security_hub);
        }
        state
    }

    /// What the administrator sees of GuardDuty.
    pub(super) async fn guardduty(
        &self,
        config: &SdkConfig,
        region: &Region,
        designated: Designated,
    ) -> Reading<crate::setup::GuardDutyState> {
        seen(GuardDuty::new(config, region).state(designated).await)
    }

    /// What the administrator sees of Security Hub.
    pub(super) async fn security_hub(
        &self,
        config: &SdkConfig,
        region: &Region,
        designated: Designated,
    ) -> Reading<crate::setup::SecurityHubState> {
        seen(SecurityHub::new(config, region).state(&self.home, designated).await)
    }

    /// Where the management account says nothing, the administrator finds out by
    /// asking.
    fn designated(&self, seen: Option<&Reading<crate::setup::Designation>>) -> Designated {
        match seen {
            Some(Reading::Read(designation))
                if !designation.administrators.contains(&self.administrator) =>
            {
                Designated::No
            }
            Some(Reading::Read(_) | Reading::Absent(_) | Reading::Unread(_)) | None => {
                Designated::Yes
            }
        }
    }
}
