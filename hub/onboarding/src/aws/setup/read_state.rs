//! Reads how an organization is set up. Changes nothing.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use firebreak_model::resource::Region;
use futures::StreamExt;

use super::guardduty::GuardDutySetup;
use super::security_hub::SecurityHubSetup;
use super::{MAX_PARALLEL_REGIONS, Progress, Setup, organizations};
use crate::aws::call_error::to_reading;
use crate::setup::{Reading, RegionState, Service, SetupSnapshot, Trust};
use firebreak_aws::error::HubError;

/// Whether an account administers a service, and so may read the administrator's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Designated {
    Yes,
    No,
}

impl Setup {
    /// Reads everything that these credentials may read, several Regions in parallel.
    ///
    /// # Errors
    ///
    /// Only if the organization's accounts cannot be listed. Any other failure is part
    /// of the snapshot, with its reason.
    pub async fn read_state(&self, progress: Progress<'_>) -> Result<SetupSnapshot, HubError> {
        // An account that is not the administrator yet may not list accounts.
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
        let regions = regions.buffered(MAX_PARALLEL_REGIONS).collect().await;
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

    /// The trusted services, with credentials of the management account.
    pub(super) async fn trust(&self) -> Option<Reading<Trust>> {
        match &self.managing {
            Some(config) => Some(to_reading(organizations::trust(config).await)),
            None => None,
        }
    }

    /// The setup of one Region.
    pub(in crate::aws) async fn region(&self, region: &Region) -> RegionState {
        let mut state = RegionState {
            region: region.clone(),
            designations: BTreeMap::new(),
            guardduty: None,
            security_hub: None,
        };
        if let Some(config) = &self.managing {
            let (guardduty, security_hub) =
                (GuardDutySetup::new(config, region), SecurityHubSetup::new(config, region));
            let (guardduty, security_hub) =
                futures::join!(guardduty.designation(), security_hub.designation());
            state.designations.insert(Service::GuardDuty, to_reading(guardduty));
            state.designations.insert(Service::SecurityHub, to_reading(security_hub));
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
        to_reading(GuardDutySetup::new(config, region).state(designated).await)
    }

    /// What the administrator sees of Security Hub.
    pub(super) async fn security_hub(
        &self,
        config: &SdkConfig,
        region: &Region,
        designated: Designated,
    ) -> Reading<crate::setup::SecurityHubState> {
        to_reading(SecurityHubSetup::new(config, region).state(&self.home, designated).await)
    }

    /// Without credentials of the management account, the administrator's calls show it.
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
