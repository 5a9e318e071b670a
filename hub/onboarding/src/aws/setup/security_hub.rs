//! Reads and changes Security Hub's setup in one Region.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_securityhub::Client;
use aws_sdk_securityhub::types::{AccountDetails, AutoEnableStandards};
use firebreak_model::resource::{AccountId, Region};

use super::members::{explain_not_administrator, missing_members};
use super::read_state::Designated;
use crate::aws::call_error::{CallError, account_id, for_each_page};
use crate::aws::regional;
use crate::setup::{
    Aggregator, Designation, OrganizationAccount, SecurityHubConfiguration, SecurityHubState,
};

/// The error codes where Security Hub is off (Security Hub API reference, DescribeHub).
const OFF_CODES: [&str; 2] = ["InvalidAccessException", "ResourceNotFoundException"];

/// Security Hub in one Region, by one account's credentials.
pub(super) struct SecurityHubSetup {
    client: Client,
    region: Region,
}

impl SecurityHubSetup {
    pub(super) fn new(config: &SdkConfig, region: &Region) -> Self {
        Self { client: Client::new(&regional(config, region)), region: region.clone() }
    }

    /// What the management account sees.
    pub(super) async fn designation(&self) -> Result<Designation, CallError> {
        let call = "securityhub:ListOrganizationAdminAccounts";
        let pages = self.client.list_organization_admin_accounts().into_paginator().send();
        let mut administrators = Vec::new();
        for_each_page(call, pages, |page| {
            for listed in page.admin_accounts() {
                administrators.push(account_id(call, listed.account_id())?);
            }
            Ok(())
        })
        .await?;
        Ok(Designation { administrators, on: self.is_on().await? })
    }

    /// What the administrator sees; the aggregator is read in the home Region only.
    pub(super) async fn state(
        &self,
        home: &Region,
        designated: Designated,
    ) -> Result<SecurityHubState, CallError> {
        if !self.is_on().await? {
            return Ok(SecurityHubState::default());
        }
        let aggregator = if self.region == *home { self.aggregator().await? } else { None };
        let on = SecurityHubState { on: true, aggregator, ..SecurityHubState::default() };
        match designated {
            Designated::No => Ok(on),
            Designated::Yes => Ok(SecurityHubState {
                configuration: Some(self.configuration().await?),
                members: self.members().await?,
                ..on
            }),
        }
    }

