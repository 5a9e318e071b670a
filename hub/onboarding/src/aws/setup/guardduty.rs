//! GuardDuty's set-up in one Region, read and changed.

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

use super::observe::Designated;
use super::regional;
use super::trouble::{Trouble, account, trouble};
use crate::setup::{
    Designation, Detector, DetectorPart, GuardDutyConfiguration, GuardDutyState,
    OrganizationAccount, Protection,
};

/// "maximum number of 50 items" (GuardDuty API reference, CreateMembers).
const MEMBERS_PER_CALL: usize = 50;

/// GuardDuty in one Region, by one account's credentials.
pub(super) struct GuardDuty {
    client: Client,
}

impl GuardDuty {
    pub(super) fn new(config: &SdkConfig, region: &Region) -> Self {
        Self { client: Client::new(&regional(config, region)) }
    }

    /// What the management account sees.
    pub(super) async fn designation(&self) -> Result<Designation, Trouble> {
        let call = "guardduty:ListOrganizationAdminAccounts";
        let mut pages = self.client.list_organization_admin_accounts().into_paginator().send();
        let mut administrators = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| trouble(call, &error))?;
            for listed in page.admin_accounts() {
                administrators.push(account(call, listed.admin_account_id())?);
            }
        }
        let on = match self.detector_id().await? {
            Some(id) => self.detector(&id).await?.on,
            None => false,
        };
        Ok(Designation { administrators, on })
    }

    /// What the administrator sees.
    pub(super) async fn state(&self, designated: Designated) -> Result<GuardDutyState, Trouble> {
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

    /// The account's own detector: there is at most one.
    pub(super) async fn detector_id(&self) -> Result<Option<String>, Trouble> {
        let answer = self.client.list_detectors().send().await;
        let answer = answer.map_err(|error| trouble("guardduty:ListDetectors", &error))?;
        Ok(answer.detector_ids().first().cloned())
    }

    async fn detector(&self, id: &str) -> Result<Detector, Trouble> {
        let answer = self.client.get_detector().detector_id(id).send().await;
        let answer = answer.map_err(|error| trouble("guardduty:GetDetector", &error))?;
        let mut protections = BTreeMap::new();
        for feature in answer.features() {
            let Some(name) = feature.name().map(|it| it.as_str()) else { continue };
            let on = feature.status() == Some(&FeatureStatus::Enabled);
            protections.insert(Protection::feature(name), on);
            for addition in feature.additional_configuration() {
                let Some(added) = addition.name().map(|it| it.as_str()) else { continue };
                let on = addition.status() == Some(&FeatureStatus::Enabled);
                protections.insert(Protection::addition(name, added), on);
            }
        }
        let frequency = answer.finding_publishing_frequency().map_or("unknown", |it| it.as_str());
        Ok(Detector {
            id: id.to_owned(),
            on: answer.status() == Some(&DetectorStatus::Enabled),
            frequency: frequency.to_owned(),
            protections,
        })
    }

    async fn configuration(&self, id: &str) -> Result<GuardDutyConfiguration, Trouble> {
        let call = "guardduty:DescribeOrganizationConfiguration";
        let asking = self.client.describe_organization_configuration().detector_id(id);
        let mut pages = asking.into_paginator().send();
        let (mut members, mut protections) = ("NONE".to_owned(), BTreeMap::new());
        let none = || "NONE".to_owned();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| {
                let trouble = trouble(call, &error);
                if trouble.has_code("BadRequestException") {
                    return trouble.help("the account may not administer GuardDuty in this Region yet: run `firebreak org enable` with credentials of the management account first");
                }
                trouble
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

    async fn members(&self, id: &str) -> Result<BTreeMap<AccountId, String>, Trouble> {
        let call = "guardduty:ListMembers";
        let mut pages = self.client.list_members().detector_id(id).into_paginator().send();
        let mut members = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| trouble(call, &error))?;
            for member in page.members() {
                let status = member.relationship_status().unwrap_or("unknown").to_owned();
                members.insert(account(call, member.account_id())?, status);
            }
        }
        Ok(members)
    }

    /// Makes an account the administrator.
    pub(super) async fn designate(&self, administrator: &AccountId) -> Result<(), Trouble> {
        let call = "guardduty:EnableOrganizationAdminAccount";
        let id = administrator.as_str();
        let answer = self.client.enable_organization_admin_account().admin_account_id(id).send();
        answer.await.map_err(|error| trouble(call, &error))?;
        Ok(())
    }

    /// Makes the parts of the account's own detector so: made where there is
    /// none, else changed in what differs. A designation may have made it since
    /// it was planned.
    pub(super) async fn ensure_detector(&self, parts: &[DetectorPart]) -> Result<(), Trouble> {
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
        update.send().await.map_err(|error| trouble("guardduty:UpdateDetector", &error))?;
        Ok(())
    }

    /// Without features: which of them the Region offers, only a detector says.
    async fn create_detector(&self, parts: &[DetectorPart]) -> Result<String, Trouble> {
        let call = "guardduty:CreateDetector";
        let create = self.client.create_detector().enable(true);
        let create = if parts.contains(&DetectorPart::Frequency) {
            create.finding_publishing_frequency(FindingPublishingFrequency::FifteenMinutes)
        } else {
            create
        };
        let answer = create.send().await.map_err(|error| trouble(call, &error))?;
        let id = answer.detector_id().map(str::to_owned);
        id.ok_or_else(|| Trouble::new(format!("{call} answered without a detector id")))
    }

    /// Gives every account GuardDuty, and those features that the Region offers.
    pub(super) async fn give(&self, protections: &[Protection]) -> Result<(), Trouble> {
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
        update.send().await.map_err(|error| trouble(call, &error))?;
        Ok(())
    }

    /// Adds accounts that are not members yet; what GuardDuty refuses, and why.
    pub(super) async fn add_members(
        &self,
        accounts: &[&OrganizationAccount],
    ) -> Result<Vec<(AccountId, String)>, Trouble> {
        let call = "guardduty:CreateMembers";
        let id = self.own_detector().await?;
        let members = self.members(&id).await?;
        let missing: Vec<&&OrganizationAccount> =
            accounts.iter().filter(|it| !members.contains_key(&it.id)).collect();
        let mut refused = Vec::new();
        for chunk in missing.chunks(MEMBERS_PER_CALL) {
            let details = chunk.iter().map(|it| {
                AccountDetail::builder().account_id(it.id.as_str()).email(&it.email).build()
            });
            let details = Some(details.collect());
            let create = self.client.create_members().detector_id(&id);
            let answer = create.set_account_details(details).send().await;
            let answer = answer.map_err(|error| trouble(call, &error))?;
            for unprocessed in answer.unprocessed_accounts() {
                let why = unprocessed.result().unwrap_or("no reason given").to_owned();
                refused.push((account(call, unprocessed.account_id())?, why));
            }
        }
        Ok(refused)
    }

    async fn own_detector(&self) -> Result<String, Trouble> {
        let id = self.detector_id().await?;
        id.ok_or_else(|| Trouble::new("GuardDuty has no detector in the administrator's account"))
    }
}

/// Features with their additional configurations, as the calls want them: those
/// that are on already are named again beside the new ones.
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
