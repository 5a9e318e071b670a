//! Reads and changes GuardDuty's setup in one Region.

use std::collections::{BTreeMap, BTreeSet};

use aws_config::SdkConfig;
use aws_sdk_guardduty::Client;
use aws_sdk_guardduty::types::{
    AccountDetail, AutoEnableMembers, DetectorAdditionalConfiguration, DetectorFeature,
    DetectorFeatureConfiguration, DetectorStatus, FeatureAdditionalConfiguration, FeatureStatus,
    FindingPublishingFrequency, OrgFeature, OrgFeatureAdditionalConfiguration, OrgFeatureStatus,
    OrganizationAdditionalConfiguration, OrganizationFeatureConfiguration,
};
use firebreak_model::resource::{AccountId, Region};

use super::members::{explain_not_administrator, missing_members};
use super::read_state::Designated;
use crate::aws::call_error::{CallError, account_id, for_each_page};
use crate::aws::regional;
use crate::setup::{
    Designation, Detector, DetectorPart, GuardDutyConfiguration, GuardDutyState,
    OrganizationAccount, Protection,
};

/// GuardDuty in one Region, by one account's credentials.
pub(super) struct GuardDutySetup {
    client: Client,
}

impl GuardDutySetup {
    pub(super) fn new(config: &SdkConfig, region: &Region) -> Self {
        Self { client: Client::new(&regional(config, region)) }
    }

    /// What the management account sees.
    pub(super) async fn designation(&self) -> Result<Designation, CallError> {
        let call = "guardduty:ListOrganizationAdminAccounts";
        let pages = self.client.list_organization_admin_accounts().into_paginator().send();
        let mut administrators = Vec::new();
        for_each_page(call, pages, |page| {
            for listed in page.admin_accounts() {
                administrators.push(account_id(call, listed.admin_account_id())?);
            }
            Ok(())
        })
        .await?;
        let on = match self.detector_id().await? {
            Some(id) => self.detector(&id).await?.on,
            None => false,
        };
        Ok(Designation { administrators, on })
    }

    /// What the administrator sees.
    pub(super) async fn state(&self, designated: Designated) -> Result<GuardDutyState, CallError> {
        let Some(id) = self.detector_id().await? else { return Ok(GuardDutyState::default()) };
        let detector = Some(self.detector(&id).await?);
        match designated {
            Designated::No => Ok(GuardDutyState { detector, ..GuardDutyState::default() }),
            Designated::Yes => Ok(GuardDutyState {
                detector,
                configuration: Some(self.configuration(&id).await?),
                members: self.members(&id).await?,
            }),
        }
    }

    /// The account's own detector, of which there is at most one.
    pub(super) async fn detector_id(&self) -> Result<Option<String>, CallError> {
        let output = self.client.list_detectors().send().await;
        let output =
            output.map_err(|error| CallError::from_sdk("guardduty:ListDetectors", &error))?;
        Ok(output.detector_ids().first().cloned())
    }

    async fn detector(&self, id: &str) -> Result<Detector, CallError> {
        let output = self.client.get_detector().detector_id(id).send().await;
        let output =
            output.map_err(|error| CallError::from_sdk("guardduty:GetDetector", &error))?;
        let mut protections = BTreeMap::new();
        for feature in output.features() {
            let Some(name) = feature.name().map(|it| it.as_str()) else { continue };
            let on = feature.status() == Some(&FeatureStatus::Enabled);
            protections.insert(Protection::feature(name), on);
            for addition in feature.additional_configuration() {
                let Some(added) = addition.name().map(|it| it.as_str()) else { continue };
                let on = addition.status() == Some(&FeatureStatus::Enabled);
                protections.insert(Protection::addition(name, added), on);
            }
        }
        let frequency = output.finding_publishing_frequency().map_or("unknown", |it| it.as_str());
        Ok(Detector {
            id: id.to_owned(),
            on: output.status() == Some(&DetectorStatus::Enabled),
            frequency: frequency.to_owned(),
            protections,
        })
    }