    async fn is_on(&self) -> Result<bool, CallError> {
        let output = self.client.describe_hub().send().await;
        match output.map_err(|error| CallError::from_sdk("securityhub:DescribeHub", &error)) {
            Ok(_) => Ok(true),
            Err(error) if OFF_CODES.iter().any(|code| error.has_code(code)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The account's aggregator in any Region; there is at most one.
    async fn aggregator(&self) -> Result<Option<Aggregator>, CallError> {
        let call = "securityhub:ListFindingAggregators";
        let pages = self.client.list_finding_aggregators().into_paginator().send();
        let mut arn = None;
        for_each_page(call, pages, |page| {
            let listed = page.finding_aggregators().first();
            let listed = listed.and_then(|it| it.finding_aggregator_arn());
            arn = arn.take().or(listed.map(str::to_owned));
            Ok(())
        })
        .await?;
        let Some(arn) = arn else { return Ok(None) };
        let home = arn.split(':').nth(3).and_then(|region| region.parse().ok());
        let home: Region =
            home.ok_or_else(|| CallError::new(format!("{call} returned an invalid ARN: `{arn}`")))?;
        if home != self.region {
            return Ok(Some(Aggregator { home, linking: None }));
        }
        let output = self.client.get_finding_aggregator().finding_aggregator_arn(arn).send().await;
        let output = output
            .map_err(|error| CallError::from_sdk("securityhub:GetFindingAggregator", &error))?;
        let linking = output.region_linking_mode().map(str::to_owned);
        Ok(Some(Aggregator { home, linking }))
    }

    async fn configuration(&self) -> Result<SecurityHubConfiguration, CallError> {
        let call = "securityhub:DescribeOrganizationConfiguration";
        let output = self.client.describe_organization_configuration().send().await;
        let output = output.map_err(|error| {
            let error = CallError::from_sdk(call, &error);
            explain_not_administrator(error, "InvalidAccessException", "Security Hub")
        })?;
        let kind = output.organization_configuration().and_then(|it| it.configuration_type());
        let standards = output.auto_enable_standards().map_or("DEFAULT", |it| it.as_str());
        Ok(SecurityHubConfiguration {
            auto_enable: output.auto_enable().unwrap_or_default(),
            standards: standards.to_owned(),
            kind: kind.map_or("LOCAL", |it| it.as_str()).to_owned(),
        })
    }

    async fn members(&self) -> Result<BTreeMap<AccountId, String>, CallError> {
        let call = "securityhub:ListMembers";
        let pages = self.client.list_members().into_paginator().send();
        let mut members = BTreeMap::new();
        for_each_page(call, pages, |page| {
            for member in page.members() {
                let status = member.member_status().unwrap_or("unknown").to_owned();
                members.insert(account_id(call, member.account_id())?, status);
            }
            Ok(())
        })
        .await?;
        Ok(members)
    }

    /// Makes an account the administrator.
    pub(super) async fn designate(&self, administrator: &AccountId) -> Result<(), CallError> {
        let call = "securityhub:EnableOrganizationAdminAccount";
        let id = administrator.as_str();
        let output = self.client.enable_organization_admin_account().admin_account_id(id).send();
        output.await.map_err(|error| CallError::from_sdk(call, &error))?;
        Ok(())
    }

    /// Turns on Security Hub in the account, without standards: they need AWS Config,
    /// cost money, and GuardDuty's findings do not need them.
    pub(super) async fn turn_on(&self) -> Result<(), CallError> {
        if self.is_on().await? {
            return Ok(());
        }
        let output = self.client.enable_security_hub().enable_default_standards(false).send().await;
        match output.map_err(|error| CallError::from_sdk("securityhub:EnableSecurityHub", &error)) {
            Ok(_) => Ok(()),
            // Another caller was faster.
            Err(error) if error.has_code("ResourceConflictException") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Aggregates the findings of all Regions in this one.
    pub(super) async fn aggregate(&self) -> Result<(), CallError> {
        let create = self.client.create_finding_aggregator().region_linking_mode("ALL_REGIONS");
        let output = create.send().await;
        output
            .map_err(|error| CallError::from_sdk("securityhub:CreateFindingAggregator", &error))?;
        Ok(())
    }

    /// Enables Security Hub for new accounts; their default standards stay as they are.
    pub(super) async fn enable_for_new_accounts(&self) -> Result<(), CallError> {
        let now = self.configuration().await?;
        if now.auto_enable || now.kind == "CENTRAL" {
            return Ok(());
        }
        let update = self
            .client
            .update_organization_configuration()
            .auto_enable(true)
            .auto_enable_standards(AutoEnableStandards::from(now.standards.as_str()));
        let call = "securityhub:UpdateOrganizationConfiguration";
        update.send().await.map_err(|error| CallError::from_sdk(call, &error))?;
        Ok(())
    }

    /// Adds accounts that are not members yet; returns those that Security Hub refused.
    pub(super) async fn add_members(
        &self,
        accounts: &[&OrganizationAccount],
    ) -> Result<Vec<(AccountId, String)>, CallError> {
        let call = "securityhub:CreateMembers";
        let members = self.members().await?;
        let mut refused = Vec::new();
        for chunk in missing_members(accounts, &members) {
            let details = chunk.iter().map(|it| {
                AccountDetails::builder().account_id(it.id.as_str()).email(&it.email).build()
            });
            let details = Some(details.collect());
            let create = self.client.create_members().set_account_details(details);
            let output = create.send().await.map_err(|error| CallError::from_sdk(call, &error))?;
            for unprocessed in output.unprocessed_accounts() {
                let why = unprocessed.processing_result().unwrap_or("no reason given").to_owned();
                refused.push((account_id(call, unprocessed.account_id())?, why));
            }
        }
        Ok(refused)
    }
}