    async fn configuration(&self, id: &str) -> Result<GuardDutyConfiguration, CallError> {
        let call = "guardduty:DescribeOrganizationConfiguration";
        let asking = self.client.describe_organization_configuration().detector_id(id);
        let mut pages = asking.into_paginator().send();
        let (mut members, mut protections) = ("NONE".to_owned(), BTreeMap::new());
        let none = || "NONE".to_owned();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| {
                let error = CallError::from_sdk(call, &error);
                explain_not_administrator(error, "BadRequestException", "GuardDuty")
            })?;
            if let Some(given) = page.auto_enable_organization_members() {
                given.as_str().clone_into(&mut members);
            }
            for feature in page.features() {
                let Some(name) = feature.name().map(|it| it.as_str()) else { continue };
                let given = feature.auto_enable().map_or_else(none, |it| it.as_str().to_owned());
                protections.insert(Protection::feature(name), given);
                for addition in feature.additional_configuration() {
                    let Some(added) = addition.name().map(|it| it.as_str()) else { continue };
                    let given =
                        addition.auto_enable().map_or_else(none, |it| it.as_str().to_owned());
                    protections.insert(Protection::addition(name, added), given);
                }
            }
        }
        Ok(GuardDutyConfiguration { members, protections })
    }

    async fn members(&self, id: &str) -> Result<BTreeMap<AccountId, String>, CallError> {
        let call = "guardduty:ListMembers";
        let pages = self.client.list_members().detector_id(id).into_paginator().send();
        let mut members = BTreeMap::new();
        for_each_page(call, pages, |page| {
            for member in page.members() {
                let status = member.relationship_status().unwrap_or("unknown").to_owned();
                members.insert(account_id(call, member.account_id())?, status);
            }
            Ok(())
        })
        .await?;
        Ok(members)
    }

    /// Makes an account the administrator.
    pub(super) async fn designate(&self, administrator: &AccountId) -> Result<(), CallError> {
        let call = "guardduty:EnableOrganizationAdminAccount";
        let id = administrator.as_str();
        let output = self.client.enable_organization_admin_account().admin_account_id(id).send();
        output.await.map_err(|error| CallError::from_sdk(call, &error))?;
        Ok(())
    }

    /// Creates the account's own detector, or changes the parts that differ. The
    /// designation may have created it since the plan was made.
    pub(super) async fn ensure_detector(&self, parts: &[DetectorPart]) -> Result<(), CallError> {
        let id = match self.detector_id().await? {
            Some(id) => id,
            None => self.create_detector(parts).await?,
        };
        let now = self.detector(&id).await?;
        let on = parts.contains(&DetectorPart::On) && !now.on;
        let fifteen = FindingPublishingFrequency::FifteenMinutes;
        let frequency =
            parts.contains(&DetectorPart::Frequency) && now.frequency != fifteen.as_str();
        let protections = parts.iter().filter_map(|part| match part {
            DetectorPart::On | DetectorPart::Frequency => None,
            DetectorPart::Protection(protection) => Some(protection),
        });
        let eks_runtime = Protection::feature("EKS_RUNTIME_MONITORING");
        let eks_runtime = now.protections.get(&eks_runtime) == Some(&true);
        let off = |it: &&Protection| {
            now.protections.get(*it) == Some(&false)
                && !(eks_runtime && it.feature == "RUNTIME_MONITORING")
        };
        let features =
            by_feature(protections.filter(off), |it| now.protections.get(it) == Some(&true));
        if !on && !frequency && features.is_empty() {
            return Ok(());
        }
        let features = features.into_iter().map(|(name, additions)| {
            let additions = additions.into_iter().map(|addition| {
                DetectorAdditionalConfiguration::builder()
                    .name(FeatureAdditionalConfiguration::from(addition.as_str()))
                    .status(FeatureStatus::Enabled)
                    .build()
            });
            let additions: Vec<_> = additions.collect();
            DetectorFeatureConfiguration::builder()
                .name(DetectorFeature::from(name.as_str()))
                .status(FeatureStatus::Enabled)
                .set_additional_configuration((!additions.is_empty()).then_some(additions))
                .build()
        });
        let features: Vec<_> = features.collect();
        let update = self.client.update_detector().detector_id(&id);
        let update = if on { update.enable(true) } else { update };
        let update = if frequency { update.finding_publishing_frequency(fifteen) } else { update };
        let update = update.set_features((!features.is_empty()).then_some(features));
        update
            .send()
            .await
            .map_err(|error| CallError::from_sdk("guardduty:UpdateDetector", &error))?;
        Ok(())
    }

    /// Without features, because only a detector shows which ones the Region offers.
    async fn create_detector(&self, parts: &[DetectorPart]) -> Result<String, CallError> {
        let call = "guardduty:CreateDetector";
        let create = self.client.create_detector().enable(true);
        let create = if parts.contains(&DetectorPart::Frequency) {
            create.finding_publishing_frequency(FindingPublishingFrequency::FifteenMinutes)
        } else {
            create
        };
        let output = create.send().await.map_err(|error| CallError::from_sdk(call, &error))?;
        let id = output.detector_id().map(str::to_owned);
        id.ok_or_else(|| CallError::new(format!("{call} returned no detector id")))
    }

    /// Enables GuardDuty and the offered features for every account, now and in future.
    pub(super) async fn enable_for_accounts(
        &self,
        protections: &[Protection],
    ) -> Result<(), CallError> {
        let id = self.own_detector().await?;
        let now = self.configuration(&id).await?;
        let all = |it: &Protection| now.protections.get(it).is_some_and(|given| given == "ALL");
        let offered = |it: &&Protection| now.protections.contains_key(*it) && !all(it);
        let features = by_feature(protections.iter().filter(offered), all);
        let features = features.into_iter().map(|(name, additions)| {
            let additions = additions.into_iter().map(|addition| {
                OrganizationAdditionalConfiguration::builder()
                    .name(OrgFeatureAdditionalConfiguration::from(addition.as_str()))
                    .auto_enable(OrgFeatureStatus::All)
                    .build()
            });
            let additions: Vec<_> = additions.collect();
            OrganizationFeatureConfiguration::builder()
                .name(OrgFeature::from(name.as_str()))
                .auto_enable(OrgFeatureStatus::All)
                .set_additional_configuration((!additions.is_empty()).then_some(additions))
                .build()
        });
        let features: Vec<_> = features.collect();
        let update = self
            .client
            .update_organization_configuration()
            .detector_id(&id)
            .auto_enable_organization_members(AutoEnableMembers::All)
            .set_features((!features.is_empty()).then_some(features));
        let call = "guardduty:UpdateOrganizationConfiguration";
        update.send().await.map_err(|error| CallError::from_sdk(call, &error))?;
        Ok(())
    }

    /// Adds accounts that are not members yet; returns those that GuardDuty refused.
    pub(super) async fn add_members(
        &self,
        accounts: &[&OrganizationAccount],
    ) -> Result<Vec<(AccountId, String)>, CallError> {
        let call = "guardduty:CreateMembers";
        let id = self.own_detector().await?;
        let members = self.members(&id).await?;
        let mut refused = Vec::new();
        for chunk in missing_members(accounts, &members) {
            let details = chunk.iter().map(|it| {
                AccountDetail::builder().account_id(it.id.as_str()).email(&it.email).build()
            });
            let details = Some(details.collect());
            let create = self.client.create_members().detector_id(&id);
            let output = create.set_account_details(details).send().await;
            let output = output.map_err(|error| CallError::from_sdk(call, &error))?;
            for unprocessed in output.unprocessed_accounts() {
                let why = unprocessed.result().unwrap_or("no reason given").to_owned();
                refused.push((account_id(call, unprocessed.account_id())?, why));
            }
        }
        Ok(refused)
    }

    async fn own_detector(&self) -> Result<String, CallError> {
        let id = self.detector_id().await?;
        id.ok_or_else(|| CallError::new("GuardDuty has no detector in the administrator's account"))
    }
}

/// Features with their additional configurations. Those that are on already are
/// included, because the calls replace the list.
fn by_feature<'a>(
    protections: impl Iterator<Item = &'a Protection>,
    is_on: impl Fn(&Protection) -> bool,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut features: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for protection in protections {
        let additions = features.entry(protection.feature.clone()).or_default();
        additions.extend(protection.addition.clone());
    }
    for (feature, additions) in &mut features {
        let known = Protection::all().into_iter().filter(|it| it.feature == *feature && is_on(it));
        additions.extend(known.filter_map(|it| it.addition));
    }
    features
}
